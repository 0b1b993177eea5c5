"""What is known of each Hugging Face speech encoder: which class it is, where its weights stand, what it is fed.

A model type that is not here is refused by name: loading it as another one would leave it random weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import blamed_on

WHISPER_TARGET = "nemo_vtb.modules.whisper.WhisperEncoder"
SPEECH_TARGET = "nemo_vtb.modules.encoders.hugging_face.SpeechEncoder"


@dataclass(frozen=True)
class Family:
    """A kind of encoder.

    Attributes:
        target: Our class that runs it.
        encoder: Its class in Transformers.
        fed: ``waveform``: samples, through convolutions without padding; ``frames``: features with a mask that every
            layer keeps to; ``alone``: samples, by layers that would see padding, so that each clip runs by itself.
        part: The config of the encoder inside that of a whole model.
        weights: Pattern before the names of its weights in the file of a whole model.
    """

    target: str
    encoder: str
    fed: Literal["waveform", "frames", "alone", "whisper"]
    part: str | None = None
    weights: str | None = None


_WAVEFORM = {
    "wav2vec2": "Wav2Vec2Model",
    "hubert": "HubertModel",
    "wavlm": "WavLMModel",
    "unispeech": "UniSpeechModel",
    "unispeech-sat": "UniSpeechSatModel",
}
FAMILIES: Mapping[str, Family] = {
    "whisper": Family(WHISPER_TARGET, "WhisperModel", "whisper"),
    "voxtral": Family(WHISPER_TARGET, "VoxtralEncoder", "whisper", "audio_config", r"^(model\.)?audio_tower\."),
    "voxtral_encoder": Family(WHISPER_TARGET, "VoxtralEncoder", "whisper"),
    **{name: Family(SPEECH_TARGET, encoder, "waveform") for name, encoder in _WAVEFORM.items()},
    "data2vec-audio": Family(SPEECH_TARGET, "Data2VecAudioModel", "alone"),
    "wav2vec2-bert": Family(SPEECH_TARGET, "Wav2Vec2BertModel", "frames"),
    "parakeet_encoder": Family(SPEECH_TARGET, "ParakeetEncoder", "frames"),
    **{
        name: Family(SPEECH_TARGET, "ParakeetEncoder", "frames", "encoder_config", r"^(model\.)?encoder\.")
        for name in ("parakeet_ctc", "parakeet_rnnt", "parakeet_tdt")
    },
    "moonshine": Family(SPEECH_TARGET, "MoonshineEncoder", "alone", None, r"^(model\.)?encoder\."),
}
FEATURES = ("Wav2Vec2FeatureExtractor", "SeamlessM4TFeatureExtractor", "ParakeetFeatureExtractor")


def read_config(pretrained: str) -> Any:
    """The Transformers config of a folder or hub id.

    Raises:
        VTBError: If there is none that can be read.
    """
    from transformers import AutoConfig

    with blamed_on(f"model.pretrained_asr={pretrained} cannot be loaded"):
        return AutoConfig.from_pretrained(pretrained)


def family_of(model_type: str, where: str, target: str | None = None) -> Family:
    """Looks a model type up.

    Args:
        model_type: As its config has it.
        where: What it was found in, for messages.
        target: The class that is to run it; any, if None.

    Raises:
        VTBError: If it is no encoder we know, or one for another class.
    """
    if model_type not in FAMILIES:
        raise VTBError(
            f"{where} is a model of type '{model_type}', which is no speech encoder known here; known are "
            f"{', '.join(FAMILIES)}, and NeMo's ASR models with nemo.collections.asr.modules.ConformerEncoder"
        )
    family = FAMILIES[model_type]
    if target is not None and family.target != target:
        features = family.target.replace("SpeechEncoder", "SpeechFeatures").replace("WhisperEncoder", "WhisperFeatures")
        raise VTBError(
            f"{where} is a model of type '{model_type}', which {target.rpartition('.')[2]} cannot run; set "
            f"model.perception.encoder._target_={family.target} and model.perception.preprocessor._target_={features}"
        )
    return family


def part_config(config: Any) -> Any:
    """The config of the encoder inside that of a whole model."""
    part = FAMILIES[config.model_type].part
    return config if part is None else getattr(config, part)


def width_of(config: Any) -> int:
    """Numbers per frame."""
    return config.d_model if hasattr(config, "d_model") else config.hidden_size


def load_encoder(pretrained: str, model_type: str) -> Any:
    """Reads the encoder of a folder or hub id, in float32.

    Raises:
        VTBError: If weights are missing, left over, or of another shape.
    """
    import torch

    family, kind = FAMILIES[model_type], encoder_class(model_type)
    renamed = {} if family.weights is None else {"key_mapping": {family.weights: ""}}
    try:
        model, found = kind.from_pretrained(pretrained, dtype=torch.float32, output_loading_info=True, **renamed)
    except (OSError, ValueError, RuntimeError) as error:
        said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise VTBError(f"model.pretrained_asr={pretrained} cannot be loaded: {said}") from error
    _check_found(model, found, f"model.pretrained_asr={pretrained}")
    return model


def encoder_class(model_type: str) -> Any:
    """The class in Transformers, which does not export every encoder at its top."""
    import transformers

    name = FAMILIES[model_type].encoder
    if hasattr(transformers, name):
        return getattr(transformers, name)
    folder = model_type.removesuffix("_encoder")
    return getattr(import_module(f"transformers.models.{folder}.modeling_{folder}"), name)


def encoder_config(pretrained: str, config: Mapping[str, Any] | None, model_type: str | None = None) -> Any:
    """The config of an encoder from its fields, or from a folder or hub id where there are none.

    Args:
        pretrained: The folder or hub id.
        config: The fields, as a config section or plain values.
        model_type: What they are of, where they do not say it.
    """
    from omegaconf import OmegaConf
    from transformers import AutoConfig

    if config is None:
        return part_config(read_config(pretrained))
    fields: Any = OmegaConf.to_container(OmegaConf.create(dict(config)), resolve=True)
    named = fields.pop("model_type", model_type)
    family_of(str(named), "model.perception.encoder.config")
    return AutoConfig.for_model(named, **fields)


def _check_found(model: Any, found: Mapping[str, Any], where: str) -> None:
    """Refuses a file that leaves weights random, or holds weights of the encoder that the model has no place for."""
    # What is only there for masked pre-training is used by nobody here; the decoder of a Whisper is dropped.
    beside = ("masked_spec_embed", "decoder.")
    missing = [key for key in found["missing_keys"] if not key.startswith(beside)]
    if missing or found.get("mismatched_keys"):
        example = (missing or [str(key) for key in found["mismatched_keys"]])[0]
        raise VTBError(f"{where} lacks {len(missing) or 'some'} weights of its own encoder, e.g. {example}")
    own = {name.split(".")[0] for name, _ in model.named_parameters()}
    prefix = f"{model.base_model_prefix}."
    left = [key for key in found["unexpected_keys"] if key.removeprefix(prefix).split(".")[0] in own]
    left = [key for key in left if not key.removeprefix(prefix).startswith(beside)]
    if left:
        raise VTBError(f"{where} has {len(left)} weights that its config has no place for, e.g. {left[0]}")
