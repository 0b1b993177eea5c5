"""Data and scoring of the tasks beside this file; none of them needs a hub."""

import json
import re
from pathlib import Path
from typing import Any

from datasets import Dataset

from nemo_vtb.assets import resolve
from nemo_vtb.data.files.locations import locate
from nemo_vtb.evaluation.sets.instructions import score_reply

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def replies(**_: Any) -> dict[str, Dataset]:
    """The corpus's suite of short verifiable replies."""
    # As text: the checks of different kinds share no columns.
    lines = locate("corpora:smollm2_chat/suite.jsonl").read_text(encoding="utf-8").splitlines()
    return {"test": Dataset.from_list([{"row": line} for line in lines])}


def gsm8k(**_: Any) -> dict[str, Dataset]:
    """GSM8K's test set, out of the asset english-texts."""
    return {"test": Dataset.from_json(str(Path(resolve("english-texts")) / "gsm8k.jsonl"))}


def chats(**_: Any) -> dict[str, Dataset]:
    """Held-out conversations, one text each."""
    return {"test": Dataset.from_json(str(locate("corpora:smollm2_chat/heldout.jsonl")))}


def prompt(doc: dict[str, Any]) -> str:
    return _row(doc)["prompt"]


def reply_passes(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    return {"acc": float(score_reply(results[0], _row(doc)["check"]))}


def last_number_right(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    wanted = float(doc["answer"].rpartition("####")[2].replace(",", ""))
    found = _NUMBER.findall(results[0])
    return {"acc": float(bool(found) and float(found[-1].replace(",", "")) == wanted)}


def written(doc: dict[str, Any]) -> str:
    return "\n".join(turn["value"] for turn in doc["conversations"])


def _row(doc: dict[str, Any]) -> dict[str, Any]:
    return json.loads(doc["row"])
