"""``vtb synth reply``: the LLM's own reply to the words of a recording, as the answer to the recording itself."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from nemo_vtb.inference.llms.choose import LLMOptions, open_llm
from nemo_vtb.synthesis.jobs.job import Job
from nemo_vtb.synthesis.qa.recordings import recorded_items
from nemo_vtb.synthesis.reply.options import OwnReplyOptions

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from nemo_vtb.synthesis.reply.maker import ReplyMaker


def job_of(cfg: "DictConfig") -> Job:
    """The job of a config such as ``conf/synth/reply.yaml``.

    Raises:
        VTBError: Names the key that is unknown, missing or wrong, or the file that is not there.
    """
    from omegaconf import OmegaConf

    options = OwnReplyOptions.read(cfg)
    llm: Any = OmegaConf.to_container(cfg.llm)
    return Job(
        name="reply",
        items=list(recorded_items(options.source, options.recording.seconds)),
        open_maker=partial(open_maker, llm, options, cfg.seed, str(cfg.out)),
        settings=asdict(options) | LLMOptions.read(llm).deciding(),
        seed=cfg.seed,
        shard_size=cfg.shard_size,
        max_bad_share=cfg.max_bad_share,
    )


def open_maker(llm: dict[str, Any], options: OwnReplyOptions, seed: int, out: str) -> "ReplyMaker":
    """Opens the LLM.

    Raises:
        VTBError: If it cannot be had.
    """
    from nemo_vtb.synthesis.reply.maker import ReplyMaker

    return ReplyMaker(open_llm(llm), options, seed, out)


def unique(rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Keeps every reply: the same words by another voice, or said again, are another recording."""
    return list(rows), []
