"""A chat template taken apart, so that a conversation can be cut after any header."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nemo_vtb.errors import VTBError


@dataclass(frozen=True)
class ChatFrame:
    """The constant text around the turns of a chat template, without any default system prompt.

    Attributes:
        begin: What opens every conversation (a BOS token), or an empty string.
        system: Text before and after a system prompt, or ``None`` where the template has no system role.
        user_open: Text before a user turn.
        answer_open: Text between a user turn and its answer.
        answer_close: Text behind an answer; its first token ends a turn.
    """

    begin: str
    system: tuple[str, str] | None
    user_open: str
    answer_open: str
    answer_close: str

    @classmethod
    def from_tokenizer(cls, tokenizer) -> "ChatFrame":
        """Finds the frame by rendering marked turns with the tokenizer's own template.

        Raises:
            VTBError: The tokenizer has no chat template, or the template does not render every turn alike.
        """
        from jinja2 import TemplateError

        if not tokenizer.chat_template:
            raise VTBError("the tokenizer has no chat template; self-prompting needs an instruct LLM")
        roles = ("user", "assistant", "user", "assistant")
        turns = [{"role": role, "content": f"@@{i}@@"} for i, role in enumerate(roles)]
        plain = tokenizer.apply_chat_template(turns, tokenize=False)
        cut = re.split(r"@@\d@@", plain)
        query = tokenizer.apply_chat_template(turns[:3], tokenize=False, add_generation_prompt=True)
        answer_open = query.split("@@2@@")[-1]
        if len(cut) != 5 or not cut[4] or not cut[2].startswith(cut[4]) or {cut[1], cut[3]} != {answer_open}:
            raise VTBError("the chat template does not render every turn alike, so it cannot be cut after a header")
        user_open = cut[2].removeprefix(cut[4])
        bos = tokenizer.bos_token or ""
        begin = bos if bos and plain.startswith(bos) and not user_open.startswith(bos) else ""
        try:
            system_turn = {"role": "system", "content": "@@system@@"}
            marked = tokenizer.apply_chat_template([system_turn, *turns], tokenize=False).split("@@0@@")[0]
            before, after = marked.split("@@system@@")
            system = (before.removeprefix(begin), after.removesuffix(user_open))
        except (TemplateError, ValueError):
            system = None
        return cls(begin, system, user_open, answer_open, cut[4])

    def render(self, history: Sequence[tuple[str, str]], system: str = "") -> str:
        """Returns finished exchanges, (user, answer) pairs, as the LLM reads them.

        ``system`` is left out where the template has no system role.
        """
        prompt = self.system[0] + system + self.system[1] if system and self.system else ""
        exchanges = (self.user_open + user + self.answer_open + answer + self.answer_close for user, answer in history)
        return self.begin + prompt + "".join(exchanges)

    def user_query(self, history: Sequence[tuple[str, str]], system: str = "") -> str:
        """Returns the text behind which an LLM writes the next user turn."""
        return self.render(history, system) + self.user_open

    def answer_query(self, history: Sequence[tuple[str, str]], user: str) -> str:
        """Returns the text behind which an LLM answers ``user``; it holds no system prompt."""
        return self.render(history) + self.user_open + user + self.answer_open
