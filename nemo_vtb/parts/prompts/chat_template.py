"""The chat template that a tokenizer carries, as the way conversations are written and learnt.

What is written is ``apply_chat_template`` token for token. Which of it is learnt follows from a second rendering in
which every answer is a mark: what stands between the marks is the template's own, what stands in their place is the
answer.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.prompts.control_tokens import BREAK
from nemo_vtb.parts.prompts.encoded import EncodedConversation

Turns = Sequence[tuple[str, str]]
# Names under which templates ask whether to think.
_SWITCHES = ("enable_thinking", "thinking")
_OPENS, _CLOSES = "<think>", "</think>"
# Stand for answers in a rendering: a letter of nobody's script.
_MARK = "\ue000"
_PROBE = [("user", "\ue001"), ("assistant", f"{_MARK}0{_MARK}"), ("user", "\ue002"), ("assistant", f"{_MARK}1{_MARK}")]


@dataclass(frozen=True)
class _Ending:
    """What the template writes behind an answer, up to where generation stops; ``ids`` of its special tokens."""

    text: str
    ids: tuple[int, ...]


class ChatTemplate:
    """A Hugging Face tokenizer's own chat template.

    Args:
        tokenizer: The Hugging Face tokenizer, a fast one.

    Attributes:
        forgets_system: Whether the template leaves a system turn out as soon as the last turn is an answer, so that
            it is heard when the LLM is asked and in training it is not (Mistral 7B v0.3).

    Raises:
        VTBError: If it has no template, or one in which answers cannot be told from the rest.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._hf = tokenizer
        self.name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
        if not getattr(tokenizer, "chat_template", None):
            self._refuse("has no chat template: it belongs to an LLM that was not tuned to chat; name a format")
        if _template_of(tokenizer) is None:
            self._refuse("has several chat templates and none by the name of default; name a format")
        if not getattr(tokenizer, "is_fast", False):
            self._refuse("is no fast tokenizer, which says where in a text each token stands; name a format")
        self._special = {text: index for text, index in self._single_tokens().items() if text.strip()}
        self._parts = self._folds = False
        self._choose_content()
        asked, answered = self._writes_system(_PROBE[:1]), self._writes_system(_PROBE)
        self._folds = not asked and not answered
        self.forgets_system = asked and not answered
        _, middle, last = self._pieces(_PROBE, self.text(_PROBE))
        self._between, self._last = self._endings(middle, last)
        opened = self.text(_PROBE[:1], True).removeprefix(self.text(_PROBE[:1]))
        self._prompt = opened.lstrip("\n")

    @property
    def source(self) -> str:
        """The template itself."""
        return self._hf.get_chat_template()

    @property
    def in_parts(self) -> bool:
        """Whether it takes a message's content as a list of parts alone."""
        return self._parts

    @property
    def folds(self) -> bool:
        """Whether it has no system role, so that such a turn goes into the first user turn."""
        return self._folds

    @property
    def end_of_turn_id(self) -> int:
        """The id that ends an answer: what generation stops at."""
        return self._last.ids[-1]

    def text(self, turns: Turns, for_generation: bool = False, thinking: bool | None = None) -> str:
        """Writes ``(role, message)`` turns as text.

        Args:
            turns: Roles ``system``, ``user`` and ``assistant``; a system turn goes into the first user turn where the
                template has no such role.
            for_generation: Ends with the header of the next answer.
            thinking: Whether to think, where that is not what the tokenizer's template does by itself.

        Raises:
            VTBError: If the template refuses the turns.
        """
        if self._folds and turns and turns[0][0] == "system":
            turns = self._folded(turns)
        chat = [{"role": role, "content": self._content(message)} for role, message in turns]
        options = {} if thinking is None else dict.fromkeys(_SWITCHES, thinking)
        try:
            return self._hf.apply_chat_template(chat, tokenize=False, add_generation_prompt=for_generation, **options)
        except Exception as error:  # templates raise what they like
            roles = ", ".join(role for role, _ in turns)
            raise VTBError(f"the chat template of {self.name} refuses turns of {roles}: {error}") from error

    def encode(
        self,
        turns: Turns,
        for_generation: bool = False,
        context: Collection[int] = (),
        thinking: bool | None = None,
    ) -> EncodedConversation:
        """Token ids of ``text`` and which of them are learnt: every answer from its first word to its end of turn.

        What a template puts in front of an answer, an empty block of thoughts included, is not learnt; thoughts are
        where they stand in the data. Control tokens that were broken in somebody's words stay text.

        Args:
            turns: See ``text``.
            for_generation: See ``text``.
            context: Numbers of the turns that are answers and carry no loss.
            thinking: See ``text``.

        Raises:
            VTBError: If the template refuses the turns, or changes an answer beyond recognition.
        """
        text = self.text(turns, for_generation, thinking)
        try:
            spans = self._spans(turns, text, for_generation, thinking)
        except VTBError:
            # The clock of a template that writes one may have moved on between the two renderings.
            text = self.text(turns, for_generation, thinking)
            spans = self._spans(turns, text, for_generation, thinking)
        ids, offsets = self._tokens(text)
        mask: np.ndarray = np.zeros(len(ids), dtype=bool)
        answers = [index for index, (role, _) in enumerate(turns) if role == "assistant"]
        if answers:
            starts, ends = _covered(offsets)
            closed = turns[-1][0] == "assistant" and not for_generation
            for number, (start, end) in zip(answers, spans, strict=True):
                if number not in context:
                    mask |= (ends > start) & (starts < end)
            if closed and not self._last.text:
                ids = np.append(ids, self._last.ids[-1])
                mask = np.append(mask, answers[-1] not in context)
        return EncodedConversation(ids, mask)

    def _spans(self, turns: Turns, text: str, for_generation: bool, thinking: bool | None) -> list[tuple[int, int]]:
        """Where in a text each answer with its end of turn stands."""
        if all(role != "assistant" for role, _ in turns):
            return []
        if any(_MARK in message for _, message in turns):
            self._refuse(f"cannot write a conversation that holds the letter {_MARK!r}")
        answers = [message for role, message in turns if role == "assistant"]
        marked: list[tuple[str, str]] = []
        for role, message in turns:
            place = sum(earlier == "assistant" for earlier, _ in marked)
            marked.append((role, f"{_MARK}{place}{_MARK}" if role == "assistant" else message))
        pieces = self._pieces(marked, self.text(marked, for_generation, thinking))
        closed = turns[-1][0] == "assistant" and not for_generation
        spans, at = [], 0
        for number, answer in enumerate(answers):
            start = self._behind_header(text, at, pieces[number], number)
            follows = pieces[number + 1]
            end = self._behind_answer(text, start, answer, follows, number)
            ending = (self._last if closed and number + 1 == len(answers) else self._between).text
            if not follows.startswith(ending):
                self._refuse(f"ends answer {number + 1} in another way than others")
            spans.append((start, end + len(ending)))
            at = end
        return spans

    def _behind_header(self, text: str, at: int, piece: str, number: int) -> int:
        """Where an answer begins, ``piece`` being what stood in front of its mark."""
        if text.startswith(piece, at):
            return at + len(piece)
        # The data has thoughts where the rendering with marks has an empty block, or none.
        bare = piece.rstrip()
        if bare.endswith(_CLOSES):
            bare = bare.removesuffix(_CLOSES).rstrip().removesuffix(_OPENS)
        if not text.startswith(bare, at):
            self._refuse(f"writes other words around answer {number + 1} than around any other answer")
        begins = at + len(bare)
        asked = self._prompt[self._prompt.rfind(_OPENS) :] if _OPENS in self._prompt else ""
        return begins + len(asked) if asked and text.startswith(asked, begins) else begins

    def _behind_answer(self, text: str, start: int, answer: str, follows: str, number: int) -> int:
        spoken = answer.rpartition(_CLOSES)[2] if _CLOSES in answer else answer
        for said in dict.fromkeys(form for words in (answer, spoken) for form in _trimmed(words)):
            if text.startswith(said + follows, start) and (follows or len(text) == start + len(said)):
                return start + len(said)
        # Rewritten by the template, thoughts for instance: up to the next piece that is the template's own.
        end = text.find(follows, start) if follows else len(text)
        if end < 0:
            self._refuse(f"changes answer {number + 1} ({answer[:40]!r}) beyond recognition")
        return end

    def _pieces(self, turns: Turns, text: str) -> list[str]:
        """What stands before, between and behind the marks."""
        pieces = []
        for number in range(sum(role == "assistant" for role, _ in turns)):
            before, mark, text = text.partition(f"{_MARK}{number}{_MARK}")
            if not mark:
                self._refuse(f"does not write answer {number + 1} of a conversation")
            pieces.append(before)
        if _MARK in text:
            self._refuse("writes an answer twice")
        return [*pieces, text]

    def _endings(self, middle: str, last: str) -> tuple[_Ending, _Ending]:
        shared = self._up_to_special(_shared(middle, last), whole=True)
        if shared is not None:
            return shared, shared
        between, end = self._up_to_special(middle), self._up_to_special(last)
        if between is None:
            return self._refuse("ends answers with nothing at which generation could stop; name a format")
        # The last answer is left open (GLM): its end is learnt all the same.
        return between, end or _Ending("", between.ids)

    def _up_to_special(self, text: str, whole: bool = False) -> _Ending | None:
        """The text up to its first special token that follows an answer at once, or to the last one of a run."""
        ids: list[int] = []
        at = 0
        while True:
            skipped = len(text) - len(text[at:].lstrip())
            token = max((t for t in self._special if text.startswith(t, skipped)), key=len, default=None)
            if token is None:
                return _Ending(text[:at], tuple(ids)) if ids else None
            ids.append(self._special[token])
            at = skipped + len(token)
            if not whole:
                return _Ending(text[:at], tuple(ids))

    def _single_tokens(self) -> dict[str, int]:
        named = dict(zip(self._hf.all_special_tokens, self._hf.all_special_ids, strict=False))
        return {**self._hf.get_added_vocab(), **named}

    def _choose_content(self) -> None:
        """Whether messages are texts or lists of parts."""
        failed: VTBError | None = None
        for self._parts in (False, True):
            try:
                text = self.text(_PROBE)
            except VTBError as error:
                failed = failed or error
                continue
            if all(message in text for _, message in _PROBE):
                return
            failed = failed or VTBError(f"the chat template of {self.name} leaves out what is said")
        raise failed  # type: ignore[misc]

    def _content(self, message: str) -> Any:
        return [{"type": "text", "text": message}] if self._parts else message

    def _writes_system(self, turns: Turns) -> bool:
        try:
            return "\ue003" in self.text([("system", "\ue003"), *turns], turns[-1][0] == "user")
        except VTBError:
            return False

    def _folded(self, turns: Turns) -> Turns:
        if len(turns) < 2 or turns[1][0] != "user":
            raise VTBError("a system turn must be followed by a user turn")
        return [("user", f"{turns[0][1]}\n\n{turns[1][1]}"), *turns[2:]]

    def _tokens(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Ids ``(tokens,)`` and the characters each stands for ``(tokens, 2)``."""
        if BREAK in text:
            pieces = text.split(BREAK)
            begin = np.cumsum([0, *(len(piece) + 1 for piece in pieces[:-1])])
            parts = [self._tokens(piece) for piece in pieces]
            ids = np.concatenate([part for part, _ in parts])
            return ids, np.concatenate([offsets + at for (_, offsets), at in zip(parts, begin, strict=True)])
        backend = self._hf.backend_tokenizer
        plain = backend.truncation is None and backend.padding is None
        if plain and not getattr(self._hf, "split_special_tokens", False):
            encoding = backend.encode(text, add_special_tokens=False)
            ids, offsets = encoding.ids, encoding.offsets
        else:
            encoding = self._hf(text, add_special_tokens=False, return_offsets_mapping=True)
            ids, offsets = encoding["input_ids"], encoding["offset_mapping"]
        return np.asarray(ids, dtype=np.int64), np.asarray(offsets, dtype=np.int64).reshape(-1, 2)

    def _refuse(self, what: str) -> Any:
        raise VTBError(f"model.prompt_format=auto: the tokenizer {self.name} {what}")


def with_thinking(tokenizer: Any, mode: str | None) -> None:
    """Makes a tokenizer's template think or not think by itself, for everybody who renders it.

    Args:
        tokenizer: A Hugging Face tokenizer; its template is changed in place.
        mode: ``off``, ``on``, or ``auto``: off where the template has a switch.

    Raises:
        VTBError: If the template cannot do what is asked.
    """
    template = _template_of(tokenizer)
    if template is None:
        return
    asked = [{"role": "user", "content": "\ue001"}]

    def prompt(**options: bool) -> str:
        try:
            return tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True, **options)
        except Exception:  # it may want its messages in parts
            return ""

    default, on, off = prompt(), *(prompt(**dict.fromkeys(_SWITCHES, value)) for value in (True, False))
    names = [name for name in _SWITCHES if name in template]
    if on == off:
        opens = default.rstrip().endswith(_OPENS)
        if (mode == "on" and not opens) or (mode == "off" and opens):
            raise VTBError(
                f"model.thinking={mode}: the chat template of {getattr(tokenizer, 'name_or_path', '')} has no switch "
                f"for it and {'always' if opens else 'never'} opens a block of thoughts; leave the key at auto"
            )
        return
    value = "true" if mode == "on" else "false"
    lines = [f"{{%- if {name} is not defined %}}{{%- set {name} = {value} %}}{{%- endif +%}}" for name in names]
    tokenizer.chat_template = "".join(lines) + template


def _template_of(tokenizer: Any) -> str | None:
    """A tokenizer's template; None where it has none, or several and none of them is the one to take."""
    if not getattr(tokenizer, "chat_template", None):
        return None
    try:
        return tokenizer.get_chat_template()
    except ValueError:
        return None


def _covered(offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of tokens in which white space that a tokenizer trims from them belongs to somebody."""
    ends = np.maximum.accumulate(offsets[:, 1])
    return np.concatenate([[0], ends[:-1]]), ends


def _shared(one: str, other: str) -> str:
    """What two texts begin with alike."""
    differ = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    return one[:differ] if differ is not None else min(one, other, key=len)


def _trimmed(words: str) -> tuple[str, ...]:
    return words, words.strip(), words.lstrip(), words.rstrip(), words.lstrip("\n"), words.strip("\n")
