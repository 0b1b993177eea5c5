"""lm-eval on a tiny checkpoint: its scores are those of our own model, and LoRA does what was asked."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nemo_vtb.cli import main
from nemo_vtb.errors import VTBError

pytest.importorskip("lm_eval", reason="lm-eval is an extra: pip install 'nemo-vtb[lm-eval]'")

TASKS = Path(__file__).parents[2] / "examples" / "lm_eval"
PAIRS = [("The capital of France is", " Paris"), ("One, two,", " three, four"), ("", "An empty context.")]


@pytest.fixture(scope="session")
def gated(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained checkpoint as one whose LoRA stays out of text."""
    from nemo_vtb.models.checkpoints.file import read_checkpoint

    checkpoint = read_checkpoint(trained[1])
    checkpoint["hyper_parameters"]["cfg"]["text_lora"] = "audio_gated"
    path = tmp_path_factory.mktemp("gated") / "gated.ckpt"
    torch.save(checkpoint, path)
    return path


def adapter(path: Path, **options: Any) -> Any:
    from nemo_vtb.evaluation.lm_eval import VTBLM

    return VTBLM(str(path), device="cpu", batch_size=2, **options)


def requests(*arguments: Any) -> list[Any]:
    return [SimpleNamespace(args=each, arguments=each, kwargs={}) for each in arguments]


def scores(lm: Any, pairs: list[tuple[str, str]] = PAIRS) -> list[float]:
    return [score for score, _ in lm.loglikelihood(requests(*pairs), disable_tqdm=True)]


@torch.no_grad()
def direct(model: Any, lm: Any, context: str, continuation: str) -> float:
    """The same score by the model that trains: packed, with logits where they are needed."""
    head = lm.tokenizer.encode(context) or [lm.prefix_token_id]
    ids = torch.tensor(head + lm.tokenizer.encode(continuation))
    embeds = model.backbone.embed(ids)[None]
    hidden = model.backbone.hidden_states(embeds, torch.arange(len(ids))[None])[0]
    logits = model.backbone.project(hidden[len(head) - 1 : -1]).float()
    return float(logits.log_softmax(-1).gather(1, ids[len(head) :, None]).sum())


def test_scores_are_those_of_our_own_model(trained: Any):
    model, path = trained
    lm = adapter(path)
    assert scores(lm) == pytest.approx([direct(model, lm, *pair) for pair in PAIRS], abs=1e-3)
    with model.backbone.scaled_lora(0.5):
        half = [direct(model, lm, *pair) for pair in PAIRS]
    assert scores(adapter(path, lora_scale=0.5)) == pytest.approx(half, abs=1e-3)
    assert abs(half[0] - scores(lm)[0]) > 0.01
    text = "Words that nobody asked for."
    rolling = lm.loglikelihood_rolling(requests((text,)), disable_tqdm=True)[0]
    assert rolling == pytest.approx(direct(model, lm, "", text), abs=1e-3)


def test_lora_is_on_gated_or_off(trained: Any, gated: Path, tiny_llm: Path):
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    llm = AutoModelForCausalLM.from_pretrained(tiny_llm, dtype=torch.float32)
    untouched = scores(HFLM(llm, tokenizer=AutoTokenizer.from_pretrained(tiny_llm), batch_size=2))
    tuned = scores(adapter(trained[1]))
    assert max(abs(a - b) for a, b in zip(tuned, untouched, strict=True)) > 0.1
    assert scores(adapter(trained[1], lora="off")) == untouched
    assert scores(adapter(trained[1], lora="gated")) == untouched
    assert scores(adapter(gated)) == untouched
    assert scores(adapter(gated, lora="on")) == tuned


def test_chats_are_asked_in_the_format_of_training(trained: Any):
    from nemo_vtb.parts.prompts.turn_mask import encode_turns

    model, path = trained
    lm = adapter(path)
    turns = [("user", "Say hi."), ("assistant", "Hi."), ("user", "And now?")]
    history = [{"role": role, "content": content} for role, content in turns]
    prompt = lm.apply_chat_template(history)
    expected = encode_turns(turns, model.formatter, for_generation=True).input_ids.tolist()
    assert lm.tok_encode(prompt) == expected
    begun = lm.apply_chat_template([*history, {"role": "assistant", "content": "The"}], add_generation_prompt=False)
    assert begun == prompt + "The"
    hidden = lm.apply_chat_template([{"role": "user", "content": "A <|audio|> tag"}])
    assert max(lm.tok_encode(hidden)) < lm.model.config.vocab_size
    answer = lm.generate_until(requests((prompt, {"until": [], "max_gen_toks": 6})), disable_tqdm=True)[0]
    ours = model.generate([history], max_new_tokens=6)[0].tolist()
    assert answer == lm.tokenizer.decode(ours, skip_special_tokens=True)


@pytest.mark.parametrize("tasks", ["vtb_replies,vtb_gsm8k", "vtb_chats"])
def test_tasks_without_a_hub_run_from_the_command_line(tasks: str, trained: Any, tmp_path: Path, capsys: Any):
    line = ["lm-eval", str(trained[1]), "--tasks", tasks, "--include_path", str(TASKS), "--limit", "2"]
    line += ["--gen_kwargs", "max_gen_toks=4", "--output_path", str(tmp_path)]
    assert main([*line, *(["--apply_chat_template"] if tasks != "vtb_chats" else [])]) == 0
    said = capsys.readouterr().out
    (report,) = tmp_path.rglob("results_*.json")
    found = json.loads(report.read_text())
    assert found["config"]["model_args"]["lora"] == "auto"
    for task in tasks.split(","):
        measure = "bits_per_byte,none" if task == "vtb_chats" else "acc,none"
        assert task in said and found["results"][task][measure] >= 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lora": "half"}, "auto, on, gated, off"),
        ({"lorascale": 1}, "no model_args lorascale"),
        ({"dtype": "int8"}, "float32"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], said: str, trained: Any):
    with pytest.raises(VTBError, match=said):
        adapter(trained[1], **options)


def test_a_missing_checkpoint_is_named(tmp_path: Path, capsys: Any):
    assert main(["lm-eval", str(tmp_path / "none.ckpt"), "--tasks", "vtb_chats"]) == 2
    assert "no checkpoint at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say which tasks: --tasks"),
        (["--tasks", "vtb_nothere"], "lm-eval: Tasks not found: vtb_nothere"),
        (["--tasks", "vtb_chats", "--limit", "2", "--samples", '{"vtb_chats": [0]}'], "--samples"),
    ],
)
def test_what_the_harness_refuses_is_one_line(words: list[str], said: str, trained: Any, capsys: Any):
    assert main(["lm-eval", str(trained[1]), *words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vtb")]
    assert len(lines) == 1 and said in lines[0], lines


def test_a_path_may_hold_commas_and_equals_signs(trained: Any, tmp_path: Path):
    folder = tmp_path / "lr=0.1,seed=3"
    folder.mkdir()
    copied = str(shutil.copy(trained[1], folder / "last.ckpt"))
    line = ["lm-eval", copied, "--tasks", "vtb_replies", "--include_path", str(TASKS), "--limit", "1"]
    line += ["--gen_kwargs", "max_gen_toks=2", "--output_path", str(tmp_path / "out"), "--apply_chat_template"]
    assert main([*line, "--model_args", "max_length=512"]) == 0
    (report,) = (tmp_path / "out").rglob("results_*.json")
    args = json.loads(report.read_text())["config"]["model_args"]
    assert (args["pretrained"], args["max_length"]) == (copied, 512)
