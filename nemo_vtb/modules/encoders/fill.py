"""The section ``model.perception`` with what follows from the speech encoder: sizes, features, width of the adapter."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.encoders.families import (
    FAMILIES,
    SPEECH_TARGET,
    WHISPER_TARGET,
    encoder_config,
    family_of,
    part_config,
    read_config,
    width_of,
)

HUGGING_FACE = (WHISPER_TARGET, SPEECH_TARGET)
ADAPTER_TARGET = "nemo_vtb.modules.adapter.ConformerAdapter"
_MEL = "WhisperFeatures"


def fill_hugging_face(cfg: DictConfig) -> None:
    """Writes into ``cfg.perception`` what a Hugging Face encoder says of itself.

    Args:
        cfg: The section ``model``, open; ``perception.encoder._target_`` is one of ``HUGGING_FACE``.

    Raises:
        VTBError: If the encoder is none we know, or the section disagrees with it.
    """
    perception = cfg.perception
    encoder, preprocessor = perception.encoder, perception.preprocessor
    pretrained = cfg.get("pretrained_weights", True)
    encoder.pretrained, encoder.pretrained_weights = cfg.pretrained_asr, pretrained
    # An exported model is built where the encoder's own folder is not.
    if pretrained or encoder.get("config") is None:
        whole = read_config(cfg.pretrained_asr)
        family_of(whole.model_type, f"model.pretrained_asr={cfg.pretrained_asr}", encoder._target_)
        known = part_config(whole)
        fields = {**known.to_diff_dict(), "model_type": known.model_type}
        if encoder.get("config") is not None:
            _agree(OmegaConf.to_container(encoder.config, resolve=True), known.to_dict(), "perception.encoder.config")
        encoder.config = fields
    else:
        default = "whisper" if encoder._target_ == WHISPER_TARGET else None
        known = encoder_config(cfg.pretrained_asr, encoder.config, default)
        family_of(known.model_type, "model.perception.encoder.config", encoder._target_)
    _follows(perception.modality_adapter, "feat_in", width_of(known), "modality_adapter")
    if str(preprocessor.get("_target_")).endswith(_MEL) != (encoder._target_ == WHISPER_TARGET):
        wanted = encoder._target_.replace("Encoder", "Features")
        raise VTBError(f"model.perception.preprocessor._target_ must be {wanted} beside {encoder._target_}")
    if encoder._target_ == WHISPER_TARGET:
        _follows(preprocessor, "features", known.num_mel_bins, "preprocessor")
        return
    if perception.get("spec_augment") is not None and FAMILIES[known.model_type].fed != "frames":
        raise VTBError("model.perception.spec_augment masks mel features, which this encoder is not fed")
    _follows(preprocessor, "hop_length", _samples_per_frame(known), "preprocessor")
    if preprocessor.get("config") is None:
        preprocessor.config = _features_of(cfg.pretrained_asr)


def fill_adapter(perception: DictConfig, hidden_size: int) -> None:
    """Writes what stands on either side of it into the section of an adapter, ours or NeMo's.

    Raises:
        VTBError: If the section disagrees with the speech encoder or with itself.
    """
    adapter, encoder = perception.modality_adapter, perception.encoder
    ours = adapter.get("_target_") == ADAPTER_TARGET
    if ours:
        adapter.output_dim = hidden_size
    out = encoder.get("feat_out") or -1
    width = out if out > 0 else encoder.get("d_model")
    # A Hugging Face encoder has no such key, and has filled the adapter in already.
    if width is not None and (ours or "feat_in" in adapter):
        _follows(adapter, "feat_in", width, "modality_adapter")
    name = str(adapter.get("_target_")).rpartition(".")[2]
    if name == "IdentityConnector":
        # NeMo projects to the LLM's size where it is told the size it comes from, and not else.
        _follows(adapter, "d_model", width if width is not None else adapter.get("feat_in"), "modality_adapter")
    elif ours or name == "ConformerEncoder":
        _check_conformer(adapter)


def _check_conformer(adapter: DictConfig) -> None:
    """What NeMo's layers assert without a word."""
    width, heads, kernel = adapter.get("d_model"), adapter.get("n_heads"), adapter.get("conv_kernel_size")
    where = "model.perception.modality_adapter"
    if isinstance(width, int) and isinstance(heads, int) and heads > 0 and width % heads:
        raise VTBError(f"{where}.n_heads is {heads}, by which d_model={width} cannot be divided")
    if isinstance(kernel, int) and kernel % 2 == 0:
        raise VTBError(f"{where}.conv_kernel_size is {kernel}; it must be odd, so that frames stay where they are")


def _follows(section: DictConfig, key: str, value: int, where: str) -> None:
    if section.get(key) not in (None, value):
        raise VTBError(
            f"model.perception.{where}.{key} is {section[key]}, the speech encoder has {value}; leave the key out"
        )
    section[key] = value


def _agree(given: Mapping[str, Any], known: Mapping[str, Any], where: str) -> None:
    for key, value in given.items():
        if key in known and known[key] != value:
            raise VTBError(
                f"model.{where}.{key} is {value!r}, model.pretrained_asr has {known[key]!r}; leave the key out: sizes "
                "come from the checkpoint"
            )


def _samples_per_frame(config: Any) -> int:
    """Samples at 16 kHz from one frame that comes out to the next."""
    if config.model_type == "moonshine":
        return 64 * 3 * 2
    if config.model_type == "wav2vec2-bert":
        return 2 * 160
    if config.model_type == "parakeet_encoder":
        return config.subsampling_factor * 160
    samples = 1
    for stride in config.conv_stride:
        samples *= stride
    return samples


def _features_of(pretrained: str) -> dict[str, Any]:
    from transformers import AutoFeatureExtractor

    try:
        return AutoFeatureExtractor.from_pretrained(pretrained).to_dict()
    except (OSError, ValueError) as error:
        raise VTBError(
            f"model.pretrained_asr={pretrained} has no preprocessor_config.json, which says how its features are made; "
            "save its feature extractor there too, or write those fields under model.perception.preprocessor.config"
        ) from error
