"""What a batch feeds the model, token by token."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from nemo_vtb.config import resolved, section_of
from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from nemo_vtb.data.dataset import VTBDataset
    from nemo_vtb.parts.prompts.turn_mask import EncodedConversation


def preview(cfg: DictConfig, kind: str | None = None, count: int = 1) -> Iterator[str]:
    """Yields the lines of conversations of each kind, as they are drawn in the first epoch.

    Args:
        cfg: A training config with ``data.train_ds.blend``.
        kind: Show this kind only.
        count: Conversations of each kind.

    Raises:
        VTBError: If the prompt format cannot be trained, or the data cannot be read.
    """
    from nemo_vtb.data.conversations.size import measure
    from nemo_vtb.data.datamodule import build_blend

    dataset = dataset_of(resolved(cfg))
    section, tokenizer = cfg.data.train_ds, dataset.tokenizer
    if kind is not None and kind not in section_of(cfg, "data.train_ds.blend.kinds"):
        raise VTBError(f"--kind {kind}: the blend has {', '.join(map(str, section.blend.kinds))}")
    blend = build_blend(section, dataset)
    for name, sources in blend.sources.items():
        if kind not in (None, name):
            continue
        rows = ((source, index) for source in sources for index in range(len(source)))
        for source, index in islice(rows, count):
            conversation = source.draw(index, 0)
            size = measure(conversation, dataset, section.token_equivalent_duration)
            about = f"{size.total} positions, {size.supervised} supervised; share {blend.shares.at(0)[name]:.2f}"
            yield f"== {name}: {conversation.id} ({about})"
            if augmented := _augmented(conversation):
                yield f"augmented: {augmented}"
            encoded = dataset.encode(conversation)
            yield from token_lines(
                encoded, conversation, tokenizer, cfg.model.audio_locator_tag, section.token_equivalent_duration
            )


def _augmented(conversation: Any) -> str:
    """What was done to the clips of a conversation, in words."""
    from nemo_vtb.data.audio.augment_audio import augmented

    if (drawn := augmented(conversation)) is None:
        return ""
    speed = f"speed {drawn.speed:.3g}; " if drawn.speed != 1 else ""
    return speed + "; ".join(" and ".join(map(str, effects)) or "as recorded" for effects in drawn.effects)


def dataset_of(cfg: DictConfig) -> "VTBDataset":
    """Returns the dataset of a training config, without building its model.

    Raises:
        VTBError: If the prompt format cannot be trained with the tokenizer.
    """
    from nemo_vtb.data.dataset import VTBDataset
    from nemo_vtb.data.prompts.formats import formatter_of, tokenizer_of

    model, section = section_of(cfg, "model"), section_of(cfg, "data.train_ds")
    for key in ("pretrained_llm", "audio_locator_tag"):
        if not isinstance(model.get(key), str):
            raise VTBError(f"model.{key} is {model.get(key)!r}; it is a name")
    tokenizer = tokenizer_of(model)
    prompt_format = section.get("prompt_format")
    formatter_of(prompt_format, tokenizer, "data.train_ds.prompt_format")
    return VTBDataset(tokenizer, prompt_format, cfg.model.audio_locator_tag)


def token_lines(
    encoded: "EncodedConversation", conversation: Any, tokenizer: Any, audio_tag: str, frame_seconds: float
) -> Iterator[str]:
    """Yields a line for each token: LLM position, id, ``*`` where it carries loss, and its text.

    A clip is one line with the span of positions its frames take.

    Args:
        encoded: Token ids and loss mask.
        conversation: Where the clips are found.
        tokenizer: NeMo's wrapper.
        audio_tag: The placeholder of a clip.
        frame_seconds: Audio per LLM position.
    """
    cuts = iter(conversation.list_cuts())
    position = 0
    for token, learnt in zip(encoded.input_ids.tolist(), encoded.loss_mask.tolist(), strict=True):
        (piece,) = tokenizer.ids_to_tokens([token])
        if piece == audio_tag:
            cut = next(cuts)
            frames = -int(-cut.duration // frame_seconds)
            span = f"{position}-{position + frames - 1}"
            yield f"{span:>9} {token:6d} {'*' if learnt else ' '} ♪ {cut.id} ({cut.duration:.2f} s)"
            position += frames
        else:
            text = tokenizer.ids_to_text([token], remove_special_tokens=False)
            # Part of a character has no text of its own.
            yield f"{position:9d} {token:6d} {'*' if learnt else ' '} {piece if '�' in text else repr(text)}"
            position += 1
