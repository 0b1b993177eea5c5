"""Instruction wordings for recognition and translation, drawn per utterance and epoch."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.paths import config_dir


def stable_hash(*parts: object) -> int:
    """Returns the same 64-bit number for the same parts in every process and on every machine."""
    return int.from_bytes(blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest(), "big")


class PromptPool:
    """Wordings by task and language.

    Args:
        path: A YAML file with ``asr``, ``ast`` and ``languages``; the shipped one by default.

    Raises:
        VTBError: If the file cannot be read or lacks a section.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        from omegaconf import OmegaConf

        self._path = Path(path) if path is not None else config_dir() / "prompts" / "default.yaml"
        if not self._path.is_file():
            raise VTBError(f"no prompt pool at {self._path}")
        self._pool: Mapping[str, Any] = OmegaConf.to_container(OmegaConf.load(self._path))  # type: ignore[assignment]
        for section in ("asr", "ast", "languages"):
            if section not in self._pool:
                raise VTBError(f"{self._path}: section '{section}' is missing")

    def wordings(self, task: str, source: str, target: str | None = None) -> list[str]:
        """Returns every wording for a task: those of the language or pair, else those for any."""
        by_language: Mapping[str, Sequence[str]] = self._pool[task]
        key = source if task == "asr" else f"{source}-{target}"
        names = self._pool["languages"]
        fill = {"source": names.get(source, source), "target": names.get(target, target)}
        return [wording.format(**fill) for wording in by_language.get(key, by_language["any"])]

    def draw(self, task: str, sample_id: str, epoch: int, source: str, target: str | None = None) -> str:
        """Returns the wording of one sample in one epoch; always the same one."""
        wordings = self.wordings(task, source, target)
        return wordings[stable_hash(task, sample_id, epoch) % len(wordings)]
