"""A sample of the support matrix in each run of the tests; the whole is ``examples/support_matrix_adapters.py``."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from forks import Forks

_FOLDER = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(_FOLDER))

import support_matrix  # noqa: E402
import support_matrix_adapters as matrix  # noqa: E402

ADAPTERS = (
    "PiSSA, fast, with rsLoRA, gated",
    "DoRA",
    "bias: all",
    "modules_to_save: lm_head, untied",
    "LoRA on lm_head, untied",
    "target_parameters (experts)",
    "LoRA on the speech encoder",
    "8-bit base (torchao)",
    "8-bit base (bitsandbytes)",
    "4-bit base (bitsandbytes)",
    "LoRA on lm_head, tied",
)
KINDS = ("adapters", "encoders")
ENCODERS = ("Voxtral", "wav2vec 2.0 base", "w2v-BERT 2.0", "Moonshine", "NeMo FastConformer, .nemo", "Speech2Text")


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapter(name: str):
    if "bitsandbytes" in name and find_spec("bitsandbytes") is None:
        pytest.skip("pip install 'nemo-vtb[quantization]'")
    row = matrix.prove(matrix.prove_adapter, name)
    assert row["outcome"] == ("refused" if name in matrix.REFUSED else "proved"), row


@pytest.mark.parametrize("name", ENCODERS)
def test_encoder(name: str):
    row = matrix.prove(matrix.prove_encoder, name)
    assert row["outcome"] == ("refused" if matrix.ENCODERS[name][2] is None else "proved"), row


def test_the_command_in_the_guide(forked: Forks, tmp_path: Path):
    guide = tmp_path / "guide.md"
    mark = matrix.MARK.format("adapters")
    guide.write_text(f"before\n{mark}\nold\n{mark}\nafter\n")
    line = ["--only", "EVA", "--markdown", str(guide)]
    [(code, said)] = forked.run([("EVA", line)], tmp_path, str(_FOLDER / "support_matrix_adapters.py")).values()
    assert code == 0, said
    text = guide.read_text()
    assert "| EVA | model.lora.init_lora_weights=eva is not supported" in text
    assert "old" not in text and text.startswith("before\n") and "\nafter\n" in text


def test_the_guides_show_what_was_measured():
    results, guides = _FOLDER / "benchmarks" / "results", _FOLDER.parent / "tutorials"
    llms = json.loads((results / "support_llms.json").read_text())
    adapters = json.loads((results / "support_adapters.json").read_text())
    assert support_matrix.table(llms["llms"]).strip() in (guides / "llms.md").read_text()
    for kind in KINDS:
        assert matrix.table(adapters[kind]) in (guides / "adapters_and_encoders.md").read_text()
    assert llms["wrong"] == adapters["wrong"] == 0
    proved = [sum(row["outcome"] == "proved" for row in rows) for rows in (llms["llms"], *map(adapters.get, KINDS))]
    assert proved[0] >= 45 and proved[1] >= 12 and proved[2] >= 10
