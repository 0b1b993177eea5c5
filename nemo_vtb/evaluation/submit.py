"""``vtb eval --submit``: answers as the files that public boards take."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.answers import Task
from nemo_vtb.evaluation.items import Item
from nemo_vtb.evaluation.sets.plan import Questions
from nemo_vtb.paths import require_writable

# What the Open ASR board calls the sets that vtb eval asks.
_OPEN_ASR = {
    "test_clean": "hf-audio-esb-datasets-test-only-sorted_librispeech_test.clean",
    "test_other": "hf-audio-esb-datasets-test-only-sorted_librispeech_test.other",
}


def check_submission(folder: Path, asked: Sequence[Questions]) -> None:
    """Looks, before anything is asked, whether there will be something to write, and a place for it.

    Args:
        folder: Made where it is missing.
        asked: Everything of one exchange.

    Raises:
        VTBError: If nothing of it belongs on a board, or the folder cannot be written to.
    """
    if not any(_board(part, task) for part in asked for task in part.tasks):
        raise VTBError("--submit: nothing that is asked belongs on a board; VoiceBench and sets of kind asr do")
    require_writable(folder, "--submit")


def write_submission(folder: Path, model: str, items: Sequence[Item]) -> list[Path]:
    """Writes the checkpoint's answers to clips, a file for each set.

    VoiceBench takes ``<model>-<subset>-<split>-audio.jsonl``: the published row without its clip, and ``response``. The
    Open ASR board takes ``MODEL_<model>_DATASET_<set>.jsonl`` of ``text`` and ``pred_text``.

    Args:
        folder: See ``check_submission``.
        model: Its name on the boards.
        items: Everything that was asked.
    """
    name = re.sub(r"[^\w.-]", "-", model)
    files: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        for file, row in _rows(name, item):
            files.setdefault(file, []).append(row)
    for file, rows in files.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / file).write_text(text, encoding="utf-8")
    return [folder / file for file in files]


def _board(asked: Questions, task: Task) -> str:
    """The board that a prompt belongs on; empty for most."""
    if (task.conversation.custom.get("row") or {}).get("published"):
        return "VoiceBench" if asked.form == "speech" else ""
    return "Open ASR" if asked.kind == "asr" else ""


def _rows(model: str, item: Item) -> Iterator[tuple[str, dict[str, Any]]]:
    said, board = item.said["tuned"], _board(item.asked, item.task)
    if board == "VoiceBench":
        name = f"{model}-{item.row['subset']}-{item.row['split']}-audio.jsonl"
        yield name, {**item.row["published"], "response": said}
    elif board:
        of = _OPEN_ASR.get(item.asked.name, f"{item.asked.name}_test")
        row = {"audio_filepath": item.id, "duration": round(item.task.seconds, 3), "time": None}
        yield f"MODEL_{model}_DATASET_{of}.jsonl", {**row, "text": item.task.reference, "pred_text": said}
