"""What a batch feeds the model, token by token."""

from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf


def preview(cfg: DictConfig, kind: str | None = None) -> Iterator[str]:
    """Yields the lines of one conversation of each kind: position, id, token, and ``*`` where it carries loss.

    Args:
        cfg: A training config with ``data.train_ds.blend``.
        kind: Show this kind only.
    """
    from nemo.collections.common.tokenizers import AutoTokenizer

    from nemo_vtb import registry
    from nemo_vtb.assets import resolve
    from nemo_vtb.data.datamodule import build_blend, measure
    from nemo_vtb.data.dataset import VTBDataset

    registry.register()
    OmegaConf.resolve(cfg)
    tokenizer = AutoTokenizer(resolve(cfg.model.get("tokenizer_path") or cfg.model.pretrained_llm), use_fast=True)
    tokenizer.add_special_tokens({"additional_special_tokens": [cfg.model.audio_locator_tag]})
    section = cfg.data.train_ds
    dataset = VTBDataset(tokenizer, section.prompt_format)
    blend = build_blend(section, dataset)
    for name, sources in blend.sources.items():
        if kind not in (None, name):
            continue
        conversation = sources[0].draw(0, 0)
        encoded = dataset.encode(conversation)
        size = measure(conversation, dataset, section.token_equivalent_duration)
        weights = f"{size.total} positions, {size.supervised} supervised; share {blend.shares[name]:.2f}"
        yield f"== {name}: {conversation.id} ({weights})"
        cuts = iter(conversation.list_cuts())
        for position, (token, target) in enumerate(zip(encoded.input_ids, encoded.loss_mask, strict=True)):
            text = tokenizer.ids_to_tokens([int(token)])[0]
            if text == cfg.model.audio_locator_tag:
                cut = next(cuts)
                text += f"   <- {cut.id} ({cut.duration:.2f} s)"
            yield f"{position:5d} {token:7d} {'*' if target else ' '} {text}"
