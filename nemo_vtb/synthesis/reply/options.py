"""How replies are made and kept: the keys of ``conf/synth/reply.yaml``."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nemo_vtb.errors import VTBError
from nemo_vtb.options import JOB_KEYS, read_options
from nemo_vtb.synthesis.qa.options import Recording, ReplyOptions

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class OwnReplyOptions:
    """All keys that are not shared with the other makers.

    Attributes:
        source: An ``input_cfg`` entry of recordings with transcripts.
        language: Of recordings that name none, ISO 639-1.
        recording: Which recordings.
        instructions: What may stand beside the transcript; empty for the transcript alone.
        reply: How replies are drawn.
        reply_words: Fewest and most of a reply.
        copy_audio: Whether recordings are copied.
        system: A system prompt.
    """

    source: dict[str, Any]
    language: str
    recording: Recording
    instructions: list[str]
    reply: ReplyOptions
    reply_words: list[int]
    copy_audio: bool
    system: str | None = None

    @classmethod
    def read(cls, cfg: "DictConfig") -> "OwnReplyOptions":
        """Takes its keys out of a config.

        Raises:
            VTBError: Names the key that is unknown, missing or wrong.
        """
        options = read_options(cls, cfg, others=[*JOB_KEYS, "llm"])
        bounds: dict[str, list[Any]] = {
            "recording.seconds": options.recording.seconds,
            "recording.words": options.recording.words,
            "reply_words": options.reply_words,
        }
        for key, found in bounds.items():
            if len(found) != 2 or not 0 <= found[0] <= found[1]:
                raise VTBError(f"{key}={found}: name the least and the most, as in [1, 300]")
        if options.reply.temperature < 0 or not 0 < options.reply.top_p <= 1 or options.reply.tokens < 1:
            raise VTBError("reply: temperature is 0 or more, top_p above 0 and up to 1, tokens 1 or more")
        if options.recording.characters < 1:
            raise VTBError(f"recording.characters={options.recording.characters}: 1 or more")
        return options
