"""What is packed, read back by NeMo's and Lhotse's own readers and by ours."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from row_reader import parsed_rows

from nemo_vtb.data.conversations.chat_rows import RowContext
from nemo_vtb.data.conversations.turns import ClipRules
from nemo_vtb.data.files.rows import BadRows
from nemo_vtb.data.sources.formats import row_files
from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.jobs.packed import pack
from nemo_vtb.whole_files import write_rows


@pytest.fixture
def folder(tmp_path: Path, clips: Sequence[SimpleNamespace]) -> Path:
    """Five conversations: one, two and no clips."""
    (tmp_path / "shards").mkdir()
    rows = []
    for number, spoken in enumerate([(0,), (1, 2), (), (3,), (0,)]):
        turns: list[dict[str, Any]] = [{"from": "User", "type": "text", "value": f"Question {number}?"}]
        for clip in (clips[place] for place in spoken):
            samples, rate = soundfile.read(clip.path, dtype="float32")
            path = f"shards/c{number}-{len(turns)}.flac"
            soundfile.write(tmp_path / path, samples, rate)
            seconds = round(len(samples) / rate, 4)
            turns.append({"from": "User", "type": "audio", "value": path, "duration": seconds, "text": clip.text})
        turns.append({"from": "Assistant", "type": "text", "value": f"Answer {number}."})
        rows.append({"id": f"r{number}", "conversations": turns, "custom": {"lang": "en", "voice": f"v{number}"}})
    write_rows(tmp_path / "conversations.jsonl", rows)
    return tmp_path


def sent(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "conversations.jsonl").read_text().splitlines()]


def samples_of(folder: Path, row: dict[str, Any]) -> list[np.ndarray]:
    paths = [folder / turn["value"] for turn in row["conversations"] if turn["type"] == "audio"]
    return [soundfile.read(path, dtype="float32")[0][None] for path in paths]


def agrees(conversation: Any, folder: Path, row: dict[str, Any]) -> None:
    texts = [turn["value"] for turn in row["conversations"] if turn["type"] == "text"]
    assert conversation.id == row["id"] or conversation.id.endswith(row["id"])
    assert [turn.value for turn in conversation.turns if hasattr(turn, "value")] == texts
    wanted, found = samples_of(folder, row), [cut.load_audio() for cut in conversation.list_cuts()]
    assert len(wanted) == len(found)
    for one, other in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(one, other)


def tarred(folder: Path, tars: int) -> dict[str, str]:
    path, last = folder / "tarred" / "conversations", tars - 1
    return {
        "manifest_filepath": f"{path}/manifest__OP_0..{last}_CL_.jsonl",
        "tarred_audio_filepaths": f"{path}/audio__OP_0..{last}_CL_.tar",
    }


def test_nemo_reads_the_tars(folder: Path):
    from nemo.collections.common.data.lhotse.cutset import read_multimodal_conversation_jsonl
    from omegaconf import OmegaConf

    pack(folder, 3)
    config = {**tarred(folder, 3), "audio_locator_tag": "<|audio|>", "token_equivalent_duration": 0.08}
    options = {"force_finite": True, "shuffle": False, "shard_seed": 0}
    cuts, is_tarred = read_multimodal_conversation_jsonl(OmegaConf.create(config | options))
    assert is_tarred
    read = {conversation.id: conversation for conversation in cuts}
    assert set(read) == {row["id"] for row in sent(folder)}
    for row in sent(folder):
        agrees(read[row["id"]], folder, row)
        assert read[row["id"]].custom == row["custom"]


def test_our_loader_reads_the_tars(folder: Path):
    pack(folder, 2)
    context = RowContext("mixed", "test", ClipRules("<|audio|>", 0.0, 30.0), 0.08)
    files = row_files({"type": "multimodal_conversation", **tarred(folder, 2)}, context)
    draws = [draw for file in files for draw in parsed_rows(file.path, file.parse, BadRows())]
    assert len(draws) == 5
    for draw, row in zip(draws, sent(folder), strict=True):
        agrees(draw(0), folder, row)


def test_lhotse_reads_the_shar(folder: Path):
    from lhotse import CutSet

    pack(folder, 2)
    cuts = list(CutSet.from_shar(in_dir=folder / "shar" / "conversations"))
    rows = {row["id"]: row for row in sent(folder)}
    assert [cut.id for cut in cuts] == ["r0-0", "r1-0", "r1-1", "r3-0", "r4-0"]
    for cut in cuts:
        row = rows[cut.custom["conversation"]]
        number = int(cut.id.split("-")[1])
        spoken = [turn for turn in row["conversations"] if turn["type"] == "audio"][number]
        assert cut.supervisions[0].text == spoken["text"] and cut.supervisions[0].language == "en"
        np.testing.assert_array_equal(cut.load_audio(), samples_of(folder, row)[number])
    assert (cuts[0].custom["question"], cuts[0].custom["answer"]) == ("Question 0?", "Answer 0.")
    assert "question" not in cuts[1].custom


def test_packing_again_replaces_and_leaves_nothing(folder: Path):
    pack(folder, 4)
    pack(folder, 2)
    names = sorted(path.name for path in (folder / "tarred" / "conversations").iterdir())
    assert names == ["audio_0.tar", "audio_1.tar", "manifest_0.jsonl", "manifest_1.jsonl"]
    assert not [*folder.glob("tarred/.*"), *folder.glob("shar/.*")]


def test_text_alone_gives_no_shar(folder: Path):
    rows = [row for row in sent(folder) if len(row["conversations"]) == 2]
    write_rows(folder / "conversations.jsonl", rows)
    assert [path.parent.name for path in pack(folder, 3)] == ["tarred"]
    context = RowContext("text", "test", ClipRules("<|audio|>", 0.0, 30.0), 0.08)
    files = row_files({"type": "multimodal_conversation", **tarred(folder, 1)}, context)
    (draw,) = [draw for file in files for draw in parsed_rows(file.path, file.parse, BadRows())]
    agrees(draw(0), folder, rows[0])


def test_clips_that_cannot_be_packed_are_named(folder: Path):
    rows = sent(folder)
    (folder / "other").mkdir()
    rows[3]["conversations"][1]["value"] = "other/c0-1.flac"
    write_rows(folder / "conversations.jsonl", rows)
    with pytest.raises(VTBError, match=r"shards/c0-1\.flac and other/c0-1\.flac would have one name"):
        pack(folder, 2)
    rows[3]["conversations"][1]["value"] = "other/gone.flac"
    write_rows(folder / "conversations.jsonl", rows)
    with pytest.raises(VTBError, match=r"gone\.flac cannot be packed"):
        pack(folder, 2)
    assert not (folder / "tarred" / "conversations").exists()
