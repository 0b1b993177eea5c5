"""Text conversations from the files of an ``input_cfg`` entry, and which of them are taken."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from nemo_vtb.data.row_forms.languages import base_language
from nemo_vtb.synthesis.jobs.shard import Item
from nemo_vtb.synthesis.spoken_turns.options import ChatFilters

# What a category, and a language, may be called; Magpie's and NeMo's sets differ.
_CATEGORY_KEYS, _LANGUAGE_KEYS = ("category", "task_category"), ("lang", "language")


@dataclass(frozen=True)
class Chat:
    """A text conversation.

    Attributes:
        id: Unique over the job.
        turns: ``(role, text)`` with the roles user, assistant and system.
        category: As the source names it, or an empty string.
        language: ISO 639-1.
        sha256: Of the turns.
        split: As the source calls the part that it belongs to, or an empty string.
    """

    id: str
    turns: tuple[tuple[str, str], ...]
    category: str
    language: str
    sha256: str
    split: str

    @classmethod
    def of(cls, item: Item, language: str) -> "Chat":
        """The conversation of an item; ``language`` stands where its row names none."""
        row = item.row
        turns = tuple((role, text) for role, text in row["turns"])
        return cls(item.id, turns, row["category"], row["language"] or language, row["sha256"], row["split"])


def chat_items(source: Mapping[str, Any]) -> Iterator[Item]:
    """Reads the conversations of a source.

    Args:
        source: An ``input_cfg`` entry of type multimodal_conversation, share_gpt or nemo_sft_jsonl.

    Yields:
        Items whose row holds ``turns``, ``category``, ``language``, ``split`` and ``sha256``, or ``bad`` and ``detail``
        where the row is no conversation, or ``audio`` where it has audio already.

    Raises:
        VTBError: On an unknown key or type, or a file that is not there.
    """
    from nemo_vtb.data.files.rows import BadRow, parse_line
    from nemo_vtb.data.sources.disk import open_rows
    from nemo_vtb.data.sources.source import Reading, named_files

    entry = {key: value for key, value in source.items() if value is not None}
    _, files = named_files(entry, "text", Reading("<|audio|>", 0.08))
    for file in files:
        with open_rows(file.path) as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                where = f"{file.path}:{number}"
                try:
                    row = parse_line(line)
                    draw = file.parse(row, where)
                    if draw is None:
                        continue
                    conversation = draw(0)
                except BadRow as error:
                    # Its id may be what is wrong with it.
                    yield Item(f"{file.path.name}:{number}", {"bad": error.reason, "detail": str(error)}, where)
                    continue
                if conversation.has_audio_turns:
                    yield Item(conversation.id, {"audio": True}, where)
                    continue
                turns = [[turn.role, turn.value] for turn in conversation.turns]
                about = {**row, **(conversation.custom or {})}
                facts = {
                    "turns": turns,
                    "category": _named(about, _CATEGORY_KEYS),
                    "language": base_language(_named(about, _LANGUAGE_KEYS)),
                    "split": _named(about, ("split",)),
                    "sha256": sha256(json.dumps(turns, ensure_ascii=False).encode()).hexdigest(),
                }
                yield Item(conversation.id, facts, where)


class ChatFilter:
    """The paper's filters: language, category and lengths.

    Args:
        filters: Their settings.
        languages: That can be spoken.

    Raises:
        VTBError: If the tokenizer cannot be had.
    """

    def __init__(self, filters: ChatFilters, languages: frozenset[str]) -> None:
        self._filters, self._languages = filters, languages
        self._categories = {name.lower() for name in filters.categories} if filters.categories is not None else None
        self._count: Callable[[str], int] = lambda text: len(text.split())
        if filters.tokenizer:
            from transformers import AutoTokenizer

            from nemo_vtb.assets import resolve

            tokenizer = AutoTokenizer.from_pretrained(resolve(filters.tokenizer))
            self._count = lambda text: len(tokenizer(text, add_special_tokens=False).input_ids)

    def fault(self, chat: Chat) -> tuple[str, str] | None:
        """Returns why a conversation is left out and a detail, or None."""
        from nemo_vtb.synthesis.language import is_other_language

        if chat.language not in self._languages:
            return "language", chat.language
        if self._categories is not None and chat.category and chat.category.lower() not in self._categories:
            return "category", chat.category
        limits = {"user": self._filters.instruction_tokens, "assistant": self._filters.response_tokens}
        for role, text in chat.turns:
            if role in limits and self._count(text) >= limits[role]:
                return ("long instruction" if role == "user" else "long response"), text
        asked = "\n".join(text for role, text in chat.turns if role == "user")
        if is_other_language(asked, chat.language):
            return "language", asked
        return None


def _named(about: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return next((about[key] for key in keys if isinstance(about.get(key), str)), "")
