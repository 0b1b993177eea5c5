"""From a conversation to token ids and a loss mask, through any of NeMo's prompt formats.

NeMo's own masks differ by format: ``qwen3`` supervises the last answer only, several formats supervise the assistant
header. Here every assistant turn is supervised, from its first word through its end-of-turn token, and nothing else.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation
    from nemo.collections.common.prompts import PromptFormatter


@dataclass  # not frozen: Lightning rebuilds the dataclasses of a batch when it moves it to a device
class EncodedConversation:
    """Token ids of a conversation, placeholders included.

    Attributes:
        input_ids: int64 ``(tokens,)``; each audio turn is one placeholder id.
        loss_mask: bool ``(tokens,)``; True where the token is a training target.
    """

    input_ids: np.ndarray
    loss_mask: np.ndarray


def merged_turns(conversation: "NeMoMultimodalConversation", audio_tag: str) -> list[tuple[str, str]]:
    """Joins neighbouring turns of one role by a space, each audio turn written as ``audio_tag``.

    A tag that stands literally in somebody's text is taken apart, so that it cannot ask for a clip that is not there.

    Returns:
        ``(role, message)`` pairs.
    """
    escaped = audio_tag[:1] + " " + audio_tag[1:]
    pieces = (
        (turn.role, audio_tag if hasattr(turn, "cut") else turn.value.replace(audio_tag, escaped))
        for turn in conversation.turns
    )
    return [(role, " ".join(text for _, text in group)) for role, group in groupby(pieces, key=lambda piece: piece[0])]


def encode_turns(
    turns: list[tuple[str, str]], formatter: "PromptFormatter", for_generation: bool = False
) -> EncodedConversation:
    """Encodes ``(role, message)`` turns with a NeMo prompt format.

    A system turn is folded into the first user turn where the format has no system role (Gemma).

    Args:
        turns: Roles ``system``, ``user`` and ``assistant``.
        formatter: Any registered NeMo prompt format.
        for_generation: Ends with the header of the next answer instead of an answer.

    Raises:
        VTBError: If a role is unknown to the format.
    """
    answer_role = formatter.OUTPUT_ROLE
    turns = _fold_system(turns, formatter)
    ids: list[int] = []
    mask: list[bool] = []
    if formatter.INSERT_BOS:
        ids.append(formatter.tokenizer.bos)
        mask.append(False)
    if "preamble" in formatter.get_roles():
        preamble = formatter._apply_tokenizer(formatter.get_template("preamble"))
        ids += preamble
        mask += [False] * len(preamble)
    for role, message in turns:
        role = answer_role if role == "assistant" else role
        if role not in formatter.get_roles():
            raise VTBError(f"prompt format '{formatter.NAME}' has no role '{role}'; it has {formatter.get_roles()}")
        slots = formatter.get_slots(role)
        tokens = formatter.encode_turn(formatter.get_template(role), slots, dict.fromkeys(slots, message))
        ids += tokens
        mask += _answer_mask(tokens, formatter) if role == answer_role else [False] * len(tokens)
    if for_generation:
        if formatter.INFERENCE_PREFIX is not None:
            prefix = formatter._apply_tokenizer(formatter.INFERENCE_PREFIX)
            ids += prefix
            mask += [False] * len(prefix)
    elif formatter.INSERT_EOS:
        ids.append(formatter.tokenizer.eos)
        mask.append(True)
    return EncodedConversation(np.asarray(ids, dtype=np.int64), np.asarray(mask, dtype=bool))


def end_of_turn_id(formatter: "PromptFormatter") -> int:
    """Returns the id that ends an answer in this format: what generation stops at."""
    role = formatter.OUTPUT_ROLE
    slots = formatter.get_slots(role)
    tokens = formatter.encode_turn(formatter.get_template(role), slots, dict.fromkeys(slots, "x"))
    supervised = [token for token, keep in zip(tokens, _answer_mask(tokens, formatter), strict=True) if keep]
    return supervised[-1]


def _fold_system(turns: list[tuple[str, str]], formatter: "PromptFormatter") -> list[tuple[str, str]]:
    if turns and turns[0][0] == "system" and "system" not in formatter.get_roles():
        (_, system), *rest = turns
        if not rest or rest[0][0] != "user":
            raise VTBError("a system turn must be followed by a user turn")
        return [("user", f"{system}\n\n{rest[0][1]}"), *rest[1:]]
    return turns


def _answer_mask(tokens: list[int], formatter: "PromptFormatter") -> list[bool]:
    """True from behind the answer's header to its end-of-turn token; white space behind that is not a target."""
    header = formatter.get_template(formatter.OUTPUT_ROLE).split("|message|")[0]
    header_ids = formatter._apply_tokenizer(header) if header else []
    start = 0
    while start < min(len(header_ids), len(tokens)) and tokens[start] == header_ids[start]:
        start += 1
    # Where a tokenizer splits white space by what follows, the header ends in other ids here than on its own.
    while header and start < len(tokens) and header.startswith(_text(tokens[: start + 1], formatter)):
        start += 1
    end = len(tokens)
    while end > start and not _text(tokens[end - 1 : end], formatter).strip():
        end -= 1
    return [start <= index < end for index in range(len(tokens))]


def _text(tokens: list[int], formatter: "PromptFormatter") -> str:
    return formatter.tokenizer.ids_to_text(tokens, remove_special_tokens=False)
