"""From the keys of a ``model`` section to its tokenizer and its prompt format."""

from collections.abc import Mapping
from typing import Any

from nemo.collections.common.prompts import PromptFormatter
from nemo.collections.common.tokenizers import AutoTokenizer
from nemo.utils import logging

from nemo_vtb.assets import resolve

# Registers its formats with NeMo.
from nemo_vtb.data.prompts import added_formats  # noqa: F401
from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import blamed_on
from nemo_vtb.parts.prompts.chat_template import ChatTemplate, with_thinking
from nemo_vtb.parts.prompts.turn_mask import answer_ending, encode_turns, own_template

AUTO = "auto"
_CHAT = [("user", "What is it?"), ("assistant", "It is."), ("user", "Sure?"), ("assistant", "Yes, sure.")]
_compared: set[tuple[str, str]] = set()
_forgetful: set[str] = set()


def tokenizer_of(section: Mapping[str, Any]) -> AutoTokenizer:
    """Returns the tokenizer of a ``model`` section, with the audio placeholder and its template set for thinking.

    Raises:
        VTBError: Names the key of what cannot be read; if ``model.thinking`` cannot be had.
    """
    key = "tokenizer_path" if section.get("tokenizer_path") else "pretrained_llm"
    name = str(section[key])
    with blamed_on(f"model.{key}={name}: its tokenizer cannot be loaded"):
        tokenizer = AutoTokenizer(
            resolve(name), use_fast=True, trust_remote_code=section.get("trust_remote_code", False)
        )
        _check_tag(section["audio_locator_tag"], tokenizer.tokenizer)
        tokenizer.add_special_tokens({"additional_special_tokens": [section["audio_locator_tag"]]})
    mode = section.get("thinking") or AUTO
    if section.get("prompt_format", AUTO) == AUTO:
        with_thinking(tokenizer.tokenizer, mode)
    elif mode != AUTO:
        raise VTBError(
            f"model.thinking={mode} needs model.prompt_format=auto: '{section['prompt_format']}' has no switch for it"
        )
    return tokenizer


def _check_tag(tag: str, tokenizer: Any) -> None:
    """Refuses a placeholder of clips that stands in other places too: each would be taken for a clip."""
    where = f"model.audio_locator_tag is {tag!r}"
    if not tag.strip():
        raise VTBError(f"{where}: name a token of its own, e.g. <|audio|>")
    if tag != tag.strip():
        raise VTBError(f"{where}, with blanks around it, which tokenizers take for words: leave them out")
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    if taken := next((name for name in names if getattr(tokenizer, name, None) == tag), None):
        raise VTBError(f"{where}, which is the tokenizer's {taken}: name a token of its own, e.g. <|audio|>")
    known = tokenizer.convert_tokens_to_ids(tag) not in (None, tokenizer.unk_token_id)
    bracketed = tag[0] in "<[" and tag[-1] in ">]"
    if known and not bracketed and tag not in tokenizer.get_added_vocab():
        raise VTBError(f"{where}, which the tokenizer has in ordinary words: name a token of its own, e.g. <|audio|>")


def formatter_of(name: Any, tokenizer: Any, where: str = "model.prompt_format") -> PromptFormatter:
    """Returns a prompt format that can be trained with a tokenizer.

    A format of NeMo's that writes other tokens than the tokenizer's own template is warned about once.

    Args:
        name: One that is registered with NeMo.
        tokenizer: NeMo's wrapper.
        where: The config's key of the name.

    Raises:
        VTBError: If there is none of that name, or it does not belong to the tokenizer.
    """
    known = PromptFormatter._REGISTERED_FORMATTERS
    if name not in known:
        raise VTBError(
            f"{where} is {name!r}, which is unknown; auto takes the tokenizer's own chat template, and the formats "
            f"that NeMo knows are {', '.join(sorted(set(known) - {AUTO}))}"
        )
    formatter = known[name](tokenizer)
    own = own_template(formatter)
    if own is None:
        check_prompt_format(formatter)
        _compare(formatter)
    elif own.forgets_system and own.name not in _forgetful:
        _forgetful.add(own.name)
        logging.warning(
            f"nemo_vtb: the chat template of {own.name} writes a system turn when the LLM is asked and leaves it out "
            "behind an answer: in training system turns will not be heard; put their words into the first user turn"
        )
    return formatter


def check_prompt_format(formatter: PromptFormatter) -> None:
    """Refuses a format that cannot write a chat, or that does not belong to its tokenizer.

    Raises:
        VTBError: Names the format and what is wrong.
    """
    name = formatter.NAME
    roles = ("user", formatter.OUTPUT_ROLE)
    for role in roles:
        slots = set(formatter.get_slots(role)) if role in formatter.get_roles() else None
        if slots != {"message"}:
            wanted = "no such role" if slots is None else f"the slots {', '.join(sorted(slots)) or 'none'}"
            raise VTBError(f"prompt format '{name}' writes no chats: its role '{role}' has {wanted}; wanted: message")
    ending = answer_ending(formatter)
    tokenizer = formatter.tokenizer
    if formatter.INSERT_BOS and tokenizer.bos is None:
        raise VTBError(f"prompt format '{name}' begins with bos, which this tokenizer does not have")
    if not ending or ending == "|eos|":
        if tokenizer.eos is None:
            raise VTBError(f"prompt format '{name}' ends answers with eos, which this tokenizer does not have")
        return
    pieces = formatter._apply_tokenizer(ending)
    if len(pieces) != 1:
        raise VTBError(
            f"prompt format '{name}' ends answers with '{ending}', which this tokenizer splits into {len(pieces)} "
            "tokens: the format belongs to another LLM, and generation would not stop"
        )


def _compare(formatter: PromptFormatter) -> None:
    inner: Any = getattr(formatter.tokenizer, "tokenizer", None)
    key = formatter.NAME, str(getattr(inner, "name_or_path", ""))
    if key in _compared:
        return
    _compared.add(key)
    try:
        theirs = ChatTemplate(inner).encode(_CHAT).input_ids.tolist()
    except VTBError:
        return
    ours = encode_turns(_CHAT, formatter).input_ids.tolist()
    if ours == theirs:
        return
    same = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
    at = min(len(ours), len(theirs)) if same is None else same
    written, own = (repr(inner.decode(ids[max(0, at - 2) : at + 6])) for ids in (ours, theirs))
    logging.warning(
        f"nemo_vtb: model.prompt_format={formatter.NAME} writes other tokens than the chat template of {key[1]}, first "
        f"where it has {written} and the template {own}; model.prompt_format=auto writes the template"
    )
