"""Frames of a frozen speech encoder, kept after the first time a clip is heard, in memory or in files."""

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.encode import encoder_frames, sub_batches

if TYPE_CHECKING:
    from nemo.collections.speechlm2.modules.perception import AudioPerceptionModule

_SECONDS_AT_ONCE = 120.0


class FrameCache:
    """Encoder frames by clip id, in bfloat16 (about 50 kB a second of speech for Whisper base).

    Args:
        perception: The module whose encoder is frozen.
        folder: Where frames are kept for later runs; None keeps them in host memory. Every process writes files of its
            own, named after the encoder's weights, and reads those of all before it. Clips are known by path and span:
            empty the folder when audio files change.

    Raises:
        VTBError: If the encoder trains or features are augmented; cached frames would then be wrong.
    """

    def __init__(self, perception: "AudioPerceptionModule", folder: str | Path | None = None) -> None:
        if any(parameter.requires_grad for parameter in perception.encoder.parameters()):
            raise VTBError(
                "model.encoder_cache=true needs a frozen encoder: add '^perception\\.encoder\\..+$' to "
                "model.freeze_params, or switch the cache off"
            )
        if perception.spec_augmentation is not None:
            raise VTBError("model.encoder_cache=true cannot be used with model.perception.spec_augment")
        self._frames: dict[str, Tensor] = {}
        self._files: _FrameFiles | None = None
        if folder is not None:
            self._files = _FrameFiles(Path(folder), _fingerprint(perception.encoder))
            self._frames.update(self._files.read())

    def __len__(self) -> int:
        return len(self._frames)

    @torch.no_grad()
    def lookup(
        self, perception: "AudioPerceptionModule", ids: Sequence[str], audios: Tensor, audio_lens: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns ``(B, D, T)`` frames and ``(B,)`` lengths, encoding what was not heard before."""
        lengths = audio_lens.tolist()
        new = [i for i, name in enumerate(ids) if name not in self._frames]
        rate = perception.preprocessor.featurizer.sample_rate
        for group in sub_batches([lengths[i] / rate for i in new], _SECONDS_AT_ONCE):
            part = [new[i] for i in group]
            longest = max(lengths[i] for i in part)
            frames, frame_lens = encoder_frames(perception, audios[part, :longest], audio_lens[part])
            for row, i in enumerate(part):
                kept = frames[row, :, : int(frame_lens[row])]
                self._frames[ids[i]] = kept.T.to("cpu", torch.bfloat16).contiguous()
                if self._files is not None:
                    self._files.append(ids[i], self._frames[ids[i]])
        rows = [self._frames[name] for name in ids]
        padded = pad_sequence(rows, batch_first=True).transpose(1, 2)
        dtype = next(perception.modality_adapter.parameters()).dtype
        return padded.to(audios.device, dtype), torch.tensor([len(row) for row in rows], device=audios.device)


class _FrameFiles:
    """One file of frames and one index of JSON lines per process; a line is written after its frames."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._fingerprint = folder, fingerprint
        self._own = folder / f"{fingerprint}.{uuid4().hex[:8]}.index.jsonl"

    def read(self) -> Iterator[tuple[str, Tensor]]:
        """Yields clip ids and ``(frames, D)`` tensors that stay on the disk until they are used."""
        for index in sorted(self._folder.glob(f"{self._fingerprint}.*.index.jsonl")):
            data = _data_of(index)
            frames: np.ndarray = (
                np.memmap(data, dtype=np.int16, mode="c") if data.stat().st_size else np.zeros(0, np.int16)
            )
            for line in index.read_text(encoding="utf-8").splitlines():
                name, start, rows, dim = json.loads(line)
                if start + rows * dim <= len(frames):
                    stored = frames[start : start + rows * dim].reshape(rows, dim)
                    yield name, torch.from_numpy(stored).view(torch.bfloat16)

    def append(self, name: str, frames: Tensor) -> None:
        """Keeps ``(frames, D)`` bfloat16."""
        with _data_of(self._own).open("ab") as data:
            start = data.tell() // 2
            data.write(frames.view(torch.int16).numpy().tobytes())
        with self._own.open("a", encoding="utf-8") as index:
            index.write(json.dumps([name, start, *frames.shape]) + "\n")


def _data_of(index: Path) -> Path:
    return index.with_name(index.name.replace(".index.jsonl", ".bf16"))


def _fingerprint(encoder: torch.nn.Module) -> str:
    digest = sha256()
    for name, tensor in encoder.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{float(tensor.double().abs().sum()):.6e}".encode())
    return digest.hexdigest()[:12]
