"""What an LLM has room for: ids with a row in its embedding table, positions, and lengths it treats alike."""

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from nemo.utils import logging
from nemo.utils.nemo_logging import LogMode

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.llm.parts import family, has_position_table, position_limit, stretched_from
from nemo_vtb.parts.pack import PackedLayout
from nemo_vtb.parts.prompts.turn_mask import encode_turns, stop_ids

if TYPE_CHECKING:
    from nemo.collections.speechlm2.models.salm import SALM
    from transformers import GenerationConfig

_CHAT = [("user", "a"), ("assistant", "a")]


def check_format_ids(model: "SALM") -> None:
    """Refuses an LLM without embeddings for the tokens that every conversation has.

    Raises:
        VTBError: Names the token, its id and the size of the table.
    """
    written = encode_turns(_CHAT, model.formatter).input_ids
    check_ids(model, [written, np.asarray(stop_ids(model.formatter))])


def check_ids(model: "SALM", rows: Iterable[np.ndarray]) -> None:
    """Refuses token ids without a row in the embedding table, which PyTorch looks up by number alone.

    Args:
        model: Its placeholder of a clip, which is never looked up, may stand anywhere.
        rows: Ids of each conversation, on the host.

    Raises:
        VTBError: Names the token, its id and the size of the table.
    """
    size = model.backbone.table.num_embeddings
    for row in rows:
        beyond = row[(row >= size) & (row != model.audio_locator_tag_id)]
        if len(beyond):
            word = model.tokenizer.ids_to_tokens([int(beyond[0])])[0]
            raise VTBError(
                f"the tokenizer writes {word!r} as {beyond[0]}, and the embedding table of "
                f"model.pretrained_llm={model.cfg.pretrained_llm} ends at {size - 1}: name the tokenizer that belongs "
                "to this LLM (model.tokenizer_path), a prompt format without that token, or an LLM that was saved "
                "with a larger table (resize_token_embeddings)"
            )


def check_reach(model: "SALM", layout: PackedLayout, names: Sequence[str] | None) -> None:
    """Looks at a batch before the LLM runs over it.

    What lies beyond the positions an LLM was made for is refused where it has a table of them, and else said once; so
    is a batch whose longest conversation changes what shorter ones mean.

    Raises:
        VTBError: Names the token or conversation that is out of reach.
    """
    check_ids(model, [layout.token_ids])
    llm = model.backbone.causal_lm
    lengths = layout.lengths[layout.lengths > 0]
    if not len(lengths):
        return
    longest, most, stretched = int(lengths.max()), position_limit(llm), stretched_from(llm)
    if stretched is not None and lengths.min() <= stretched < longest:
        _say(
            f"the LLM {family(llm)} turns positions otherwise as soon as one conversation of a batch has more than "
            f"{stretched:,}, and a batch has shorter ones beside it, which mean another thing to it than alone; "
            f"data.train_ds.batch_tokens={stretched} keeps conversations below that"
        )
    if longest <= most:
        return
    if has_position_table(llm):
        at = int(layout.lengths.argmax())
        raise VTBError(
            f"conversation {names[at] if names is not None else f'number {at}'} takes {longest:,} positions, and the "
            f"LLM {family(llm)} has {most:,}: leave longer ones out (data.train_ds.batch_tokens={most} with "
            "data.train_ds.max_bad_share; likewise data.validation_ds), or name an LLM that has more"
        )
    if stretched is None:
        _say(
            f"a conversation takes {longest:,} positions, and the LLM {family(llm)} was made for {most:,} "
            "(max_position_embeddings): nobody knows what it makes of those beyond"
        )


def room_to_answer(model: "SALM", asked: int, config: "GenerationConfig") -> Any:
    """A generation config whose answers end where the LLM's positions do.

    Args:
        model: The model.
        asked: Positions of the longest prompt of a batch.
        config: As it was asked for; left as it is.

    Raises:
        VTBError: If a prompt leaves no position to answer at, or ``max_length`` no token.
    """
    if config.max_new_tokens is None and config.max_length is not None and config.max_length <= asked:
        raise VTBError(
            f"max_length={config.max_length} counts the prompt in, whose {asked:,} positions leave no room: set "
            "max_new_tokens"
        )
    most = position_limit(model.backbone.causal_lm)
    if asked >= most:
        raise VTBError(f"a prompt has {asked:,} positions, and the LLM {most:,} for prompt and answer")
    if config.max_new_tokens is not None and config.max_new_tokens > most - asked:
        config = copy.deepcopy(config)
        config.max_new_tokens = most - asked
    return config


def _say(sentence: str) -> None:
    logging.warning(f"nemo_vtb: {sentence}", mode=LogMode.ONCE)
