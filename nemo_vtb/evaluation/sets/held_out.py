"""Held-out sets as a config lists them: what ``vtb quickstart`` asks before and after, and what ``vtb eval`` asks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from nemo_vtb.data.files.rows import placed_rows
from nemo_vtb.data.sources.source import Reading, open_source
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.answers import Task
from nemo_vtb.evaluation.sets.usable_checks import check_usable
from nemo_vtb.options import Key

OWN_KEYS = {
    "kind": Key("asr, ast, sqa, mixed, multiturn", "What is asked; vtb quickstart knows no multiturn."),
    "group": Key("str", "What results are averaged over; in vtb eval the name of the set.", ""),
    "at_most": Key("int or null", "Rows to draw; null takes all.", None),
}


@dataclass(frozen=True)
class HeldOutSet:
    """What a config's entry asks.

    Attributes:
        kind: What is asked of its conversations.
        group: What its results are averaged over, e.g. a language or a test set.
        tasks: The questions.
        options: What else its entry says.
    """

    kind: str
    group: str
    tasks: Sequence[Task]
    options: Mapping[str, Any]


def held_out_set(entry: Mapping[str, Any], where: str, reading: Reading, options: Sequence[str] = ()) -> HeldOutSet:
    """Draws what is asked.

    Args:
        entry: A source as in ``input_cfg``, with its ``kind``, a ``group`` and how many to draw ``at_most``. Rows whose
            answer cannot be checked exactly are left out.
        where: The entry's place in the config.
        reading: How the source is read.
        options: Keys that it may have beside these.

    Raises:
        VTBError: If it has no kind, has unknown keys, no row that can be checked, two rows of one id, a
            conversation that ends without an answer (kind ``multiturn`` excepted), or on what the source cannot give.
    """
    own = {key: entry[key] for key in (*OWN_KEYS, *options) if key in entry}
    if "kind" not in own:
        raise VTBError(f"{where} has no kind")
    kind, group = own.pop("kind"), own.pop("group", "")
    try:
        source = open_source(
            {key: value for key, value in entry.items() if key not in (*OWN_KEYS, *options)}, kind, reading
        )
    except VTBError as error:
        raise VTBError(f"{where}: {error}") from error
    drawn = [source.draw(index, 0) for index in range(len(source))]
    places = [index for index, conversation in enumerate(drawn) if conversation.custom.get("checkable", True)]
    checkable = [drawn[index] for index in places]
    if not checkable:
        raise VTBError(f"{where}: none of its {len(drawn)} rows is checkable, so there is nothing to ask")
    chosen = drawn_at_most(checkable, own.pop("at_most", None), where)
    if kind != "multiturn":
        for index, conversation in zip(places, checkable, strict=True):
            if (role := conversation.turns[-1].role) != "assistant":
                raise VTBError(
                    f"{where}: {source.where(index)}: the last turn is the {role}'s; it is the reference answer, so "
                    "end the conversation with the assistant's"
                )
    if repeated := _repeated((conversation.id for conversation in checkable), map(source.where, places)):
        raise VTBError(f"{where}: {repeated}")
    return HeldOutSet(kind, group, [Task(kind, conversation, group) for conversation in chosen], own)


def drawn_at_most(rows: Sequence[Any], at_most: Any, where: str) -> list[Any]:
    """Draws ``at_most`` of some rows, always the same ones; all of them, shuffled, without a limit.

    Raises:
        VTBError: If the limit is no number of at least 1.
    """
    if at_most is not None and (type(at_most) is not int or at_most < 1):
        raise VTBError(f"{where}.at_most is {at_most!r}; it is a number of at least 1")
    return Random(0).sample(list(rows), len(rows) if at_most is None else min(at_most, len(rows)))


def answer_limit(entry: Mapping[str, Any], default: Any, where: str) -> int:
    """The longest answer to what an entry asks: its ``max_new_tokens``, or a default.

    Raises:
        VTBError: If it is no number of at least 1.
    """
    limit = entry.get("max_new_tokens", default)
    if type(limit) is not int or limit < 1:
        raise VTBError(f"{where}.max_new_tokens is {limit!r}; it is a number of tokens of at least 1")
    return limit


def text_conversations(path: str, reading: Reading) -> list[Any]:
    """Held-out text conversations, for their likelihood and the divergence from the untouched LLM.

    Raises:
        VTBError: If the file is missing, holds what is no conversation, or two of the same id.
    """
    source = open_source({"type": "multimodal_conversation", "manifest_filepath": path}, "text", reading)
    drawn = [source.draw(index, 0) for index in range(len(source))]
    if repeated := _repeated((conversation.id for conversation in drawn), map(source.where, range(len(source)))):
        raise VTBError(repeated)
    return drawn


def suite_rows(path: str) -> list[dict[str, Any]]:
    """Rows of a verifiable text suite: ``id``, ``prompt`` and ``check``, perhaps more.

    Raises:
        VTBError: If the file is missing, or with file and line on a row that cannot be asked or checked, or whose id
            is that of another.
    """
    rows = {where: _suite_row(row, where) for where, row in placed_rows(path)}
    if repeated := _repeated((row["id"] for row in rows.values()), rows):
        raise VTBError(repeated)
    return list(rows.values())


def text_task(item: Mapping[str, Any]) -> Task:
    """The question of a suite's row."""
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation
    from nemo.collections.common.data.lhotse.text_adapters import TextTurn

    turns = [TextTurn(value=item["prompt"], role="user"), TextTurn(value="", role="assistant")]
    custom = {"kind": "text", "check": item["check"]}
    return Task("text", NeMoMultimodalConversation(id=item["id"], turns=turns, custom=custom))


def _repeated(ids: Iterable[str], places: Iterable[str]) -> str:
    first: dict[str, str] = {}
    for name, place in zip(ids, places, strict=True):
        if name in first:
            return f"the id '{name}' stands at {first[name]} and at {place}; give each row its own, or leave one out"
        first[name] = place
    return ""


def _suite_row(row: dict[str, Any], where: str) -> dict[str, Any]:
    for key, kind in (("id", str), ("prompt", str), ("check", (dict, list))):
        if not isinstance(row.get(key), kind):
            raise VTBError(f"{where}: a row of a text suite has id, prompt and check; '{key}' is missing or odd")
    check_usable(row["check"], where)
    return row
