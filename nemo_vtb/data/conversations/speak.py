"""Turns sentences of a text conversation into speech, on the fly: the fourth kind of data of the paper.

The paper's rule (``parts/spoken_spans.py``) is the default, limited to runs of sentences that one voice of the bank
has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from pathlib import Path
from random import Random
from typing import Any

from lhotse.cut import Cut
from nemo.collections.common.data.lhotse import NeMoMultimodalConversation
from nemo.collections.common.data.lhotse.text_adapters import AudioTurn, TextTurn

from nemo_vtb.config import check_keys
from nemo_vtb.data.conversations.chat_rows import Draw
from nemo_vtb.data.conversations.prompt_pool import stable_hash
from nemo_vtb.data.conversations.speech_bank import SpeechBank, SpokenSentence
from nemo_vtb.data.conversations.turns import ClipRules, Turn
from nemo_vtb.data.files.locations import expand, locate, locate_folder
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.errors import VTBError
from nemo_vtb.options import Key
from nemo_vtb.parts.spoken_spans import SpeakRule, pieces, sentences

KEYS = {
    "bank": Key("a path or a list of paths", "JSONL of recorded sentences: text, audio_filepath, duration, voice."),
    "from": Key("str or null", "Another kind, whose chats are spoken as well.", None),
    "spans": Key("sentence", "What is spoken: runs of whole sentences.", "sentence"),
    "variants": Key("int of at least 1", "Versions of a conversation.", 2),
    "max_spans": Key("int of at least 1", "Runs of sentences spoken in a turn.", 1),
    "max_turns": Key("int of at least 1", "User turns of a conversation with something spoken.", 1),
    "audio_root": Key("a path or null", "Folder that the bank's relative paths begin from.", None),
}


@dataclass(frozen=True)
class _Span:
    """A run of sentences and who speaks them."""

    start: int
    end: int
    recordings: list[SpokenSentence]


class Speaker:
    """Speaks conversations with the recordings of a bank.

    Args:
        bank: The recordings.
        rules: What a clip must be like.
        rule: What is spoken.
        language: For the ends of sentences.
    """

    def __init__(self, bank: SpeechBank, rules: ClipRules, rule: SpeakRule, language: str = "en") -> None:
        self._bank, self._rules, self._rule, self._language = bank, rules, rule, language

    def speak(self, conversation: NeMoMultimodalConversation, variant: int) -> NeMoMultimodalConversation | None:
        """Makes one variant of a conversation.

        Args:
            conversation: One with audio already is its own only variant.
            variant: From 0; always the same one for the same number.

        Returns:
            The conversation with ``custom.written``: for each turn with speech its index among the user's turns, the
            ``text`` as it was written and the texts ``spoken``. None where it has no such variant.

        Raises:
            BadRow: If the bank has none of its sentences.
        """
        if conversation.has_audio_turns:
            return conversation if variant == 0 else None
        asked = [number for number, turn in enumerate(conversation.turns) if turn.role == "user"]
        split = {number: sentences(conversation.turns[number].value, self._language) for number in asked}
        if variant >= self._rule.variants_of(sum(map(len, split.values()))):
            return None
        random = Random(stable_hash("speak", conversation.id, variant))
        chosen, wanted = self._rule.draw_turns(asked, random)
        spoken: dict[int, list[_Span]] = {}
        for number in chosen:
            if len(spoken) < wanted and (spans := self._spans(conversation.turns[number].value, split[number], random)):
                spoken[number] = spans
        if not spoken:
            raise BadRow("not in speech bank", "none of the user's sentences is in the speech bank")
        turns: list[Turn] = []
        written = []
        for number, turn in enumerate(conversation.turns):
            if number not in spoken:
                turns.append(turn)
                continue
            parts = list(self._parts(turn.value, split[number], spoken[number]))
            turns += parts
            heard = [part.text for part in parts if isinstance(part, AudioTurn)]
            written.append({"turn": asked.index(number), "text": turn.value, "spoken": heard})
        return NeMoMultimodalConversation(
            id=f"{conversation.id}/spoken{variant}",
            turns=turns,
            token_equivalent_duration=conversation.token_equivalent_duration,
            custom={**(conversation.custom or {}), "written": written},
        )

    def _spans(self, text: str, split: list[tuple[int, int]], random: Random) -> list[_Span]:
        found = [self._by_voice(text[start:end]) for start, end in split]
        ends = [self._ends(found, start) for start in range(len(split))]
        spans: list[_Span] = []
        for start, end in self._rule.draw_runs(len(split), ends.__getitem__, random):
            voice = random.choice(sorted(ends[start][end]))
            spans.append(_Span(start, end, [random.choice(found[n][voice]) for n in range(start, end)]))
        return spans

    def _by_voice(self, sentence: str) -> dict[int, list[SpokenSentence]]:
        by_voice: dict[int, list[SpokenSentence]] = {}
        for recording in self._bank.find(sentence):
            if recording.seconds <= self._rules.max_seconds:
                by_voice.setdefault(recording.voice, []).append(recording)
        return by_voice

    def _ends(self, found: list[dict[int, list[SpokenSentence]]], start: int) -> dict[int, set[int]]:
        """Where a run that begins at ``start`` may end, and the voices that have all of it and not too much."""
        ends: dict[int, set[int]] = {}
        lengths = dict.fromkeys(found[start], 0.0)
        for number in range(start, len(found)):
            lengths = {
                voice: length + max(recording.seconds for recording in found[number][voice])
                for voice, length in lengths.items()
                if voice in found[number]
            }
            lengths = {voice: length for voice, length in lengths.items() if length <= self._rules.max_seconds}
            if not lengths:
                break
            ends[number + 1] = set(lengths)
        return ends

    def _parts(self, text: str, split: list[tuple[int, int]], spans: list[_Span]) -> "list[Turn]":
        parts: list[Turn] = []
        for piece, run in pieces(text, split, [(span.start, span.end) for span in spans]):
            if run is None:
                parts.append(TextTurn(value=piece, role="user"))
            else:
                parts.append(self._rules.turn(self._joined(spans[run].recordings), "user", piece))
        return parts

    def _joined(self, recordings: list[SpokenSentence]) -> Cut:
        cuts = [self._bank.cut(recording) for recording in recordings]
        rate = max(cut.sampling_rate for cut in cuts)
        joined = reduce(lambda first, second: first.append(second), [cut.resample(rate) for cut in cuts])
        return joined.with_id("|".join(cut.id for cut in cuts))


@dataclass(frozen=True)
class SpokenParse:
    """Parses a row and speaks one variant of its conversation.

    Attributes:
        parse: What makes a conversation of a row.
        speaker: Speaks it.
        variant: Which variant.
    """

    parse: Callable[[dict[str, Any], str], Draw | None]
    speaker: Speaker
    variant: int

    def __call__(self, row: dict[str, Any], where: str) -> Draw | None:
        """See ``formats.ParseRow``."""
        draw = self.parse(row, where)
        spoken = self.speaker.speak(draw(0), self.variant) if draw is not None else None
        return None if spoken is None else lambda epoch: spoken


def bank_paths(settings: Mapping[str, Any]) -> list[Path]:
    """Returns the files of ``speak.bank``.

    Raises:
        VTBError: If none is named.
    """
    if settings.get("bank") in (None, "", "???"):
        raise VTBError("speak needs a bank (speak.bank): a JSONL of text, audio_filepath, duration and voice")
    return [locate(path) for path in expand(settings["bank"])]


def speaker(settings: Mapping[str, Any], rules: ClipRules, language: str) -> tuple[Speaker, int]:
    """Makes a Speaker from a ``speak`` section and says how many variants it makes at most.

    Raises:
        VTBError: On an unknown key or value, or a bank that cannot be read.
    """
    check_keys(settings, KEYS, "speak")
    if settings.get("spans", "sentence") != "sentence":
        raise VTBError(f"speak.spans is '{settings['spans']}'; runs of whole sentences can be spoken: sentence")
    rule = SpeakRule(*(_positive(settings, key, default) for key, default in (("variants", 2), *_LIMITS)))
    root = locate_folder(settings["audio_root"], "speak.audio_root") if settings.get("audio_root") else None
    bank = _bank(tuple(bank_paths(settings)), root)
    return Speaker(bank, rules, rule, language), rule.variants


_LIMITS = (("max_spans", 1), ("max_turns", 1))
_bank = lru_cache(maxsize=8)(SpeechBank)


def _positive(settings: Mapping[str, Any], key: str, default: int) -> int:
    value = settings.get(key, default)
    if type(value) is not int or value < 1:
        raise VTBError(f"speak.{key} must be a whole number above 0, not {value!r}")
    return value
