"""Switches by which rows say what of them is learnt: ``loss: false`` of a message, ``mask_history`` of a row."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, ClassVar

from nemo.collections.common.data.lhotse.text_adapters import TextTurn

from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.row_forms.fields import normal
from nemo_vtb.data.row_forms.visible import has_text

# ms-swift and LLaMA-Factory (loss), OpenAI (weight), Axolotl (train, training) and what people make of them.
_LEARN = frozenset(
    "loss weight train training trainable is_trainable learn learnable supervise supervised loss_weight loss_scale "
    "compute_loss calculate_loss use_loss has_loss enable_loss include_in_loss in_loss train_on loss_mask is_target "
    "use_for_training backprop".split()
)
_DO_NOT = frozenset(
    "mask masked is_masked mask_loss no_loss ignore_loss skip_loss exclude_from_loss ignore_in_loss no_grad no_train "
    "dont_train skip_training ignore ignored".split()
)
# Objects in which people keep what a message or a row has no field for: an off switch is obeyed there too.
_BAGS = ("custom", "metadata", "meta", "extra", "extra_info")
# Nothing is known of them but that they speak of the loss.
_SWITCH = re.compile(r"(^|_)(loss|train|training|trainable|learn|mask|masked|weights?|supervised?)(_|$)")
_LAST = frozenset(("last", "last_round", "last_turn", "last_message", "last_answer", "last_assistant"))
# What is done in any case: answers are learnt, and nothing else.
_ANYWAY = (("train_on_input", False), ("train_on_inputs", False), ("train_on_prompt", False),
           ("assistant_only_loss", True), ("completion_only_loss", True))  # fmt: skip
_ALL = frozenset(("default", "all", "all_turns"))
_LAST_ONLY = re.compile(r"^(mask_history|(train_|learn_|loss_)?(on_)?(only_)?last(_turn|_round|_answer)?(_only)?)$")
_WORDS = {"true": True, "yes": True, "1": True, "1.0": True, "on": True,
          "false": False, "no": False, "0": False, "0.0": False, "off": False}  # fmt: skip
# Of these a user's turn may have one that is on: who writes them means the assistant's turns alone.
_FOR_ANSWERS = ("loss", "weight", "loss_scale", "loss_weight", "loss_mask")


@dataclass
class ContextTurn(TextTurn):
    """An answer that later turns may refer to and of which nothing is learnt."""

    learnt: ClassVar[bool] = False

    def to_dict(self) -> dict[str, Any]:
        """As of a TextTurn, with the switch."""
        return {**super().to_dict(), "loss": False}


def is_learnt(message: Mapping[str, Any], role: str) -> bool:
    """Whether an answer is learnt, as its message says; by default it is.

    Args:
        message: With any number of switches.
        role: ``user``, ``assistant`` or ``system``.

    Raises:
        BadRow: If a switch has a value, or stands at a turn, that cannot be obeyed.
    """
    said = {}
    for key, value in message.items():
        if not may_switch(key):
            continue
        name = normal(key)
        on = _truth(value)
        if value is None or not (name in _LEARN or name in _DO_NOT or _is_switch(name, on, value)):
            continue
        _mark(message, key)
        if on is None or not (name in _LEARN or name in _DO_NOT):
            raise BadRow("loss switch", f"'{key}' is {str(value)[:40]!r}, which cannot be obeyed: true or false can")
        said[key] = on if name in _LEARN else not on
        if role != "assistant" and said[key] and name in _LEARN and name not in _FOR_ANSWERS:
            raise BadRow("loss switch", f"'{key}' asks to learn a turn of the {role}: only answers can be learnt")
    if len(set(said.values())) > 1:
        raise BadRow("loss switch", f"{' and '.join(map(repr, said))} of one message contradict each other")
    return all(said.values()) and not _off_inside(message) and message.get("label") is not False


def learns_last_only(row: Mapping[str, Any]) -> bool:
    """Whether a row says that only its last answer is learnt.

    Raises:
        BadRow: If it says that nothing of it is, or something that cannot be obeyed.
    """
    last = False
    for key, value in row.items():
        if not may_switch(key):
            continue
        name = normal(key)
        word, on = normal(value) if isinstance(value, str) else "", _truth(value)
        about = name in _LEARN or name in _DO_NOT or _LAST_ONLY.match(name) or _is_switch(name, on, value)
        if value is None or not about:
            continue
        _mark(row, key)
        if (name, on) in _ANYWAY:
            continue
        if name == "mask" and word in ("user", "human", "system"):  # NeMo's: whose turns are not learnt
            continue
        if name == "mask" and word in ("assistant", "gpt", "model"):
            raise BadRow("nothing supervised", f"mask is {value!r}: only the assistant's turns can be learnt")
        if word in _LAST:
            last = True
        elif word in _ALL:
            continue
        elif _LAST_ONLY.match(name) and on is not None:
            last |= on
        elif on is None or not (name in _LEARN or name in _DO_NOT):
            raise BadRow("loss switch", f"'{key}' is {str(value)[:40]!r}, which cannot be obeyed")
        elif on != (name in _LEARN):
            raise BadRow("nothing supervised", f"'{key}' is {value!r}: nothing of the row is to be learnt")
    if row.get("label") is False:  # of preferences, as TRL and ms-swift keep them
        raise BadRow("nothing supervised", "'label' is false: the answer is one that nobody wants")
    if (inside := _off_inside(row)) is not None:
        raise BadRow("nothing supervised", f"'{inside}' switches the loss off: nothing of the row is to be learnt")
    return last or any(
        _LAST_ONLY.match(normal(key)) and key != "last" and _truth(value) for _, key, value in _kept(row)
    )


def is_skipped(fields: Mapping[str, Any]) -> bool:
    """Whether NeMo's ``_skipme`` leaves a row out, there as here by anything that is true.

    Raises:
        BadRow: If it is a text that says no, which NeMo takes for yes.
    """
    skip = fields.get("_skipme")
    if isinstance(skip, str) and skip.strip().lower() not in ("", "true", "yes", "1"):
        raise BadRow("loss switch", f"'_skipme' is {skip[:40]!r}, which cannot be obeyed: true or false can")
    return bool(skip)


def with_switches(turns: Sequence[Any], last_only: bool, keep_empty: bool) -> list[Any]:
    """Returns the turns with every answer that is not learnt marked as context.

    Neighbouring turns of the assistant are one answer. An empty one is context, unless it is to be kept.

    Raises:
        BadRow: If one answer is both learnt and not.
    """
    groups = [(role, list(group)) for role, group in groupby(turns, key=lambda turn: turn.role)]
    last = max((number for number, (role, _) in enumerate(groups) if role == "assistant"), default=-1)
    found: list[Any] = []
    for number, (role, group) in enumerate(groups):
        if role == "assistant" and not any(hasattr(turn, "cut") for turn in group):
            empty = not any(has_text(turn.value) for turn in group)
            asked = {getattr(turn, "learnt", True) for turn in group if empty or has_text(turn.value)}
            if len(asked) > 1:
                raise BadRow("loss switch", "neighbouring turns of the assistant are one answer, and one is not learnt")
            if not all(asked) or (last_only and number != last) or (empty and not keep_empty):
                group = [ContextTurn(value=turn.value, role=role) for turn in group]
        found += group
    return found


def _off_inside(fields: Mapping[str, Any]) -> str | None:
    """The switch that is off in an object beside the fields that are known."""
    for bag, key, value in _kept(fields):
        name, on = normal(key), _truth(value)
        if (name in _LEARN and on is False) or (name in _DO_NOT and on):
            return f"{bag}.{key}"
    return None


def _kept(fields: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for bag, inside in fields.items():
        if normal(bag) in _BAGS and isinstance(inside, Mapping):
            yield from ((bag, key, value) for key, value in inside.items())


@lru_cache(maxsize=4096)
def may_switch(key: str) -> bool:
    """Whether a field of this name can be a switch at all; most names cannot, whatever stands in them."""
    name = normal(key)
    return bool(name in _LEARN or name in _DO_NOT or _LAST_ONLY.match(name) or _SWITCH.search(name))


def _is_switch(name: str, on: bool | None, value: Any) -> bool:
    """Whether a field that nobody knows switches the loss: by its name and its value; a measured loss does not."""
    listed = isinstance(value, list) and bool(value)
    return _SWITCH.search(name) is not None and (on is not None or listed)


def _mark(fields: Mapping[str, Any], key: str) -> None:
    fields.get(key)  # read, for those who report what nobody reads


def _truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return bool(value) if value in (0, 1) else None
    return _WORDS.get(value.strip().lower()) if isinstance(value, str) else None
