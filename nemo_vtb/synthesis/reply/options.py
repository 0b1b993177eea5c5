"""How replies are made and kept: the keys of ``conf/synth/reply.yaml``."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nemo_vtb.options import JOB_KEYS, read_options
from nemo_vtb.synthesis.qa.options import Recording, ReplyOptions, check_bounds

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
        heard, words = options.recording, options.reply_words
        check_bounds({"recording.seconds": heard.seconds, "recording.words": heard.words, "reply_words": words}, 0)
        return options
