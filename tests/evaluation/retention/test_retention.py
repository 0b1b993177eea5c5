"""The retention gate in training, on a tiny LLM that knows some answers by heart and forgets them, or does not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ranks import run_ranks
from retention_ranks import train_until_stopped
from tiny_training import CHECKPOINT, train

from nemo_vtb import VoiceTextBlender
from nemo_vtb.callbacks.progress import KindProgress
from nemo_vtb.cli import main
from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.answers import answer_tasks
from nemo_vtb.evaluation.retention.text import RetainedText
from nemo_vtb.evaluation.sets.held_out import suite_rows, text_task
from nemo_vtb.evaluation.sets.instructions import follows

_ANSWERS = {
    "Name a colour.": "Blue.",
    "Name an animal.": "A cat.",
    "Say one.": "One.",
    "How long is a day?": "Some hours.",
    "What is the sun?": "A star.",
    "What is ice?": "Frozen water.",
    "Where is Rome?": "In Italy.",
}
_CHATML = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
_FORGETS, _LEARNS = 0.1, 1e-3


@pytest.fixture(scope="module")
def taught_llm(tiny_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny LLM that knows ``_ANSWERS``."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("taught") / "llm"
    shutil.copytree(tiny_llm, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    llm = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    asked = [tokenizer(_CHATML.format(question))["input_ids"] for question in _ANSWERS]
    told = [tokenizer(f"{answer}<|im_end|>")["input_ids"] for answer in _ANSWERS.values()]
    batch = tokenizer.pad({"input_ids": [a + t for a, t in zip(asked, told, strict=True)]}, return_tensors="pt")
    places = [(row, len(a) + i) for row, (a, t) in enumerate(zip(asked, told, strict=True)) for i in range(len(t))]
    rows, columns = torch.tensor(places).T
    optimizer = torch.optim.AdamW(llm.parameters(), lr=1e-2)
    for _ in range(110):
        hidden = llm.model(**batch).last_hidden_state[rows, columns - 1]
        loss = torch.nn.functional.cross_entropy(llm.lm_head(hidden), batch["input_ids"][rows, columns])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    llm.save_pretrained(folder)
    return folder


@pytest.fixture
def run(taught_llm: Path, slim_cfg: Callable, clips: list[SimpleNamespace], tmp_path: Path) -> Callable[..., Any]:
    """Trains on speech alone in ``tmp_path``; returns the validations' numbers."""
    suite, chats, heard = (tmp_path / f"{name}.jsonl" for name in ("suite", "chats", "heard"))
    checks = [
        {"id": f"q{number}", "prompt": question, "check": {"type": "exact", "answer": answer}}
        for number, (question, answer) in enumerate(_ANSWERS.items())
    ]
    _write(suite, checks)
    _write(chats, [_row(f"c{number}", "text", *pair) for number, pair in enumerate(_ANSWERS.items())])
    _write(heard, [_row(f"a{number}", "audio", str(clip.path), clip.text) for number, clip in enumerate(clips)])
    text = {
        "taught": {"type": "replies", "path": str(suite), "max_new_tokens": 6},
        "chats": {"type": "likelihood", "path": str(chats)},
    }

    def start(lr: float, steps: int = 5, retention: Any = None, validated: bool = True, **options: Any) -> Any:
        cfg = options.pop("cfg", {})
        section = {"text": text, "max_text_drop": 10} | (retention or {})
        optimizer = {"_target_": "torch.optim.AdamW", "lr": lr}
        model = slim_cfg(pretrained_llm=str(taught_llm), optimizer=optimizer, retention=section, **cfg)
        common = {"prompt_format": "chatml", "audio_locator_tag": "<|audio|>", "token_equivalent_duration": 0.08}
        entry = {"input_cfg": [{"manifest_filepath": str(heard)}]}
        data = {"train_ds": {**common, "batch_tokens": 256, "blend": {"kinds": {"asr": {"share": 1.0, **entry}}}}}
        if validated:
            data["validation_ds"] = {**common, "kinds": {"asr": entry}}
        (tmp_path / "config.json").write_text(json.dumps({"model": model, "data": data}))
        progress = KindProgress()
        options = {"steps": steps, "every": 100, "validate_every": 5, "more": (progress,), **options}
        if "ranks" in options:
            return run_ranks(train_until_stopped, tmp_path, options["ranks"])
        try:
            train(tmp_path, "log", "auto", devices=1, **options)
        finally:
            start.seen = progress.validation  # type: ignore[attr-defined]
        return progress.validation

    return start


def test_speech_only_tuning_that_forgets_is_stopped_and_says_what_was_lost(run, tmp_path):
    with pytest.raises(VTBError, match=r"'taught' lost \d.*max_text_drop=10 .*at step 5.*step_000005.jsonl.*text_kl"):
        run(_FORGETS, steps=100)
    (numbers,) = run.seen
    assert numbers["step"] == 5 and numbers["val_text_kl"] > 0.1 and numbers["val_loss_asr"] > 0
    assert numbers["val_text_score"] + numbers["val_text_drop"] == pytest.approx(1)
    lost = [json.loads(line) for line in (tmp_path / "retention" / "step_000005.jsonl").open()]
    assert len(lost) / len(_ANSWERS) == pytest.approx(numbers["val_text_drop"], abs=1e-5)
    for row in lost:
        assert row["suite"] == "taught" and row["base"] == _ANSWERS[row["prompt"]] != row["tuned"]


def test_tuning_that_keeps_text_goes_on_with_a_curve(run, tmp_path):
    numbers = run(_LEARNS, steps=10)
    assert [row["step"] for row in numbers] == [5, 10]
    assert [(row["val_text_score"], row["val_text_drop"]) for row in numbers] == [(1.0, 0.0)] * 2
    assert 0 < numbers[0]["val_text_kl"] < numbers[1]["val_text_kl"] < 0.1
    assert not (tmp_path / "retention").exists()


def test_gated_lora_has_nothing_to_lose_and_is_asked_nothing(run, monkeypatch):
    from nemo_vtb.evaluation.retention import text as retained_text

    asked: list[int] = []
    whole = retained_text.answer_tasks
    monkeypatch.setattr(retained_text, "answer_tasks", lambda *args, **kw: asked.append(1) or whole(*args, **kw))
    (numbers,) = run(_FORGETS, cfg={"text_lora": "audio_gated"})
    assert (numbers["val_text_drop"], numbers["val_text_kl"]) == (0.0, 0.0)
    assert not asked


def test_a_run_may_be_warned_only(run, caplog):
    with pytest.warns(UserWarning, match="lost .* points, more than max_text_drop=0 allows"):
        numbers = run(_FORGETS, steps=10, retention={"max_text_drop": 0, "past_limit": "warn"})
    assert [row["step"] for row in numbers] == [5, 10]


def test_patience_counts_measurements_and_every_counts_validations(run):
    with pytest.raises(VTBError, match="at step 16"):
        run(_FORGETS, steps=100, retention={"every": 3, "patience": 2}, validate_every=4)


def test_a_run_that_was_stopped_stops_again_when_it_is_resumed(run):
    with pytest.raises(VTBError, match="at step 5"):
        run(_FORGETS, steps=100)
    with pytest.raises(VTBError, match="at step 5"):
        run(_FORGETS, steps=100, resume=True)
    assert run.seen == []


def test_the_gate_of_vtb_eval_fails_what_speech_only_tuning_forgot(run, tmp_path, capsys):
    with pytest.raises(VTBError, match="at step 5"):
        run(_FORGETS, steps=100)
    suites = {"taught": {"type": "replies", "path": str(tmp_path / "suite.jsonl"), "max_new_tokens": 6}}
    section = {"out": str(tmp_path / "out"), "eval": {"bootstrap": 50, "max_text_drop": 10, "text": suites}}
    (tmp_path / "mine.yaml").write_text(json.dumps(section))
    command = ["eval", str(tmp_path / CHECKPOINT), "--gate", "--config-name=mine", f"--config-dir={tmp_path}"]
    assert main(command) == 1
    assert "Gate: FAILED" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "eval.json").read_text())["text"]["taught"]
    (stopped,) = run.seen
    assert len(found["lost"]) / len(_ANSWERS) == pytest.approx(stopped["val_text_drop"], abs=1e-5)
    assert all(row["base"] == _ANSWERS[row["prompt"]] != row["tuned"] for row in found["lost"])
    run(_FORGETS, cfg={"text_lora": "audio_gated"})
    assert main(command) == 0, "the same tuning with gated LoRA"


@pytest.mark.parametrize("strategy", ["ddp", "vtb_fsdp2"])
def test_all_ranks_stop_together_with_the_numbers_of_one(run, tmp_path, strategy):
    assert run(_FORGETS, ranks=strategy) == [0, 0]
    errors, numbers = ([(tmp_path / f"{name}.{rank}").read_text() for rank in (0, 1)] for name in ("error", "score"))
    assert errors[0] == errors[1] and numbers[0] == numbers[1]
    assert "'val_text_kl'" in numbers[0]
    lost = (tmp_path / "retention" / "step_000005.jsonl").read_text().splitlines()
    assert f"the {len(lost)} replies" in errors[0] and len(lost) == len({json.loads(row)["id"] for row in lost}) > 0


def test_replies_are_those_of_generate(run, taught_llm, slim_cfg, tmp_path):
    with pytest.raises(VTBError):
        run(_FORGETS)
    model = VoiceTextBlender(slim_cfg(pretrained_llm=str(taught_llm))).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    suite = str(tmp_path / "suite.jsonl")
    found = RetainedText(model, {"taught": {"type": "replies", "path": suite}}).measure().suites["taught"]
    tasks = [text_task(row) for row in suite_rows(suite)]
    replies = answer_tasks(model, VTBDataset(model.tokenizer, "chatml", "<|audio|>"), tasks, 32)
    said = {task.conversation.turns[0].value: reply for task, reply in zip(tasks, replies, strict=True)}
    assert found["lost"] and {row["prompt"]: row["tuned"] for row in found["lost"]}.items() <= said.items()
    right = sum(follows(reply, {"type": "exact", "answer": _ANSWERS[question]}) for question, reply in said.items())
    assert found["tuned"] == pytest.approx(right / len(said)) and found["base"] == 1.0


def test_a_model_in_training_is_asked_without_dropout_and_left_as_it_was(run, taught_llm, slim_cfg, tmp_path):
    section = slim_cfg(pretrained_llm=str(taught_llm))
    section["lora"]["lora_dropout"] = 0.9
    model = VoiceTextBlender(section)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    text = {
        "taught": {"type": "replies", "path": str(tmp_path / "suite.jsonl"), "max_new_tokens": 6},
        "chats": {"type": "likelihood", "path": str(tmp_path / "chats.jsonl")},
    }
    expected = RetainedText(model.eval(), text).measure()
    model.train()
    model.perception.encoder.eval()
    modes = [module.training for module in model.modules()]
    found = RetainedText(model, text).measure()
    assert (found.suites, found.kl) == (expected.suites, expected.kl)
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize(
    ("retention", "problem"),
    [
        ({"max_drop": 3}, "model.retention.max_drop; did you mean 'max_text_drop'"),
        ({"max_text_drop": None}, "missing config key model.retention.max_text_drop"),
        ({"max_text_drop": -1}, "model.retention.max_text_drop is -1"),
        ({"every": 0}, "model.retention.every is 0"),
        ({"past_limit": "shrug"}, "it may be stop, warn"),
        ({"text": {"a": "suite.jsonl"}}, "model.retention.text.a is 'suite.jsonl'; it is a section"),
        ({"text": {"a": {"type": "replies", "path": "nowhere.jsonl"}}}, "nowhere.jsonl"),
        ({"text": {}}, "nothing has a score"),
        ({"text": {"a": {"type": "replies", "path": "{folder}/empty.jsonl"}}}, "text.a: .*/empty.jsonl has no rows"),
        *(
            ({"text": {"a": {"type": "replies", "path": "{folder}/suite.jsonl", "max_new_tokens": limit}}}, message)
            for limit, message in (
                (0, "text.a.max_new_tokens is 0"),
                (None, "text.a.max_new_tokens is None"),
                ("24", "text.a.max_new_tokens is '24'"),
            )
        ),
    ],
)
def test_settings_that_cannot_work_are_named_before_training(run, retention, problem, tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    settings = json.loads(json.dumps(retention).replace("{folder}", str(tmp_path)))
    with pytest.raises(VTBError, match=problem):
        run(_LEARNS, retention=settings)


def test_a_gate_without_validation_or_untouched_llm_is_refused(run):
    with pytest.raises(VTBError, match=r"set data\.validation_ds"):
        run(_LEARNS, validated=False)
    with pytest.raises(VTBError, match=r"is trained too: freeze the LLM"):
        run(_LEARNS, cfg={"freeze_params": [], "lora": None})


def _row(name: str, modality: str, question: str, answer: str) -> dict[str, Any]:
    asked = {"from": "User", "type": modality, "value": question}
    return {"id": name, "conversations": [asked, {"from": "Assistant", "type": "text", "value": answer}]}


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
