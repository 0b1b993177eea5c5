"""Verifiable instructions are checked as they are meant."""

import re

import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.sets.instructions import follows
from nemo_vtb.evaluation.sets.usable_checks import check_usable


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


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("yes", "the check 'yes' is no mapping with a type"),
        (["yes"], "the check 'yes' is no mapping"),
        ({}, "is no mapping with a type"),
        ({"type": ["exact"], "answer": "a"}, "is no mapping with a type"),
        ([], "the list of checks is empty"),
        ({"type": "rhymes"}, "unknown text suite check 'rhymes'"),
        ({"type": "regex", "pattern": "(a"}, "has pattern='(a', which is none: missing )"),
        ({"type": "regex", "pattern": 3}, "has pattern=3; it is a text"),
        ({"type": "choice", "options": ["yes", "no"]}, "lacks its key 'answer'"),
        ({"type": "choice", "answer": "yes"}, "lacks its key 'options'"),
        ({"type": "choice", "answer": "maybe", "options": ["yes", "no"]}, "answer='maybe', which is none of its"),
        ({"type": "choice", "answer": "y", "options": "yes"}, "options='yes'; it is a list of at least one text"),
        ({"type": "contains", "any": "red"}, "any='red'; it is a list"),
        ({"type": "contains", "all": "red"}, "all='red'; it is a list"),
        ({"type": "contains", "any": []}, "any=[]; it is a list"),
        ({"type": "lacks", "any": ["red", 3]}, "any=['red', 3]; it is a list"),
        ({"type": "json", "keys": "name"}, "keys='name'; it is a list of texts"),
        ({"type": "words", "exactly": "3"}, "exactly='3'; it is a whole number"),
        ({"type": "exact", "answer": None}, "answer=None; it is a text"),
        ({"type": "number", "answer": "many"}, "answer='many'; it is a number"),
    ],
)
def test_checks_are_looked_at_before_anything_is_asked(check, message):
    with pytest.raises(VTBError, match=re.escape("suite.jsonl:3: ")) as refused:
        check_usable(check, "suite.jsonl:3")
    assert message in str(refused.value)


@pytest.mark.parametrize("check", [{"type": "json", "keys": []}, {"type": "number", "answer": "1.5"}])
def test_checks_that_can_be_applied_are_let_through(check):
    check_usable([check], "suite.jsonl:3")
