"""Conversations to a batch: audio, token ids, loss mask, kinds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lhotse import CutSet
from lhotse.utils import fastcopy
from nemo.collections.common.prompts import PromptFormatter
from nemo.collections.common.tokenizers import AutoTokenizer
from nemo.collections.speechlm2.data.salm_dataset import SALMDataset, left_collate_vectors

from nemo_vtb.data.audio.audio_check import signal
from nemo_vtb.data.audio.augment_audio import Effect, apply_effects, augmented
from nemo_vtb.data.conversations.kinds import kind_of
from nemo_vtb.data.conversations.unscored import is_unscored
from nemo_vtb.data.direct_ids import direct_ids
from nemo_vtb.data.prompts.formats import formatter_of
from nemo_vtb.data.turn_lengths import TurnLengths
from nemo_vtb.data.written_twin import answers_words, unknown_clip, words_of_clips, written_twin
from nemo_vtb.parts.prompts.control_tokens import BREAK, PlainTextTokenizer, broken, control_tokens
from nemo_vtb.parts.prompts.turn_mask import (
    EncodedConversation,
    context_turns,
    encode_turns,
    merged_turns,
    own_template,
)

if TYPE_CHECKING:
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation

SAMPLE_RATE = 16_000
# Stands in no text: where nobody has said what the placeholder is, none can be taken apart.
_NO_TAG = "\0"
# Two tokenizers that agree on this and on the size of their vocabulary give, for all that matters here, equal lengths.
_PROBE = "Grüße! 你好, мир 12345 naïve\n\n<|im_end|><end_of_turn> don't   Ünïcödé 🙂"


@dataclass
class LoadedConversation:
    """A conversation with its audio in memory.

    Attributes:
        conversation: Its clips numbered, so that clips which share an id elsewhere stay apart.
        signals: Mono, 16 kHz, float32, one ``(samples,)`` per clip.
        encoded: Token ids and loss mask.
        written: The same with the words of each clip in its place; None where something is not known, or nothing is
            spoken, or the answer is a transcript or a translation.
    """

    conversation: "NeMoMultimodalConversation"
    signals: list[torch.Tensor]
    encoded: EncodedConversation
    written: EncodedConversation | None = None


class VTBDataset(SALMDataset):
    """SALMDataset whose batches may hold any mix of kinds, and which never repeats or drops one in silence.

    The batch has SALM's keys (``audios``, ``audio_lens``, ``input_ids``, ``loss_mask``, ``conversations``) and:

    * ``audio_ids``: unique name of each clip,
    * ``encoded``: unpadded ids and masks on the host,
    * ``kinds``: kind of each conversation,
    * ``transcripts``: token ids spoken in each clip, None where the data does not say,
    * ``written``: by conversation, what ``encoded`` holds with the words of each clip in its place; see
      ``LoadedConversation``.

    Args:
        tokenizer: The model's tokenizer, the audio placeholder included.
        prompt_format: A NeMo prompt format name. Without one, ids and masks must come with the conversations, as NeMo's
            own loaders attach them; the data module sets it from ``data.train_ds.prompt_format``.
        audio_tag: The audio placeholder, for text that contains it literally; the data module sets it from
            ``data.train_ds.audio_locator_tag``.
    """

    def __init__(
        self, tokenizer: AutoTokenizer, prompt_format: str | None = None, audio_tag: str | None = None
    ) -> None:
        super().__init__(tokenizer)
        self.prompt_format, self.audio_tag = prompt_format, audio_tag
        self._made: tuple[str, PromptFormatter] = ("", None)
        self._counted: TurnLengths | None = None
        self._ids = PlainTextTokenizer(direct_ids(tokenizer))
        self._controls = control_tokens(tokenizer)

    def encode(self, conversation: "NeMoMultimodalConversation") -> EncodedConversation:
        """Token ids and loss mask of one conversation."""
        if self.prompt_format is None:
            return EncodedConversation(np.asarray(conversation.input_ids), np.asarray(conversation.mask))
        own = (turn.audio_locator_tag for turn in conversation.turns if hasattr(turn, "cut"))
        formatter = self._formatter()
        turns = merged_turns(conversation, next(own, self.audio_tag) or _NO_TAG, self._controls)
        encoded = encode_turns(turns, formatter, context=context_turns(conversation))
        if is_unscored(conversation):
            encoded.loss_mask[:] = False
        return encoded

    def lengths(self, turns: list[tuple[str, str]], audio_tag: str | None = None) -> tuple[int, int] | None:
        """Counts what ``encode`` would give of a conversation whose answers are all learnt.

        Args:
            turns: ``(role, text)``, neighbours by different roles.
            audio_tag: The placeholder of a clip, which stands behind the first user's turn; None without one.

        Returns:
            Token ids, and those of them that are learnt; None where some text holds control tokens or placeholders.
        """
        if self.prompt_format is None:
            return None
        formatter = self._formatter()
        tag = audio_tag or self.audio_tag or _NO_TAG
        for _, text in turns:
            if tag in text or BREAK in text or (self._controls is not None and self._controls.search(text)):
                return None
        if audio_tag is not None:
            first = next(number for number, (role, _) in enumerate(turns) if role == "user")
            turns = [*turns[:first], ("user", f"{turns[first][1]} {audio_tag}"), *turns[first + 1 :]]
        if self._counted is not None and (found := self._counted(turns)) is not None:
            return found
        encoded = encode_turns(turns, formatter)
        return len(encoded.input_ids), int(encoded.loss_mask.sum())

    def encoding_key(self) -> str:
        """Names the tokenizer and the prompt format: equal keys, equal lengths."""
        ids = self.tokenizer.text_to_ids(_PROBE)
        own = own_template(self._formatter()) if self.prompt_format is not None else None
        written = "" if own is None else blake2b(own.source.encode(), digest_size=8).hexdigest()
        return f"{self.prompt_format}{written} {self.tokenizer.vocab_size} {ids}"

    def load(self, conversation: "NeMoMultimodalConversation") -> LoadedConversation:
        """Reads the audio of a conversation and encodes its text.

        Raises:
            BadRow: If a clip cannot be read, or is not finite.
        """
        conversation = _with_unique_cuts(conversation)
        signals = [signal(cut, SAMPLE_RATE, clip_name(cut)) for cut in conversation.list_cuts()]
        if effects := _effects(conversation):
            signals = [apply_effects(clip, SAMPLE_RATE, of) for clip, of in zip(signals, effects, strict=True)]
        return LoadedConversation(conversation, signals, self.encode(conversation), self._written(conversation))

    def __getitem__(self, conversations: Iterable["NeMoMultimodalConversation"]) -> dict[str, Any]:
        """Makes a batch.

        Raises:
            BadRow: Names the clip that cannot be read.
        """
        return self.collate([self.load(conversation) for conversation in conversations])

    def collate(self, loaded: Sequence[LoadedConversation]) -> dict[str, Any]:
        """Makes a batch of loaded conversations."""
        batch = [item.conversation for item in loaded]
        encoded = [item.encoded for item in loaded]
        signals = [signal for item in loaded for signal in item.signals]
        lengths = [len(signal) for signal in signals]
        return {
            "audios": _padded(signals) if signals else torch.zeros(0),
            "audio_lens": torch.tensor(lengths, dtype=torch.long),
            "audio_ids": [name for conversation in batch for name in _clip_names(conversation)],
            "input_ids": left_collate_vectors([e.input_ids for e in encoded], padding_value=self.pad_id),
            "loss_mask": left_collate_vectors([e.loss_mask for e in encoded], padding_value=0).bool(),
            "encoded": encoded,
            # A CutSet, as in SALM: Lightning would copy a list's conversations, cuts and all, to move them to a device.
            "conversations": CutSet(batch),
            "kinds": [kind_of(conversation) for conversation in batch],
            "transcripts": [self._transcript(words) for one in batch for words in words_of_clips(one)],
            "written": [item.written for item in loaded],
        }

    def _formatter(self) -> PromptFormatter:
        assert self.prompt_format is not None
        if self._made[0] != self.prompt_format:
            self._made = self.prompt_format, formatter_of(self.prompt_format, self._ids)
            self._controls = control_tokens(self.tokenizer, self._made[1])
            words = getattr(self._ids, "words", None)
            self._counted = TurnLengths(self._made[1], words) if words is not None else None
        return self._made[1]

    def _written(self, conversation: "NeMoMultimodalConversation") -> EncodedConversation | None:
        if self.prompt_format is None or not answers_words(conversation) or unknown_clip(conversation):
            return None
        return self.encode(written_twin(conversation))

    def _transcript(self, words: str | None) -> np.ndarray | None:
        # With the space that a word has inside a sentence: those are the tokens the LLM knows best.
        if words is None:
            return None
        return np.asarray(self._ids.text_to_ids(broken(f" {words}", self._controls)), dtype=np.int64)


def _padded(signals: Sequence[torch.Tensor]) -> torch.Tensor:
    # Memory that comes zeroed from the system and is not touched costs nothing; one long clip makes a lot of it.
    audios: np.ndarray = np.zeros((len(signals), max(map(len, signals))), dtype=np.float32)
    for row, samples in zip(audios, signals, strict=True):
        row[: len(samples)] = samples.numpy()
    return torch.from_numpy(audios)


def _with_unique_cuts(conversation: "NeMoMultimodalConversation") -> "NeMoMultimodalConversation":
    """Numbers the cuts, so that clips that share an id elsewhere stay apart; the reader's id follows behind ``#``."""
    turns = [
        fastcopy(turn, cut=turn.cut.with_id(f"{number}#{turn.cut.id}")) if hasattr(turn, "cut") else turn
        for number, turn in enumerate(conversation.turns)
    ]
    return fastcopy(conversation, turns=turns)


def _effects(conversation: Any) -> list[tuple[Effect, ...]]:
    return drawn.effects if (drawn := augmented(conversation)) is not None else []


def _clip_names(conversation: Any) -> list[str]:
    """Names of its clips; what was done to one makes another clip of it."""
    names = [clip_name(cut) for cut in conversation.list_cuts()]
    effects = _effects(conversation) or [()] * len(names)
    return [
        f"{name}{''.join(f'|{effect}#{effect.seed}' for effect in of)}" for name, of in zip(names, effects, strict=True)
    ]


def clip_name(cut: Any) -> str:
    """What a clip is, whatever its reader called it: the file and the span within it, or a digest of its bytes."""
    names = []
    for track in getattr(cut, "tracks", None) or [cut]:
        inner = getattr(track, "cut", track)
        if getattr(inner, "recording", None) is not None:  # padding has none, whatever its has_recording says
            changed = inner.recording.transforms or ""
            channels = "" if inner.recording.num_channels == inner.num_channels else f"/{inner.channel}"
            names.append(f"{_origin(inner)}@{inner.start:.3f}+{inner.duration:.3f}{channels}{changed}")
    return "|".join(names)


def _origin(cut: Any) -> str:
    source = cut.recording.sources[0]
    if isinstance(source.source, str):
        return source.source
    # Clips that a tar was read into memory for: two members of one name are told apart by what they hold.
    data = source.source if isinstance(source.source, bytes) else cut.recording.load_audio().tobytes()
    return f"{cut.recording.id}#{blake2b(data, digest_size=8).hexdigest()}"
