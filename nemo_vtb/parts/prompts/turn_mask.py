"""From a conversation to token ids and a loss mask, through any of NeMo's prompt formats.

NeMo's own masks differ by format: ``qwen3`` and ``nemotron-nano-v3`` supervise the last answer only, several formats
supervise the assistant header, and ``nemotron-h``, ``phi2_*`` and ``plain`` have nothing that ends an answer. Here
every assistant turn is supervised, from its first word through its end-of-turn token, and nothing else; where the
format has no such token, the tokenizer's end of sequence stands behind every answer.
"""

import re
from collections.abc import Collection
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.prompts.control_tokens import broken
from nemo_vtb.parts.prompts.encoded import EncodedConversation

if TYPE_CHECKING:
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation
    from nemo.collections.common.prompts import PromptFormatter

    from nemo_vtb.parts.prompts.chat_template import ChatTemplate


_SYSTEM_AND_USER = "system_and_user"


def without_tag(text: str, audio_tag: str) -> str:
    """Takes a tag apart that stands literally in a text, so that it cannot ask for a clip that is not there."""
    return text.replace(audio_tag, f"{audio_tag[:1]} {audio_tag[1:]}")


def merged_turns(
    conversation: "NeMoMultimodalConversation", audio_tag: str, controls: re.Pattern[str] | None = None
) -> list[tuple[str, str]]:
    """Joins neighbouring turns of one role by a space, each audio turn written as ``audio_tag``.

    Args:
        conversation: The conversation.
        audio_tag: The placeholder of a clip.
        controls: Finds control tokens in people's words, which are then broken; see ``control_tokens``.

    Returns:
        ``(role, message)`` pairs.
    """
    pieces = (
        (turn.role, audio_tag if hasattr(turn, "cut") else broken(without_tag(turn.value, audio_tag), controls))
        for turn in conversation.turns
    )
    return [(role, " ".join(text for _, text in group)) for role, group in groupby(pieces, key=lambda piece: piece[0])]


def context_turns(conversation: "NeMoMultimodalConversation") -> set[int]:
    """Returns which of the merged turns are answers that are not learnt."""
    groups = groupby(conversation.turns, key=lambda turn: turn.role)
    return {number for number, (_, group) in enumerate(groups) if not all(getattr(t, "learnt", True) for t in group)}


def encode_turns(
    turns: list[tuple[str, str]],
    formatter: "PromptFormatter",
    for_generation: bool = False,
    context: Collection[int] = (),
    thinking: bool | None = None,
) -> EncodedConversation:
    """Encodes ``(role, message)`` turns with a NeMo prompt format, or with the tokenizer's own template.

    A system turn is folded into the first user turn where the format has no system role (Gemma), in the format's own
    way where it has one (Llama 2).

    Args:
        turns: Roles ``system``, ``user`` and ``assistant``.
        formatter: Any registered NeMo prompt format.
        for_generation: Ends with the header of the next answer instead of an answer.
        context: Numbers of the answers that carry no loss.
        thinking: Whether to think, against what ``model.thinking`` says; the tokenizer's own template alone can.

    Raises:
        VTBError: If a role is unknown to the format, or it has no switch for thinking.
    """
    if (own := own_template(formatter)) is not None:
        return own.encode(turns, for_generation, context, thinking)
    if thinking is not None:
        raise VTBError(
            f"enable_thinking={thinking}: prompt format '{formatter.NAME}' has no switch for it; "
            "model.prompt_format=auto writes the tokenizer's own template, which may have one"
        )
    answer_role, roles = formatter.OUTPUT_ROLE, formatter.get_roles()
    ends_with_eos = not answer_ending(formatter)
    ids: list[int] = []
    targets: list[tuple[int, int]] = []
    if formatter.INSERT_BOS:
        ids.append(formatter.tokenizer.bos)
    if "preamble" in roles:
        ids += formatter._apply_tokenizer(formatter.get_template("preamble"))
    folded = _fold_system(turns, formatter)
    learnt = True
    for number, (role, values) in enumerate(folded, start=len(turns) - len(folded)):
        role = answer_role if role == "assistant" else role
        if role not in roles:
            raise VTBError(f"prompt format '{formatter.NAME}' has no role '{role}'; it has {roles}")
        tokens = formatter.encode_turn(formatter.get_template(role), dict.fromkeys(values), values)
        if role == answer_role and values["message"][:1].isspace():
            tokens = _header_apart(tokens, values["message"], formatter)
        learnt = role == answer_role and number not in context
        if learnt:
            start, end = answer_span(tokens, formatter)
            targets.append((len(ids) + start, len(ids) + end))
        ids += tokens
        if role == answer_role and ends_with_eos:
            ids.append(formatter.tokenizer.eos)
            if learnt:
                targets.append((len(ids) - 1, len(ids)))
    if for_generation:
        if formatter.INFERENCE_PREFIX is not None:
            ids += formatter._apply_tokenizer(formatter.INFERENCE_PREFIX)
    elif formatter.INSERT_EOS and not ends_with_eos:
        ids.append(formatter.tokenizer.eos)
        if learnt and any(start < end for start, end in targets):
            targets.append((len(ids) - 1, len(ids)))
    mask: np.ndarray = np.zeros(len(ids), dtype=bool)
    for start, end in targets:
        mask[start:end] = True
    return EncodedConversation(np.asarray(ids, dtype=np.int64), mask)


def end_of_turn_id(formatter: "PromptFormatter") -> int:
    """Returns the id that ends an answer in this format: what generation stops at."""
    if (own := own_template(formatter)) is not None:
        return own.end_of_turn_id
    if not answer_ending(formatter):
        return formatter.tokenizer.eos
    template = formatter.get_template(formatter.OUTPUT_ROLE)
    tokens = formatter.encode_turn(template, {"message": None}, {"message": "x"})
    start, end = answer_span(tokens, formatter)
    return tokens[start:end][-1]


def own_template(formatter: Any) -> "ChatTemplate | None":
    """The tokenizer's own template, where that is the format."""
    return getattr(formatter, "own_template", None)


def stop_ids(formatter: "PromptFormatter") -> list[int]:
    """The ids at which generation stops: the format's end of turn and the tokenizer's end of text, if it has one."""
    end = formatter.tokenizer.eos
    return sorted({end_of_turn_id(formatter)} | ({end} if end is not None else set()))


def answer_ending(formatter: "PromptFormatter") -> str:
    """Returns what the format writes behind an answer, white space left out; empty where there is nothing."""
    return formatter.get_template(formatter.OUTPUT_ROLE).partition("|message|")[2].strip()


def _fold_system(turns: list[tuple[str, str]], formatter: "PromptFormatter") -> list[tuple[str, dict[str, str]]]:
    """Roles and the values of their slots, with a system turn where the format can write it."""
    folded = [(role, {"message": message}) for role, message in turns]
    if not turns or turns[0][0] != "system" or "system" in formatter.get_roles():
        return folded
    if len(turns) < 2 or turns[1][0] != "user":
        raise VTBError("a system turn must be followed by a user turn")
    system, message = turns[0][1], turns[1][1]
    if _SYSTEM_AND_USER in formatter.get_roles():  # Llama 2
        return [(_SYSTEM_AND_USER, {"message": message, "system": system}), *folded[2:]]
    return [("user", {"message": f"{system}\n\n{message}"}), *folded[2:]]


def _header_apart(tokens: list[int], message: str, formatter: "PromptFormatter") -> list[int]:
    """The tokens of an answer that begins with white space, with those that its header has when it is asked for.

    A tokenizer may join the header's last line break with the answer's first spaces, to a token that no prompt ends in.
    """
    header, _, rest = formatter.get_template(formatter.OUTPUT_ROLE).partition("|message|")
    asked = formatter._apply_tokenizer(header) if header else []
    if tokens[: len(asked)] == asked:
        return tokens
    apart = asked + formatter._apply_tokenizer(message + rest)
    return apart if _text(apart, formatter) == _text(tokens, formatter) else tokens


def answer_span(tokens: list[int], formatter: "PromptFormatter") -> tuple[int, int]:
    """From behind the answer's header to its end-of-turn token; white space behind that is not a target.

    Without such a token all of the rest is: what follows it is the end of sequence, which must be reached.
    """
    header = formatter.get_template(formatter.OUTPUT_ROLE).split("|message|")[0]
    header_ids = formatter._apply_tokenizer(header) if header else []
    start = 0
    while start < min(len(header_ids), len(tokens)) and tokens[start] == header_ids[start]:
        start += 1
    # Where a tokenizer splits white space by what follows, the header ends in other ids here than on its own.
    while header and start < len(tokens) and header.startswith(_text(tokens[: start + 1], formatter)):
        start += 1
    end = len(tokens)
    while end > start and answer_ending(formatter) and not _text(tokens[end - 1 : end], formatter).strip():
        end -= 1
    return start, end


def _text(tokens: list[int], formatter: "PromptFormatter") -> str:
    return formatter.tokenizer.ids_to_text(tokens, remove_special_tokens=False)
