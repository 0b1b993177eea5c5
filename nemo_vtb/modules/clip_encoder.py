"""From the clips of a batch to LLM-sized frames: sub-batched by length, cached, chunked or sharded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nemo_vtb.modules.frame_cache import FrameCache
from nemo_vtb.modules.gather import Gathered
from nemo_vtb.parts.encode import adapted_frames, learns_batch_statistics, no_frames, sub_batches

if TYPE_CHECKING:
    from nemo.collections.speechlm2.modules.perception import AudioPerceptionModule
    from torch.distributed.device_mesh import DeviceMesh


# At inference, of clips that an encoder without a limit of its own is given at a time: its attention is quadratic.
_PIECE_SECONDS = 60.0
_PIECES_TOGETHER_SECONDS = 120.0


class ClipEncoder:
    """Runs a perception module over any number of clips.

    In evaluation mode, clips longer than the encoder takes, or than a minute, are encoded in pieces of equal length.

    Args:
        perception: Preprocessor, speech encoder, adapter and projection.
        cache: Keeps frames of a frozen encoder, or None.
        chunk_seconds: Longer clips are encoded in chunks of this length (SALM's ``encoder_chunk_size_seconds``).
        batch_seconds: See ``nemo_vtb.models.options.StepOptions.encoder_batch_seconds``.
    """

    def __init__(
        self,
        perception: "AudioPerceptionModule",
        cache: FrameCache | None = None,
        chunk_seconds: float | None = None,
        batch_seconds: float = 600.0,
    ) -> None:
        self.perception, self.cache = perception, cache
        self._chunk_seconds, self._batch_seconds = chunk_seconds, batch_seconds
        # With a cache a rank may have nothing left to encode; its frozen encoder is then no unit, but a copy per rank.
        trained = (perception.modality_adapter, perception.proj) if cache is not None else (perception,)
        self._unit = Gathered(*trained)
        self._sharded = False

    def __call__(self, batch: dict[str, Any]) -> tuple[Tensor | None, list[int]]:
        """Encodes the clips of a batch.

        Returns:
            ``(F, H)`` frames of all clips one after another and frames per clip. Without audio there are none: F is 0
            where a gradient or another rank waits for them, else None.
        """
        if batch["audios"].numel():
            return self._unit(self._frames, batch)
        if not self._sharded and not torch.is_grad_enabled():
            return None, []
        device = next(self.perception.parameters()).device
        return self._unit(no_frames, self.perception, self._sampling_rate, device), []

    def shard(self, mesh: "DeviceMesh") -> None:
        """Shards the perception module over a data-parallel mesh with FSDP2, as one unit."""
        from torch.distributed.fsdp import fully_shard

        self._sharded = True
        fully_shard(self._unit, mesh=mesh, reshard_after_forward=True)

    @property
    def _sampling_rate(self) -> int:
        return self.perception.preprocessor.featurizer.sample_rate

    def _frames(self, batch: dict[str, Any]) -> tuple[Tensor, list[int]]:
        # Outside of a trainer nobody has moved them.
        device = next(self.perception.parameters()).device
        audios, audio_lens = (batch[name].to(device, non_blocking=True) for name in ("audios", "audio_lens"))
        cached = self.cache is not None and "audio_ids" in batch
        if self._chunk_seconds and not cached:
            from nemo.collections.speechlm2.parts.encoder_chunking import encode_audio_with_optional_chunking

            clips = encode_audio_with_optional_chunking(
                self.perception,
                audios,
                audio_lens,
                chunk_size_seconds=self._chunk_seconds,
                sampling_rate=self._sampling_rate,
            )
            return torch.cat(clips), [len(clip) for clip in clips]
        if not self.perception.training and int(audio_lens.max()) > self.most_samples:
            return self._in_pieces(audios, audio_lens, batch["audio_ids"] if cached else None)
        return self._sub_batched(audios, audio_lens, batch["audio_ids"] if cached else None)

    @property
    def most_samples(self) -> int:
        """The longest clip that is encoded at once in evaluation mode."""
        frames = getattr(self.perception.encoder, "max_frames", None)
        hop = self.perception.preprocessor.featurizer.hop_length
        return frames * hop if frames else int(_PIECE_SECONDS * self._sampling_rate)

    def _in_pieces(
        self, audios: Tensor, audio_lens: Tensor, cached_ids: Sequence[str] | None
    ) -> tuple[Tensor, list[int]]:
        pieces: list[Tensor] = []
        names: list[str] = []
        numbers: list[int] = []
        for clip, samples in enumerate(audio_lens.tolist()):
            number = max(1, -(-samples // self.most_samples))
            pieces += [*torch.tensor_split(audios[clip, :samples], number)]
            names += [f"{cached_ids[clip]}/{piece}" for piece in range(number)] if cached_ids is not None else []
            numbers.append(number)
        lengths = audio_lens.new_tensor([len(piece) for piece in pieces])
        padded = nn.utils.rnn.pad_sequence(pieces, batch_first=True)
        frames, counts = self._sub_batched(padded, lengths, names if cached_ids is not None else None, True)
        ends = np.cumsum(numbers)
        return frames, [sum(counts[end - number : end]) for number, end in zip(numbers, ends, strict=True)]

    def _sub_batched(
        self, audios: Tensor, audio_lens: Tensor, cached_ids: Sequence[str] | None, long: bool = False
    ) -> tuple[Tensor, list[int]]:
        samples = audio_lens.tolist()
        if learns_batch_statistics(self.perception):
            groups = [list(range(len(samples)))]
        else:
            together = min(self._batch_seconds, _PIECES_TOGETHER_SECONDS) if long else self._batch_seconds
            groups = sub_batches([count / self._sampling_rate for count in samples], together)
        padded = []
        for group in groups:
            longest = max(samples[i] for i in group)
            signal, lengths = audios[group, :longest], audio_lens[group]
            if self.cache is not None and cached_ids is not None:
                known = self.cache.lookup(self.perception, [cached_ids[i] for i in group], signal, lengths)
                frames, lengths = adapted_frames(self.perception, *known)
            else:
                frames, lengths = self.perception(input_signal=signal, input_signal_length=lengths)
            padded.append((frames, lengths))
        # One wait for the device, whatever the number of groups.
        counts_in_order = torch.cat([lengths for _, lengths in padded]).tolist()
        order = [clip for group in groups for clip in group]
        counts = [count for _, count in sorted(zip(order, counts_in_order, strict=True))]
        return _in_clip_order([frames for frames, _ in padded], groups, counts), counts


def _in_clip_order(blocks: list[Tensor], groups: list[list[int]], counts: list[int]) -> Tensor:
    """Valid frames ``(F, H)``, clip after clip, from padded ``(clips, T, H)`` blocks of the groups."""
    spans: dict[int, np.ndarray] = {}
    start = 0
    for block, group in zip(blocks, groups, strict=True):
        for clip in group:
            spans[clip] = np.arange(start, start + counts[clip])
            start += block.shape[1]
    index = torch.from_numpy(np.concatenate([spans[clip] for clip in range(len(counts))]))
    return torch.cat([block.flatten(0, 1) for block in blocks]).index_select(0, index.to(blocks[0].device))
