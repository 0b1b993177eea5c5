"""Which of NeMo's prompt formats a chat can be trained in, and with which tokenizer."""

from typing import TYPE_CHECKING

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.prompts.turn_mask import answer_ending

if TYPE_CHECKING:
    from nemo.collections.common.prompts import PromptFormatter


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
