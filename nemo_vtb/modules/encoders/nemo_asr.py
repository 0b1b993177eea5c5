"""The encoder of a NeMo ASR model, by name or ``.nemo`` file: its sizes and features are the checkpoint's."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import blamed_on
from nemo_vtb.start.deferred import whole

if TYPE_CHECKING:
    from torch import Tensor, nn

# Those that take ``(B, D, T)`` features with lengths and give frames with lengths.
ENCODERS = ("ConformerEncoder", "SqueezeformerEncoder")
# What may be another than in the checkpoint: how it is trained and how far attention looks, not which weights it has.
_FREE_OF_ENCODER = (
    "dropout",
    "stochastic_depth",
    "sync_max_audio_length",
    "att_context",
    "use_pytorch_sdpa",
    "pos_emb_max_len",
)
_FREE_OF_FEATURES = ("dither", "pad_to", "_target_")


def adopt_nemo_encoder(cfg: DictConfig) -> "dict[str, Tensor]":
    """Reads an ASR model and writes its encoder and features into ``cfg.perception``.

    Args:
        cfg: The section ``model``, open.

    Returns:
        The state of the whole ASR model.

    Raises:
        VTBError: If it cannot be read, its encoder is of a class that is not known here, or the section disagrees.
    """
    asr = _read(cfg.pretrained_asr)
    where = f"model.pretrained_asr={cfg.pretrained_asr}"
    theirs = getattr(asr, "cfg", {}).get("encoder") or {}
    name = str(theirs.get("_target_")).rpartition(".")[2]
    if name not in ENCODERS:
        raise VTBError(f"{where} has an encoder of class {name}; known are NeMo's {', '.join(ENCODERS)}")
    cfg.perception.encoder = _merged(cfg.perception.get("encoder"), theirs, _FREE_OF_ENCODER, "encoder", asr.encoder)
    cfg.perception.preprocessor = _merged(
        cfg.perception.get("preprocessor"), asr.cfg.preprocessor, _FREE_OF_FEATURES, "preprocessor", asr.preprocessor
    )
    return asr.state_dict()


def shape_nemo_encoder(cfg: DictConfig) -> None:
    """Fills ``cfg.perception.encoder`` from ``cfg.encoder_config``, for building the shapes without weights.

    Raises:
        VTBError: If there is no encoder to build.
    """
    own = cfg.perception.get("encoder") or {}
    cfg.perception.encoder = OmegaConf.merge(cfg.get("encoder_config") or {}, own)
    if cfg.perception.encoder.get("_target_") is None:
        raise VTBError("missing config key model.perception.encoder._target_: without weights nothing else says it")


def load_nemo_encoder(perception: "nn.Module", state: "Mapping[str, Tensor]", where: str) -> None:
    """Loads the encoder's and the features' part of an ASR model's state.

    Raises:
        VTBError: If weights of the encoder are missing, or are left over.
    """
    own = ("encoder.", "preprocessor.")
    part = {key: tensor for key, tensor in state.items() if key.startswith(own)}
    try:
        found = perception.load_state_dict(part, strict=False)
    except RuntimeError as error:
        raise VTBError(
            f"{where} does not fit the encoder of this config: {str(error).splitlines()[-1].strip()}"
        ) from error
    for said, keys in (("lacks", found.missing_keys), ("has no place in this config for", found.unexpected_keys)):
        if odd := [key for key in keys if key.startswith("encoder.")]:
            raise VTBError(f"{where} {said} {len(odd)} weights of the encoder, e.g. {odd[0]}")


def _read(name: str) -> Any:
    from nemo.collections.asr.models import ASRModel
    from nemo.collections.speechlm2.parts.pretrained import load_pretrained_nemo

    if Path(name).suffix != ".nemo" and (Path(name) / "config.json").is_file():
        from nemo_vtb.modules.encoders.families import family_of, read_config

        # Says which of our classes runs it, or that none does.
        family_of(read_config(name).model_type, f"model.pretrained_asr={name}", "nemo.ConformerEncoder")
    if Path(name).suffix != ".nemo":
        # By a bare name, NeMo looks through the classes that were imported.
        whole("nemo.collections.asr.models")
    # Whatever a hub, an archive or a config inside it may raise.
    remedy = "give a .nemo file or the name of a NeMo ASR model that you can reach"
    with blamed_on(f"model.pretrained_asr={name} cannot be loaded", remedy):
        return load_pretrained_nemo(ASRModel, name).eval()


def _merged(own: Any, theirs: DictConfig, free: tuple[str, ...], where: str, built: Any) -> DictConfig:
    """The checkpoint's section with what the config may set; refuses what it may not."""
    given: dict[str, Any] = {} if own is None else OmegaConf.to_container(own, resolve=True)  # type: ignore[assignment]
    defaults = {name: p.default for name, p in inspect.signature(type(built).__init__).parameters.items()}
    known: dict[str, Any] = OmegaConf.to_container(theirs, resolve=True)  # type: ignore[assignment]
    kept = {}
    for key, value in given.items():
        if value is None:
            continue
        if key.startswith(free):
            kept[key] = value
            continue
        has = known.get(key, defaults.get(key))
        same = str(value).rpartition(".")[2] == str(has).rpartition(".")[2] if key == "_target_" else value == has
        if not same:
            raise VTBError(
                f"model.perception.{where}.{key} is {value!r}, model.pretrained_asr has {has!r}; leave the key out "
                f"(~model.perception.{where}.{key} on the command line): sizes come from the checkpoint"
            )
    kept.pop("_target_", None)
    return OmegaConf.create({**known, **kept})
