"""Which of NeMo's prompt formats a chat can be trained in, and with which tokenizer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nemo_vtb.assets import resolve
from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import blamed_on
from nemo_vtb.parts.turn_mask import answer_ending

if TYPE_CHECKING:
    from nemo.collections.common.prompts import PromptFormatter


def open_tokenizer(section: Mapping[str, Any]) -> Any:
    """Opens the tokenizer of a ``model`` section in NeMo's wrapper, with the placeholder of audio.

    Raises:
        VTBError: Names the key of what cannot be read.
    """
    from nemo.collections.common.tokenizers import AutoTokenizer

    key = "tokenizer_path" if section.get("tokenizer_path") else "pretrained_llm"
    name = str(section[key])
    with blamed_on(f"model.{key}={name}: its tokenizer cannot be loaded"):
        tokenizer = AutoTokenizer(
            resolve(name), use_fast=True, trust_remote_code=section.get("trust_remote_code", False)
        )
        tokenizer.add_special_tokens({"additional_special_tokens": [section["audio_locator_tag"]]})
    return tokenizer


def prompt_formatter(where: str, name: Any, tokenizer: Any) -> "PromptFormatter":
    """The formatter of a name, checked; see ``check_prompt_format``.

    Args:
        where: The config's key of the name.
        name: One that is registered with NeMo.
        tokenizer: NeMo's wrapper.

    Raises:
        VTBError: If there is no such format, or it cannot be trained.
    """
    from nemo.collections.common.prompts import PromptFormatter

    with blamed_on(f"{where} is {name!r}"):
        formatter = PromptFormatter.resolve(name)(tokenizer)
    check_prompt_format(formatter)
    return formatter


def check_prompt_format(formatter: "PromptFormatter") -> None:
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
