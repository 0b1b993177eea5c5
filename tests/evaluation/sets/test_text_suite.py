import json
from pathlib import Path

import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.sets.instructions import score_reply

CORPUS = Path(__file__).parents[3] / "examples" / "corpora" / "smollm2_chat"


@pytest.mark.parametrize(
    ("check", "reply", "right"),
    [
        ({"type": "exact", "answer": "open the blue door"}, "Open the blue door.", True),
        ({"type": "exact", "answer": "open the blue door"}, "Please open the blue door.", False),
        ({"type": "contains", "any": ["8", "eight"]}, "It has eight legs.", True),
        ({"type": "contains", "any": ["8", "eight"]}, "It has 18 legs, or 8.5.", False),
        ({"type": "contains", "any": ["555 0199"]}, "Call 555-0199!", True),
        ({"type": "contains", "all": ["red", "blue"]}, "Blue and red.", True),
        ({"type": "contains", "all": ["red", "blue"]}, "Only blue.", False),
        ({"type": "choice", "answer": "no", "options": ["yes", "no"]}, "No, yes is wrong.", True),
        ({"type": "choice", "answer": "no", "options": ["yes", "no"]}, "Yes. No doubt.", False),
        ({"type": "choice", "answer": "no", "options": ["yes", "no"]}, "Nobody knows.", False),
        ({"type": "regex", "pattern": r"\bWINDOW\b"}, " WINDOW ", True),
        ({"type": "regex", "pattern": r"\bWINDOW\b"}, "window", False),
        ({"type": "exact", "answer": "yes"}, "", False),
    ],
)
def test_replies_are_scored(check, reply, right):
    assert score_reply(reply, check) is right


@pytest.mark.parametrize("check", [{"type": "judge"}, {}, {"type": "exact"}, {"type": "choice", "answer": "a"}])
def test_unusable_checks_are_named(check):
    with pytest.raises(VTBError, match="check"):
        score_reply("anything", check)


def test_the_shipped_suite_agrees_with_its_record():
    items = [json.loads(line) for line in (CORPUS / "suite.jsonl").read_text(encoding="utf-8").splitlines()]
    record = json.loads((CORPUS / "provenance.json").read_text(encoding="utf-8"))["suite"]
    replies = record["replies"]
    right = [score_reply(replies[item["id"]]["reply"], item["check"]) for item in items]
    assert len({item["id"] for item in items}) == len(items) == record["n"]
    assert sum(right) == record["solved"]
    assert 0.7 <= record["score"] <= 0.8
