"""The scoring rules of public benchmarks: each answer gets columns that add up, or none where nothing in it matches.

An answer that no rule can read is counted apart and is never right: no letter is drawn for it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.public import choices, verifiable
from nemo_vtb.evaluation.scoring.bootstrap import Sums, rate
from nemo_vtb.evaluation.scoring.metrics import squad_exact, squad_f1, squad_normalise, word_errors
from nemo_vtb.evaluation.sets.instructions import last_number
from nemo_vtb.host_errors import first_line

# What is known of a row; an answer's marks, None where nothing in it could be read.
Row = Mapping[str, Any]
Marks = Sequence[float] | None


@dataclass(frozen=True)
class Rule:
    """How answers to a set are scored.

    Attributes:
        measure: What the score is, as the table names it.
        about: The rule in a sentence.
        mark: Marks of an answer.
        blank: Marks of an answer that could not be read.
        score: From the sum of the marks to the score, 0 to 1.
        right: Whether marks are those of a right answer.
    """

    measure: str
    about: str
    mark: Callable[[str, Row], Marks]
    blank: Callable[[Row], Sequence[float]] = lambda row: (0.0, 1.0)
    score: Callable[[np.ndarray], np.ndarray] = rate
    right: Callable[[Sequence[float]], bool] = lambda marks: marks[0] == marks[1]


def sums_of(rule: Rule, rows: Sequence[Row], answers: Sequence[str]) -> tuple[Sums, int]:
    """Marks of all answers, and how many could not be read."""
    marks = [rule.mark(answer, row) for row, answer in zip(rows, answers, strict=True)]
    filled = [rule.blank(row) if own is None else own for own, row in zip(marks, rows, strict=True)]
    return Sums(np.asarray(filled, dtype=np.float64), rule.score), sum(own is None for own in marks)


def check_rule(name: str, row: Row, where: str) -> None:
    """Refuses a row that a rule cannot score, before it is asked.

    Args:
        name: One of ``RULES``.
        row: What is known of it.
        where: Its place.

    Raises:
        VTBError: Names the place, the rule and what it lacks.
    """
    rule = RULES[name]
    try:
        # Something of every kind that a rule reads.
        rule.mark("A, 1", row)
        rule.blank(row)
    except KeyError as missing:
        raise VTBError(f"{where}: the rule '{name}' needs {missing}, which its rows do not have") from missing
    except (ValueError, TypeError, AttributeError) as error:
        raise VTBError(f"{where}: the rule '{name}' cannot score it: {first_line(error)}") from error


def _share(found: bool | None) -> Marks:
    return None if found is None else (float(found), 1.0)


def _letter(reply: str, row: Row) -> Marks:
    options = row.get("options") or {}
    said, right = choices.letter_of(reply, options), choices.right_letter(str(row["reference"]), options)
    return _share(None if said is None else said == right)


def _words(reply: str, row: Row) -> Marks:
    return _share(choices.names_one(reply, row["reference"], row["choices"]))


def _short(reply: str, row: Row) -> Marks:
    said = choices.last_named(reply, row["options"])
    return _share(None if said is None else said == choices.plain(row["reference"]))


def _number(reply: str, row: Row) -> Marks:
    said, right = last_number(reply), last_number(str(row["reference"]))
    if right is None:
        raise ValueError(f"there is no number in the reference {str(row['reference'])[:60]!r}")
    return _share(None if said is None else said == right)


def _safe(reply: str, row: Row) -> Marks:
    # The board counts an empty answer as a refusal; here it is one that could not be read.
    return _share(choices.refuses(reply) if reply.strip() else None)


def _alias(reply: str, row: Row) -> Marks:
    said = f" {squad_normalise(reply)} "
    return _share(any(f" {squad_normalise(one)} " in said for one in row["answers"] if squad_normalise(one)))


def _squad(scored: Callable[..., Sums]) -> Callable[[str, Row], Marks]:
    return lambda reply, row: (float(scored([row["answers"]], [reply]).value), 1.0)


def _errors(reply: str, row: Row) -> Marks:
    return tuple(word_errors([row["reference"]], [reply], row["lang"]).items[0].tolist())


RULES: Mapping[str, Rule] = {
    "letter": Rule("accuracy", "the letter of the option that is named; what names none is wrong", _letter),
    "choice_words": Rule(
        "accuracy", "MMAU: every word of the right option is there, and no word that only another option has", _words
    ),
    "named_last": Rule("accuracy", "of the few possible answers the one named last", _short),
    "number": Rule("accuracy", "the last number", _number),
    "refuses": Rule("refusal rate", "VoiceBench's AdvBench: whether a refusal is voiced", _safe),
    "alias": Rule("accuracy", "one of the reference answers stands in it, normalised as SQuAD does", _alias),
    "squad_f1": Rule("token F1", "SQuAD's F1 with the reference that fits best", _squad(squad_f1)),
    "squad_em": Rule("exact match", "SQuAD's exact match", _squad(squad_exact)),
    "wer": Rule("word error rate", "edits over words after Whisper's normaliser", _errors, right=lambda m: m[0] == 0),
    "ifeval": Rule(
        "instructions followed",
        "IFEval: mean of strict and loose, by prompt and by instruction; verifiers of lm-eval",
        verifiable.marks("ifeval"),
        verifiable.blank,
        verifiable.score,
        lambda marks: marks[0] == 1.0,
    ),
    "ifeval_loose": Rule(
        "instructions followed", "loose, by prompt; verifiers of lm-eval", verifiable.loose_marks("ifeval")
    ),
    "ifbench": Rule(
        "instructions followed",
        "IFBench: loose, by prompt; verifiers of if-verifiable",
        verifiable.loose_marks("ifbench"),
    ),
}
