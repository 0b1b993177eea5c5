"""After kill -9, Lightning's next steps see exactly the conversations they would have seen."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from ranks import run_ranks
from resume_worker import run

# Checkpoints are written after the steps 3, 6, ...; every killed run dies in its sixth step, before the second one.
_DDP = {"ranks": 2, "strategy": "ddp", "steps": 8}
_FSDP = {**_DDP, "strategy": "fsdp2"}
_ONE = {"ranks": 1, "strategy": "auto", "steps": 8}
SCENARIOS = [
    {**_DDP, "name": "whole", "workers": 0, "checkpoints": "whole"},
    {**_DDP, "name": "killed", "workers": 2, "checkpoints": "killed", "kill_at": 5},
    {**_DDP, "name": "resumed", "workers": 1, "checkpoints": "x", "resume": "killed/step=3.ckpt"},
    {**_DDP, "name": "epochs", "workers": 1, "checkpoints": "x", "epoch": 4, "validate": 2},
    {**_FSDP, "name": "sharded_killed", "workers": 1, "checkpoints": "sharded", "kill_at": 5},
    {**_FSDP, "name": "sharded_resumed", "workers": 0, "checkpoints": "x", "resume": "sharded/step=3.ckpt"},
    {**_ONE, "name": "one_whole", "workers": 0, "checkpoints": "one", "accumulate": 2},
    {**_ONE, "name": "one_resumed", "workers": 2, "checkpoints": "x", "accumulate": 2, "resume": "one/step=3.ckpt"},
    {**_ONE, "name": "fewer_ranks", "workers": 0, "checkpoints": "x", "resume": "whole/step=6.ckpt"},
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tiny_llm: Path, clips: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs every scenario and returns the folder with what each rank saw."""
    folder = tmp_path_factory.mktemp("resume")
    shutil.copytree(tiny_llm, folder / "llm")
    rows = [{"id": f"a{i}", "audio_filepath": str(c.path), "text": c.text} for i, c in enumerate(clips * 8)]
    (folder / "asr.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rows = [
        {
            "id": f"t{i}",
            "conversations": [{"from": "User", "value": "hi " * (i % 9)}, {"from": "Assistant", "value": "no"}],
        }
        for i in range(1, 60)
    ]
    (folder / "text.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asr = [{"type": "nemo", "manifest_filepath": str(folder / "asr.jsonl")}]
    text = [{"type": "nemo_sft_jsonl", "paths": str(folder / "text.jsonl")}]
    common = {"audio_locator_tag": "<|audio|>", "token_equivalent_duration": 0.08, "prompt_format": "chatml"}
    kinds = {"asr": {"share": 0.6, "input_cfg": asr}, "text": {"share": {0: 0.4, 6: 0.8}, "input_cfg": text}}
    train = {**common, "batch_tokens": 96, "num_workers": 0, "blend": {"kinds": kinds}}
    # Fewer held-out batches than ranks, and Lightning may split what is split already.
    held_out = {**common, "batch_tokens": 10_000, "kinds": {"text": {"input_cfg": text}}}
    OmegaConf.save({"train_ds": train, "validation_ds": held_out}, folder / "data.yaml")
    for scenario in SCENARIOS:
        ranks = scenario["ranks"]
        code = -9 if "kill_at" in scenario else 0
        assert run_ranks(run, folder, scenario, ranks=ranks) == [code] * ranks, _said(folder, scenario["name"])
    return folder


def _said(folder: Path, name: str) -> str:
    return "\n".join(path.read_text()[-3000:] for path in sorted(folder.glob(f"{name}.*.log")))


def seen(folder: Path, name: str, ranks: int = 2, what: str = "ids") -> list[list[Any]]:
    """Conversation ids, or positions, by step and rank."""
    by_rank = [
        [json.loads(line)[what] for line in (folder / f"{name}.{rank}.jsonl").read_text().splitlines()]
        for rank in range(ranks)
    ]
    return [list(step) for step in zip(*by_rank, strict=True)]


def test_ranks_see_different_conversations(folder: Path):
    whole = seen(folder, "whole")
    assert len(whole) == 8
    first_epoch = [name for step in whole for batch in step for name in batch][:30]
    assert len(set(first_epoch)) == 30


def test_ranks_get_equal_work(folder: Path):
    work = seen(folder, "whole", what="positions")
    totals = [sum(step[rank] for step in work) for rank in (0, 1)]
    assert max(totals) <= 1.05 * sum(totals) / 2
    # Wordings are drawn anew in every epoch, so that a batch may be a few tokens longer than the index says.
    assert all(70 <= positions <= 110 for step in work for positions in step)


def test_after_kill_the_next_steps_are_those_of_the_whole_run(folder: Path):
    whole = seen(folder, "whole")
    assert seen(folder, "killed") == whole[:6]
    assert seen(folder, "resumed") == whole[3:]


def test_sharded_training_resumes_the_same_way(folder: Path):
    whole = seen(folder, "whole")
    assert seen(folder, "sharded_killed") == whole[:6]
    assert seen(folder, "sharded_resumed") == whole[3:]


def test_nothing_is_lost_at_the_end_of_an_epoch(folder: Path):
    assert seen(folder, "epochs") == seen(folder, "whole")


@pytest.mark.parametrize(("name", "whole"), [("whole", "whole"), ("resumed", "whole"), ("sharded_resumed", "whole")])
def test_the_logger_is_told_of_all_ranks_since_the_beginning(folder: Path, name: str, whole: str):
    with (folder / "logs" / name / "metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    heard = [name for step in seen(folder, whole) for batch in step for name in batch if name[0] == "a"]
    assert float(last[f"data/examples/asr/{folder.name}"]) == len(heard)
    assert float(last["data/share_supervised_tokens/asr"]) + float(last["data/share_supervised_tokens/text"]) == 1


def test_accumulated_steps_resume(folder: Path):
    whole = seen(folder, "one_whole", ranks=1)
    assert len(whole) == 16
    assert seen(folder, "one_resumed", ranks=1) == whole[6:]


def test_fewer_ranks_go_on_with_the_next_conversation(folder: Path):
    whole = [name for step in seen(folder, "whole") for batch in step for name in batch]
    before = [name for step in seen(folder, "whole")[:6] for batch in step for name in batch]
    after = [name for step in seen(folder, "fewer_ranks", ranks=1) for batch in step for name in batch]
    for kind in "at":
        going_on = [name for name in after if name[0] == kind]
        assert going_on == [name for name in whole[len(before) :] if name[0] == kind][: len(going_on)]
    assert len(after) > 5 and "instead of 2 of 96" in _said(folder, "fewer_ranks")
