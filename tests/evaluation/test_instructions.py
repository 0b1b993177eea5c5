"""Verifiable instructions are checked as they are meant."""

import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.instructions import follows


@pytest.mark.parametrize(
    ("check", "reply", "right"),
    [
        ({"type": "capitals"}, "OPEN THE DOOR, 2.", True),
        ({"type": "capitals"}, "Open the door", False),
        ({"type": "capitals"}, "123", False),
        ({"type": "lower_case"}, "open the door.", True),
        ({"type": "lower_case"}, "Open the door.", False),
        ({"type": "quotes"}, ' "The cat" ', True),
        ({"type": "quotes"}, "“The cat”", True),
        ({"type": "quotes"}, '"The" cat "sat"', False),
        ({"type": "quotes"}, 'He said "cat"', False),
        ({"type": "quotes"}, '""', False),
        ({"type": "words", "exactly": 3}, "It's a cat.", True),
        ({"type": "words", "exactly": 3}, "It is a cat.", False),
        ({"type": "words", "at_least": 2, "at_most": 3}, "One", False),
        ({"type": "words", "at_least": 2, "at_most": 3}, "One two three", True),
        ({"type": "starts_with", "text": "Today"}, '"today is fine."', True),
        ({"type": "starts_with", "text": "Today"}, "Is today fine?", False),
        ({"type": "ends_with", "text": "over"}, "the red lamp, Over.", True),
        ({"type": "ends_with", "text": "over"}, "over the red lamp", False),
        ({"type": "lacks", "any": ["city"]}, "Rome is velocity.", True),
        ({"type": "lacks", "any": ["city"]}, "Rome is a City.", False),
        ({"type": "no_comma"}, "No commas here.", True),
        ({"type": "no_comma"}, "Well, one.", False),
        ({"type": "no_comma"}, "", False),
        ({"type": "json", "keys": ["a"]}, '```json\n{"a": 1, "b": 2}\n```', True),
        ({"type": "json", "keys": ["a", "c"]}, '{"a": 1}', False),
        ({"type": "json", "keys": ["a"]}, "{a: 1}", False),
        ({"type": "json", "keys": ["a"]}, '["a"]', False),
        ({"type": "bullets", "exactly": 2}, "- one\n\n* two", True),
        ({"type": "bullets", "exactly": 2}, "Here:\n- one\n- two", False),
        ({"type": "lines", "exactly": 2}, "one\n\ntwo", True),
        ({"type": "verbatim", "answer": "OPEN"}, " OPEN\n", True),
        ({"type": "verbatim", "answer": "OPEN"}, "open", False),
        ({"type": "number", "answer": 1234}, "First 3, so it is $1,234.00.", True),
        ({"type": "number", "answer": 3}, "3 and then 4", False),
        ({"type": "number", "answer": 3}, "three", False),
        ([{"type": "capitals"}, {"type": "exact", "answer": "red lamp"}], "RED LAMP", True),
        ([{"type": "capitals"}, {"type": "exact", "answer": "red lamp"}], "RED DOOR", False),
        ([], "anything", False),
    ],
)
def test_replies_are_checked(check, reply, right):
    assert follows(reply, check) is right


@pytest.mark.parametrize("check", [{"type": "words"}, {"type": "json"}, {"type": "rhymes"}, [{"type": "ends_with"}]])
def test_checks_that_cannot_be_applied_are_named(check):
    with pytest.raises(VTBError, match="check"):
        follows("a reply", check)
