"""The reference is what the code says, and names every key that a reader takes and no other."""

import re
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from documents import REFERENCE, ROOT
from omegaconf import OmegaConf

from nemo_vtb.config import compose
from nemo_vtb.errors import VTBError
from nemo_vtb.options import JOB_KEYS, check_arguments
from nemo_vtb.registry import ALLOWED_OF_TRAINER, ALLOWED_TARGETS
from nemo_vtb.targets import check_targets

_MAKER = ROOT / "tutorials" / "reference"
sys.path.append(str(_MAKER))
_MADE = runpy.run_path(str(_MAKER / "__main__.py"), run_name="reference")
# No key is called so, and none is close enough to be suggested.
_ODD = "zqzq"


@pytest.fixture(scope="module")
def pages() -> dict[Path, str]:
    return dict(_MADE["pages"]())


@pytest.fixture(scope="module")
def sections() -> dict[str, Any]:
    from sections import PAGES

    return {section.title: section for page in PAGES for section in page.sections()}


def test_the_pages_are_what_the_code_says(pages: Mapping[Path, str]):
    assert sorted(path.name for path in pages) == sorted(REFERENCE)
    differing = [path.name for path, text in pages.items() if path.read_text(encoding="utf-8") != text]
    assert not differing, "run python tutorials/reference"


def test_every_key_has_a_line_and_a_version(pages: Mapping[Path, str], sections: Mapping[str, Any]):
    from page import versions_of

    said = {key for text in pages.values() for key in versions_of(text)}
    assert said == {(title, one.key(row)) for title, one in sections.items() for row in one.rows}
    assert not [one.key(row) for one in sections.values() for row in one.rows if not row.says or not row.holds]
    released = re.findall(r"^## \[?(\d[\w.]*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {version for text in pages.values() for version in versions_of(text).values()} <= set(released)


def test_every_section_that_is_read_has_a_table():
    named = (_MAKER / "sections.py").read_text(encoding="utf-8")
    lost = []
    for path in (ROOT / "nemo_vtb").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for found in re.finditer(r"\bread_options\((?P<kind>[A-Z]\w+|cls),", text):
            own = re.findall(r"^class (\w+)", text[: found.start()], re.MULTILINE)
            kind = own[-1] if found["kind"] == "cls" else found["kind"]
            # Or it is the hint of a field, and stands in that table.
            hint = re.search(rf"^    \w+: .*\b{kind}\b", text, re.MULTILINE)
            lost += [] if hint or re.search(rf"\b{kind}\b", named) else [f"{path.relative_to(ROOT)}: {kind}"]
    assert not lost, "tutorials/reference/sections.py has a Section for each"


def test_a_new_key_has_the_version_of_the_package_and_an_old_one_keeps_its_own():
    from page import Section, page, versions_of
    from rows import Row

    from nemo_vtb import __version__

    begin = page("T", "I", [Section("S", "a", [Row("old", "int", 1, "Old.")])], "").replace(__version__, "0.0.1")
    rows = [Row("old", "int", 1, "Old."), Row("new", "int", 1, "New.")]
    later = page("T", "I", [Section("S", "a", rows), Section("R", "a", rows[:1])], begin)
    assert versions_of(later) == {("S", "a.old"): "0.0.1", ("S", "a.new"): __version__, ("R", "a.old"): __version__}


def _training(**changes: Any) -> Any:
    cfg = compose("quickstart", [])
    OmegaConf.set_struct(cfg, False)
    for key, value in changes.items():
        OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True)
    return cfg


def _check_training(path: str) -> Callable[[], Any]:
    def check() -> None:
        from nemo_vtb.training import check_config

        check_config(_training(**{f"{path}.{_ODD}".lstrip("."): 1}))

    return check


def _model_section(path: str) -> Callable[[], Any]:
    def check() -> None:
        from nemo_vtb.models.options import check_model_section

        model = OmegaConf.create(OmegaConf.to_container(_training().model, resolve=True))
        OmegaConf.update(model, f"{path}.{_ODD}".lstrip("."), 1, force_add=True)
        check_model_section(model)

    return check


def _readers() -> dict[str, Callable[[], Any]]:
    """By heading of the reference: what reads that section, given a key that it does not know."""
    from nemo_vtb.cli.judge import judge_labels
    from nemo_vtb.data.augmentation import AUGMENT_KEYS, read_augment
    from nemo_vtb.data.conversations.prompt_pool import PromptPool
    from nemo_vtb.data.conversations.speak import speaker
    from nemo_vtb.data.options import check_held_out_section, check_train_section
    from nemo_vtb.data.sources.source import Reading, named_files, read_sources
    from nemo_vtb.evaluation.judged import open_answer_judge
    from nemo_vtb.evaluation.judging.prompts import JudgePrompt
    from nemo_vtb.evaluation.run import evaluate
    from nemo_vtb.evaluation.sets.suites import read_suite
    from nemo_vtb.inference.llms.choose import LLMOptions
    from nemo_vtb.models.options import retention_options
    from nemo_vtb.modules.alignment import EmbeddingAlignment
    from nemo_vtb.modules.quantized import quantized_options
    from nemo_vtb.prompt_files import read_prompts
    from nemo_vtb.quickstart.tasks import check_held_out
    from nemo_vtb.study.arms import read_arms
    from nemo_vtb.study.claims import check_claims
    from nemo_vtb.study.plan import read_study
    from nemo_vtb.synthesis.qa.options import QAOptions
    from nemo_vtb.synthesis.qa.prompts import CheckPrompt, QAPrompt
    from nemo_vtb.synthesis.replay.options import ReplayOptions
    from nemo_vtb.synthesis.replay.prompts import ReplayPrompts
    from nemo_vtb.synthesis.reply.options import OwnReplyOptions
    from nemo_vtb.synthesis.spoken_turns.options import SpeechOptions

    odd: dict[str, Any] = {_ODD: 1}
    reading = Reading("<audio>", 0.08)

    def of_config(name: str, read: Callable[[Any], Any]) -> Callable[[], Any]:
        return lambda: read(compose(name, [f"+{_ODD}=1"]))

    def of_target(name: str) -> Callable[[], Any]:
        return lambda: check_targets({"_target_": name, **odd}, "section")

    def of_prompts(kind: type) -> Callable[[Path], Any]:
        def read(folder: Path) -> None:
            (folder / "prompts.yaml").write_text(f"{{version: '1', {_ODD}: 1}}")
            read_prompts(kind, str(folder / "prompts.yaml"), folder.name, "prompt_file")

        return read

    def of_pool(text: str) -> Callable[[Path], Any]:
        def read(folder: Path) -> None:
            (folder / "pool.yaml").write_text(text)
            PromptPool(folder / "pool.yaml")

        return read

    return {
        "The whole config": _check_training(""),
        "`model`": _model_section(""),
        "`model.retention`": lambda: retention_options({"text": {}, "max_text_drop": 1, **odd}),
        "`data.train_ds`": lambda: check_train_section({"blend": {"kinds": {}}, **odd}),
        "`data.train_ds.blend`": lambda: check_train_section({"blend": odd}),
        "An entry of `input_cfg`": lambda: named_files(odd, "asr", reading),
        "A group of entries": lambda: read_sources([{"type": "group", **odd}], "asr", reading),
        "`speak`": lambda: speaker(odd, None, "en"),  # type: ignore[arg-type]
        **{f"`augment.{name}`": (lambda name=name: read_augment({name: odd}, "augment")) for name in AUGMENT_KEYS},
        "`data.validation_ds`": lambda: check_held_out_section({"kinds": {}, **odd}),
        "A kind of `data.validation_ds`": lambda: check_held_out_section({"kinds": {"asr": odd}}),
        "A file of `conf/prompts`": of_pool(f"{_ODD}: 1"),
        "A wording there": of_pool(f"{{asr: {{any: [{{say: A, {_ODD}: 1}}]}}, ast: {{}}, languages: {{}}}}"),
        "`held_out` of a training config": lambda: check_held_out(_training(**{f"held_out.{_ODD}": 1})),
        "`vtb eval`": of_config("eval/quickstart", lambda cfg: evaluate("none", cfg, "", str)),
        "A text suite": lambda: read_suite(odd, "suite", reading),
        "The judge of `vtb eval`": lambda: open_answer_judge(odd, None, None),  # type: ignore[arg-type]
        "`vtb judge`": lambda: judge_labels(compose("eval/judge", [f"+{_ODD}=1", "llm.model=none"]), ""),
        "`vtb study`": of_config("study/quickstart", read_study),
        "An arm of a study": lambda: read_arms({"one": odd}, True),
        "A claim of a study": lambda: check_claims([odd], []),
        "A rule of a claim": lambda: check_claims([{"title": "A", "evidence": [odd]}], []),
        "`vtb synth text`": of_config("synth/text", ReplayOptions.read),
        "`vtb synth qa`": of_config("synth/qa", QAOptions.read),
        "`vtb synth reply`": of_config("synth/reply", OwnReplyOptions.read),
        "`vtb synth speech`": of_config("synth/speech", SpeechOptions.read),
        "The LLM": lambda: LLMOptions.read(odd),
        "`trainer`": _check_training("trainer"),
        "`exp_manager`": _check_training("exp_manager"),
        "`model.quantization`": lambda: quantized_options({"load_in_8bit": True, **odd}, torch.float32),
        **{f"`{name.rpartition('.')[2]}`": of_target(name) for name in (*ALLOWED_TARGETS, *ALLOWED_OF_TRAINER)},
        "`model.alignment`": lambda: check_arguments(EmbeddingAlignment, odd, "model.alignment"),
        **{
            f"A file of `conf/{place}`": of_prompts(kind)
            for kind, place in (
                (JudgePrompt, "eval/prompts"),
                (ReplayPrompts, "synth/prompts/text"),
                (QAPrompt, "synth/prompts/qa"),
                (CheckPrompt, "synth/prompts/qa_check"),
            )
        },
    }


# Keys that a reader knows, and that stand in another table or are filled in.
_ELSEWHERE = {
    "`model`": "`model`: how the step runs",
    "`model.alignment`": ["hidden_size"],
    "`vtb synth text`": [*JOB_KEYS, "llm"],
    "`vtb synth qa`": [*JOB_KEYS, "llm"],
    "`vtb synth reply`": [*JOB_KEYS, "llm"],
    "`vtb synth speech`": [*JOB_KEYS],
}
# No reader lists them.
_UNLISTED = {
    "A set of a public benchmark": "taken out of a set's keys, whose reader refuses the rest",
    "`model`: how the step runs": "with those of model",
    "`model.lora`, `model.encoder_lora`": "tests/parts/test_lora_fields.py holds them against PEFT's",
    "`model.optimizer`": "arguments of whatever class it names",
    "`model.lr_scheduler`": "arguments of whatever class it names",
    "An entry of type `vtb_blend`": "NeMo's entries hold any key",
    "An entry of `held_out.asked`": "read before the others, which are those of an entry of input_cfg",
    "A set of `vtb eval`": "read before the others, which are those of an entry of input_cfg",
    "Every `vtb synth`": "with those of each maker",
    "`ShardedStrategy`": "takes any option of Lightning's",
    "The one config line": "Hydra calls it",
}


# Readers without keys of their own in a table: they take any option of Lightning's, or none.
_WITHOUT = {"`ShardedStrategy`", "`KindProgress`"}


def test_every_table_is_held_against_its_reader(sections: Mapping[str, Any]):
    assert set(_readers()) - _WITHOUT == set(sections) - set(_UNLISTED)


@pytest.mark.parametrize("title", sorted(set(_readers()) - {*_UNLISTED, *_WITHOUT}))
def test_a_reader_takes_the_keys_of_its_table_and_no_other(title: str, sections: Mapping[str, Any], tmp_path: Path):
    read = _readers()[title]
    with pytest.raises(VTBError, match=rf"unknown config key .*{_ODD}; known keys: ") as refused:
        read(tmp_path) if "folder" in signature(read).parameters else read()
    known = set(str(refused.value).rpartition("known keys: ")[2].split(", "))
    elsewhere = _ELSEWHERE.get(title, [])
    if isinstance(elsewhere, str):
        elsewhere = [row.key for row in sections[elsewhere].rows]
    table = {re.split(r"[.\[]", row.key)[0] for row in sections[title].rows}
    assert known - set(elsewhere) == table


@pytest.mark.parametrize("name", ["quickstart", "reference", "canary_gemma"])
def test_every_key_of_a_shipped_training_config_is_in_a_table(name: str, sections: Mapping[str, Any]):
    known = {section.key(row) for section in sections.values() for row in section.rows}
    # Below these stand a class's own arguments.
    opened = tuple(
        f"model.{one}." for one in ("perception", "optimizer", "lr_scheduler", "llm_config", "encoder_config")
    )
    referred = {"data.open_speech", "data.replay"}
    lost = []
    for key in _leaves(OmegaConf.to_container(compose(name, []))):
        plain = re.sub(r"(?<=kinds\.)\w+", "NAME", key)
        if not plain.startswith(opened) and plain not in known and plain not in referred:
            lost.append(key)
    assert not lost


def _leaves(section: Any, where: str = "") -> Iterator[str]:
    for key, value in section.items():
        path = f"{where}.{key}" if where else str(key)
        if isinstance(value, dict) and value and not path.endswith(("share", "lr_scale", "strategy")):
            yield from _leaves(value, path)
        else:
            yield path
