"""Utterances of recognition, translation and question-answering corpora as conversations.

Recognition and translation get an instruction from a prompt pool, another one in each epoch; a question about a clip is
its own instruction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from lhotse.cut import Cut
from nemo.collections.common.data.lhotse.text_adapters import TextTurn

from nemo_vtb.data.audio.audio_stores import AudioFolder, AudioStore
from nemo_vtb.data.audio.headers import TOLERANCE_SECONDS
from nemo_vtb.data.conversations.chat_rows import Draw, RowContext, row_name, with_languages
from nemo_vtb.data.conversations.kinds import ALIGN, CONTINUE
from nemo_vtb.data.conversations.prompt_pool import PromptPool, pick
from nemo_vtb.data.conversations.target_text import without_punctuation
from nemo_vtb.data.conversations.turns import WHOLE_SECONDS, Turn, clip
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.row_forms.fields import check_meaning, clip_fields
from nemo_vtb.data.row_forms.languages import base_language, language_tag, named_language
from nemo_vtb.data.row_forms.placeholders import check_said
from nemo_vtb.data.row_forms.plain import PlainRow, has_plain_fields, is_plain_tag
from nemo_vtb.data.row_forms.switches import learns_last_only, may_switch
from nemo_vtb.data.row_forms.tasks import check_task, is_absent, says_otherwise
from nemo_vtb.data.row_forms.values import clean, field, is_empty
from nemo_vtb.data.row_forms.visible import has_text

KINDS = ("asr", "ast", "sqa", CONTINUE, ALIGN)
# Under these names people keep transcripts.
_TEXTS = ("text", "sentence", "transcription", "transcript", "answer", "translation", "normalized_text", "raw_text")

# Kinds that learn what was said, in the same or in another language.
_SPOKEN = ("asr", "ast", ALIGN)
# What is read of every plain row.
_PLAIN = ("id", "custom", "duration", "offset", "sampling_rate", "text")
# Tags of languages that are remembered: corpora have few.
_MOST_LANGUAGES = 4096


@dataclass(frozen=True)
class Utterance:
    """A clip and what its row says about it.

    Attributes:
        name: The sample's id.
        cut: The clip.
        fields: Transcript, answer, languages and the like, under the names of NeMo's manifests.
        custom: Travels with the conversation.
    """

    name: str
    cut: Cut
    fields: Mapping[str, Any]
    custom: Any = None


class UtteranceParser:
    """Parses rows that are one utterance each.

    Args:
        context: What the rows share; its kind says what is asked about the utterances.
        pool: Wordings.
        text_field: Where the answer stands: by default ``text`` for recognition, ``answer`` or ``translation`` for
            translation, ``answer`` for questions, ``answer`` or ``reply`` for what is continued.
        lang_field: Where the language of the audio stands.
        audio_field: Where a manifest names the clip.
    """

    def __init__(
        self,
        context: RowContext,
        pool: PromptPool,
        text_field: str | None = None,
        lang_field: str | None = None,
        audio_field: str = "audio_filepath",
    ) -> None:
        self._context, self._pool, self._audio_field = context, pool, audio_field
        fields = {"asr": ("text",), "ast": ("answer", "translation"), "sqa": ("answer",), ALIGN: ("text",)}
        fields[CONTINUE] = ("answer", "reply")
        self._answer_fields = (text_field,) if text_field else fields.get(context.kind, ())
        self._language_fields = ("source_lang", lang_field or "lang")
        # A tag hides what rows say of the same language, which is then reported as read by nobody.
        languages = [names for names in (self._language_fields, ("target_lang",))
                     if not any(language_tag(context.tags.get(name)) for name in names)]  # fmt: skip
        self._plain = frozenset((*_PLAIN, *chain(*languages), *self._answer_fields, audio_field))
        self._opening = context.plain([("user", ""), ("assistant", "")])
        self._known_languages: dict[tuple[Any, ...], tuple[str | None, str | None]] = {}

    def manifest(self, row: dict[str, Any], where: str, store: AudioStore) -> Draw:
        """Parses a NeMo manifest row.

        Raises:
            BadRow: If there is no clip, no answer, or no language where one is needed.
        """
        if is_empty(row.get(self._audio_field)) and (others := clip_fields(row)):
            raise BadRow(
                "missing field", f"'{self._audio_field}' is missing; the clip is under '{others[0]}' (audio_field)"
            )
        cut = clip(row, self._audio_field, store)
        return self.draw_of(Utterance(row_name(row, where), cut, row, row.get("custom")))

    def plain_manifest(self, row: dict[str, Any], where: str, store: AudioStore) -> PlainRow | None:
        """Reads what ``manifest`` reads of a plain row in the first epoch; None where the row is not plain.

        Raises:
            BadRow: As ``manifest``.
        """
        kind, rules = self._context.kind, self._context.rules
        if kind not in ("asr", "ast") or type(store) is not AudioFolder or not has_plain_fields(row, self._plain):
            return None
        if (languages := self._plain_languages(row)) is None:
            return None
        name, claimed = row.get(self._audio_field), row.get("duration")
        if type(name) is not str or (found := store.plain(name)) is None:
            return None
        rate, seconds = found.described.rate, found.described.samples / found.described.rate
        if claimed is not None and (type(claimed) not in (int, float) or claimed * rate < 1):
            return None
        if type(row.get("id")) is float or row.get("sampling_rate", rate) != rate or row.get("offset", 0) != 0:
            return None
        if not seconds - WHOLE_SECONDS <= (seconds if claimed is None else claimed) <= seconds + TOLERANCE_SECONDS:
            return None
        if not rules.min_seconds <= seconds <= rules.max_seconds:
            return None
        answer = self._answer(row)
        source, target = languages
        said = answer if answer.isascii() else without_punctuation(answer)
        if self._opening is None or (kind == "ast" and target is None) or says_otherwise(kind, row, source) is not None:
            return None
        if not has_text(said) or not any(map(str.isalnum, said)):
            return None
        wording = pick(self._pool.fitting(kind, answer, source, target), kind, row_name(row, where), 0)
        written = wording.answer(answer, source if kind == "asr" else target)
        turns = [*self._opening[:-2], ("user", wording.say), ("assistant", written)]
        return PlainRow(turns, rules.audio_tag, seconds, ((name, found),))

    def joined(self, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Returns the fields of what was said in one clip, part after part: words of an answer follow each other.

        Languages that differ are none, as of the parts themselves; nobody reads the other fields that differ.

        Raises:
            BadRow: If one that is read differs: a question, an answer to one, the language of a translation.
        """
        fields: dict[str, Any] = {}
        words = self._answer_fields if self._context.kind in _SPOKEN else ()
        read = ("question", "context", "target_lang", *self._answer_fields)
        for name in dict.fromkeys(chain(*parts)):
            present = [part[name] for part in parts if name in part]
            values = [value for value in present if not is_empty(value)] or present
            differ = any(value != values[0] for value in (present if may_switch(name) else values))
            if name in words and all(isinstance(value, str) for value in values):
                fields[name] = " ".join(map(str.strip, values))
            elif differ and (name in read or may_switch(name)):
                raise BadRow("several utterances", f"the supervisions of the cut differ in '{name}': which of them?")
            elif not (differ and name in self._language_fields):
                fields[name] = values[-1]
        return fields

    def draw_of(self, utterance: Utterance) -> Draw:
        """Makes a conversation of an utterance.

        Raises:
            BadRow: As ``manifest``.
        """
        kind, fields = self._context.kind, utterance.fields
        check_meaning(fields)
        learns_last_only(fields)
        answer = self._answer(fields)
        if kind in ("asr", ALIGN):
            transcript: str | None = answer or None
        else:  # a translation under `text` is not what was said
            transcript = None if "text" in self._answer_fields else self._text(fields, "text")
        turn = self._context.rules.turn(utterance.cut, "user", transcript)
        tags = self._context.tags
        source, target = self._language(fields, *self._language_fields), self._language(fields, "target_lang")
        if kind in _SPOKEN:
            check_task(kind, fields, self._answer_fields, source)
        utterance = replace(utterance, custom=with_languages(utterance.custom, source, target))
        if kind == ALIGN:
            heard = self._context.conversation(utterance.name, [turn], utterance.custom)
            return lambda epoch: heard
        if kind == CONTINUE:
            return self._draw(utterance, [turn], answer)
        if kind == "sqa":
            question = self._asked(fields, "question")
            if question is None:
                raise BadRow("missing field", "the row has no question")
            return self._draw(utterance, [turn, TextTurn(value=question, role="user")], answer)
        if kind == "ast" and target is None:
            raise BadRow("missing language", "translation needs target_lang, in the row or under tags")
        own = None if "context" in tags else self._asked(fields, "context")
        if own is not None or "context" in tags:
            opening: list[Turn] = [TextTurn(value=own, role="user")] if own is not None else []
            return self._draw(utterance, [*opening, turn], answer)
        wordings = self._pool.fitting(kind, answer, source, target)

        def draw(epoch: int) -> Any:
            wording = pick(wordings, kind, utterance.name, epoch)
            turns: list[Turn] = [TextTurn(value=wording.say, role="user"), turn]
            return self._draw(utterance, turns, wording.answer(answer, source if kind == "asr" else target))(epoch)

        return draw

    def _draw(self, utterance: Utterance, turns: list[Turn], answer: str) -> Draw:
        turns = [*turns, TextTurn(value=answer, role="assistant")]
        conversation = self._context.conversation(utterance.name, turns, utterance.custom)
        return lambda epoch: conversation

    def _answer(self, fields: Mapping[str, Any]) -> str:
        found = [name for name in self._answer_fields if not is_absent(fields, name)]
        if not found:
            texts = [key for key, value in fields.items() if key in _TEXTS and isinstance(value, str)]
            raise BadRow(
                "nothing supervised",
                f"the row has no {' or '.join(self._answer_fields)} (text_field names another field)"
                + (f"; it has {', '.join(texts)}" if texts else ""),
            )
        answers = {name: field(fields, name, str) for name in found}
        if len(found) > 1 and len({answer.strip() for answer in answers.values() if has_text(answer)}) > 1:
            raise BadRow(
                "contradiction", f"{' and '.join(map(repr, answers))} differ: text_field names the one to learn"
            )
        named = next((name for name, answer in answers.items() if has_text(answer)), found[0])
        if not has_text(answers[named]) and (not self._context.keep_empty or self._context.kind == ALIGN):
            raise BadRow("nothing supervised", f"'{named}' is empty (keep_empty: true keeps such rows)")
        # Nobody speaks the white space that a line of a table ended with; a reply may begin or end with some.
        return answers[named].strip() if self._context.kind in _SPOKEN else answers[named]

    def _language(self, fields: Mapping[str, Any], *names: str) -> str | None:
        for holder in (self._context.tags, fields):
            # All are read, whichever is taken.
            found = {name: tag for name in names if (tag := named_language(name, holder.get(name))) is not None}
            if len(found) > 1:
                _check_agree(found, language_tag(holder.get("target_lang")))
            if found:
                return next(iter(found.values()))
        return None

    def _plain_languages(self, row: Mapping[str, Any]) -> tuple[str | None, str | None] | None:
        """The languages of the audio and of the answer; None where a field is more than a tag, or fields disagree."""
        fields = (*self._language_fields, "target_lang")
        values = tuple(map(row.get, fields))
        if (known := self._known_languages.get(values)) is None:
            if not all(map(is_plain_tag, values)):
                return None
            try:
                known = self._language(row, *self._language_fields), self._language(row, "target_lang")
            except BadRow:  # of what else is wrong with the row, something may be said first
                return None
            if len(self._known_languages) < _MOST_LANGUAGES:
                self._known_languages[values] = known
        return known

    def _asked(self, fields: Mapping[str, Any], name: str) -> str | None:
        text = self._text(fields, name)
        instead = f"the clip of the row is heard beside '{name}'"
        return text if text is None else check_said(text, False, instead)

    @staticmethod
    def _text(fields: Mapping[str, Any], *names: str) -> str | None:
        found = next((fields[name] for name in names if isinstance(fields.get(name), str)), None)
        return clean(found) if found is not None and found.strip() else None


def _check_agree(found: Mapping[str, str], target: str | None) -> None:
    """Refuses two languages of one clip; in NeMo's manifests ``lang`` may be that of the translation."""
    (first, taken), (second, other) = list(found.items())[:2]
    if base_language(other) not in (base_language(taken), base_language(target or taken)):
        raise BadRow("contradiction", f"'{first}' is {taken[:40]!r} and '{second}' is {other[:40]!r}: which of them?")
