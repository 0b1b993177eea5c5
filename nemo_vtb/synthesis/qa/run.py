"""``vtb synth qa``: questions about recordings and their answers, written by an LLM that reads the transcripts.

The third kind of data of the paper: an LLM is given the transcript of a recording and writes a question that is closely
tied to it, with its answer, as JSON; what cannot be parsed and what it calls "none" is left out. Several questions,
conversations, questions without an answer and other languages are ours.
"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from nemo_vtb.inference.llms.choose import LLMOptions, open_llm
from nemo_vtb.synthesis.jobs.job import Job
from nemo_vtb.synthesis.qa.filters import words
from nemo_vtb.synthesis.qa.options import QAOptions
from nemo_vtb.synthesis.qa.prompts import load_check, load_prompt
from nemo_vtb.synthesis.qa.recordings import recorded_items

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from nemo_vtb.synthesis.qa.maker import QAMaker


def job_of(cfg: "DictConfig") -> Job:
    """The job of a config such as ``conf/synth/qa.yaml``.

    Raises:
        VTBError: Names the key that is unknown, missing or wrong, or the file that is not there.
    """
    from omegaconf import OmegaConf

    options = QAOptions.read(cfg)
    llm: Any = OmegaConf.to_container(cfg.llm)
    chosen = LLMOptions.read(llm)
    prompts = [(load_prompt(name), weight) for name, weight in options.drawn_files().items()]
    # Files of prompts may move; what they hold may not change.
    settings = {name: value for name, value in asdict(options).items() if name != "prompt_files"} | {
        **chosen.deciding(),
        "prompts": {f"{prompt.version} {prompt.sha256}": weight for prompt, weight in prompts},
        "check": load_check().sha256 if options.filters.second_pass else None,
    }
    return Job(
        name="qa",
        items=list(recorded_items(options.source, options.recording.seconds)),
        open_maker=partial(open_maker, llm, options, cfg.seed, str(cfg.out)),
        settings=settings,
        seed=cfg.seed,
        shard_size=cfg.shard_size,
        max_bad_share=cfg.max_bad_share,
    )


def open_maker(llm: dict[str, Any], options: QAOptions, seed: int, out: str) -> "QAMaker":
    """Opens the LLM.

    Raises:
        VTBError: If it cannot be had.
    """
    from nemo_vtb.synthesis.qa.maker import QAMaker

    return QAMaker(open_llm(llm), options, seed, out)


def unique(rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Keeps conversations whose questions are new for what is said: the same text by another voice is another.

    Returns:
        The rows to keep, and the others as drops.
    """
    first: dict[tuple[str, ...], str] = {}
    kept, twice = [], []
    for row in rows:
        said = [turn["text"] for turn in row["conversations"] if turn["type"] == "audio"]
        asked = [turn["value"] for turn in row["conversations"] if turn["from"] == "User" and turn["type"] == "text"]
        key = (row["custom"].get("voice", ""), *(" ".join(words(text)) for text in (*said, *asked)))
        if first.setdefault(key, row["id"]) == row["id"]:
            kept.append(row)
        else:
            twice.append({"id": row["id"], "reason": "duplicate", "detail": f"{asked[0]} (as {first[key]})"})
    return kept, twice
