"""``vtb synth text``: replay conversations, both sides of which an LLM writes.

The LLM sees its own chat template cut right after the user header and goes on: what it writes is a user turn. Then it
answers that turn as it would answer a person. Replaying such conversations while speech is learnt asks the LLM only to
stay what it is, and needs no outside text; those that are held out show whether it did. Idea: Magpie (arXiv
2406.08464), the source of the paper's chats.
"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import first_line, sentence
from nemo_vtb.inference.llms.choose import LLMOptions, open_llm
from nemo_vtb.synthesis.jobs.job import Job
from nemo_vtb.synthesis.jobs.shard import Item
from nemo_vtb.synthesis.replay.near_duplicates import near_duplicates
from nemo_vtb.synthesis.replay.options import ReplayOptions
from nemo_vtb.synthesis.replay.prompts import load_prompts

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from nemo_vtb.synthesis.replay.maker import ReplayMaker

# Two first turns with that share of words in common ask the same.
_OVERLAP = 0.7


def job_of(cfg: "DictConfig") -> Job:
    """The job of a config such as ``conf/synth/text.yaml``.

    Raises:
        VTBError: Names the key that is unknown, missing or wrong.
    """
    from omegaconf import OmegaConf

    options = ReplayOptions.read(cfg)
    llm: Any = OmegaConf.to_container(cfg.llm)
    chosen = LLMOptions.read(llm)
    prompts = load_prompts(options.prompt_file)
    prompts.check(options.categories, f"prompt_file={options.prompt_file}")
    tokenizer = options.tokenizer or chosen.model
    # The file of prompts may move; what it holds may not change.
    settings = {name: value for name, value in asdict(options).items() if name != "prompt_file"} | {
        **chosen.deciding(),
        "tokenizer": tokenizer,
        "prompt_version": prompts.version,
        "prompts_sha256": prompts.sha256,
    }
    return Job(
        name="text",
        items=[Item(f"replay-{cfg.seed}-{number:06d}", {}) for number in range(options.count)],
        open_maker=partial(open_maker, llm, options, cfg.seed),
        settings=settings,
        seed=cfg.seed,
        shard_size=cfg.shard_size,
        max_bad_share=cfg.max_bad_share,
        check=partial(_tokenizer, chosen, options),
    )


def open_maker(llm: dict[str, Any], options: ReplayOptions, seed: int) -> "ReplayMaker":
    """Opens the LLM and the tokenizer whose chat template it was tuned with.

    Raises:
        VTBError: If either cannot be had.
    """
    from nemo_vtb.synthesis.replay.maker import ReplayMaker

    opened = _tokenizer(LLMOptions.read(llm), options)
    return ReplayMaker(open_llm(llm), opened, load_prompts(options.prompt_file), options, seed)


def _tokenizer(llm: LLMOptions, options: ReplayOptions) -> Any:
    from transformers import AutoTokenizer

    from nemo_vtb.assets import resolve

    try:
        return AutoTokenizer.from_pretrained(resolve(options.tokenizer or llm.model))
    except (VTBError, OSError, ValueError) as error:
        said = str(error) if isinstance(error, VTBError) else sentence(error) or first_line(error)
        if options.tokenizer:
            raise VTBError(f"tokenizer={options.tokenizer}: {said}") from error
        remedy = "; a server gives no tokenizer: say tokenizer=NAME, that of its model, for the chat template"
        raise VTBError(f"llm.model={llm.model}: {said}{remedy if llm.backend == 'openai' else ''}") from error


def unique(rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Keeps conversations whose first turn is new.

    Args:
        rows: In the order of preference.

    Returns:
        The rows to keep, and the others as drops.
    """
    asked = [row["conversations"][0]["value"].removesuffix(row["custom"].get("request", "")) for row in rows]
    repeated = near_duplicates(asked, _OVERLAP)
    return [row for place, row in enumerate(rows) if place not in repeated], [
        {"id": rows[place]["id"], "reason": "duplicate", "detail": f"{asked[place]} (as {rows[first]['id']})"}
        for place, first in repeated.items()
    ]
