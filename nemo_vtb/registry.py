"""The only file that writes into the host: NeMo's registries, its target allow-list, a launcher's names.

It knows what it registers by name and loads it when it registers, so that it stands below everything and any way in may
call it: the command, a launcher's hook, the model's own file. Every function may run many times and in any process;
each first write is logged.
"""

import inspect
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from nemo_vtb.errors import VTBError

# `_target_` names that may appear in a config. Exact names, never a bare package prefix: NeMo's list guards against
# code execution from a checkpoint's config.
ALLOWED_TARGETS = (
    "nemo_vtb.modules.adapter.ConformerAdapter",
    "nemo_vtb.modules.encoders.hugging_face.SpeechEncoder",
    "nemo_vtb.modules.encoders.hugging_face.SpeechFeatures",
    "nemo_vtb.modules.whisper.WhisperEncoder",
    "nemo_vtb.modules.whisper.WhisperFeatures",
)

_SHARDED = "nemo_vtb.strategies.sharded.ShardedStrategy"
_MEGATRON = "nemo_vtb.strategies.megatron.MegatronStrategy"

# NeMo asks for classes that are no modules to stand in a second list too: callbacks and strategies of `trainer`.
ALLOWED_OF_TRAINER = (
    "nemo_vtb.callbacks.last_checkpoint.LastCheckpoint",
    "nemo_vtb.callbacks.heartbeat.Heartbeat",
    "nemo_vtb.callbacks.progress.KindProgress",
    _SHARDED,
    _MEGATRON,
)

# Names for `trainer.strategy`.
STRATEGIES = {
    "vtb_fsdp2": (_SHARDED, {}, "FSDP2 over all ranks; one-file checkpoints of what was trained"),
    "vtb_hsdp": (_SHARDED, {"replicas": "nodes"}, "hybrid sharding: FSDP2 inside a node, a copy per node"),
    "vtb_megatron": (_MEGATRON, {}, "DDP between groups of ranks that hold one LLM on megatron-core"),
}

# Modules that register themselves with NeMo by its own decorators and subclass hooks: data types, prompt formats.
SELF_REGISTERING = ("nemo_vtb.data.data_types", "nemo_vtb.data.prompts.formats")

# What a run of VoiceTextBlender is given beside what its trainer has; a class that not every run needs has a method
# ``wanted(model)``, which returns itself ready for use, or None.
RUN_CALLBACKS = (
    "nemo_vtb.callbacks.random_states.RestoreRandomStates",
    "nemo_vtb.callbacks.new_settings.NewSettings",
    "nemo_vtb.callbacks.heartbeat.Heartbeat",
    "nemo_vtb.callbacks.preemption.Preemption",
    "nemo_vtb.callbacks.throughput.Throughput",
    "nemo_vtb.evaluation.retention.callback.RetentionGate",
)

# Config, processor and model of folders that ``vtb export --to hf`` writes.
TRANSFORMERS_CLASSES = (
    "nemo_vtb.inference.hf.config.VoiceTextBlenderConfig",
    "nemo_vtb.inference.hf.processor.VoiceTextBlenderProcessor",
    "nemo_vtb.inference.hf.model.VoiceTextBlenderForConditionalGeneration",
)

_VLLM_MODEL = "nemo_vtb.inference.vllm_model:VoiceTextBlenderForVLLM"
_NEMO_VLLM = "nemo.collections.speechlm2.vllm.salm"
_NEMO_VLLM_MODEL = "NeMoSpeechLMForConditionalGeneration"
_VLLM_GATE = ("nemo_vtb.inference.vllm_gate.GateCheck", "nemo_vtb.inference.vllm_gate.gated")

# Launcher name -> what it becomes. The launchers of NeMo 3.0 build exactly these three by name.
LAUNCHER_NAMES = {
    "SALM": "nemo_vtb.models.voice_text_blender.VoiceTextBlender",
    "SALMDataset": "nemo_vtb.data.dataset.VTBDataset",
    "DataModule": "nemo_vtb.data.datamodule.VTBDataModule",
}


def register() -> None:
    """Registers targets, data types and prompt formats with NeMo. Idempotent.

    Raises:
        VTBError: If the installed versions cannot work together.
    """
    from nemo_vtb.versions import require_supported_versions

    require_supported_versions()
    _allow_targets()
    _register_strategies()
    for module in SELF_REGISTERING:
        import_module(module)


def run_callbacks(model: Any) -> list[Any]:
    """Returns the callbacks a model's run needs and its trainer has not: all, but those whose ``wanted`` returns None.

    Args:
        model: A VoiceTextBlender with its trainer.
    """
    has = {type(callback) for callback in model.trainer.callbacks}
    missing = [kind for kind in map(_load, RUN_CALLBACKS) if kind not in has]
    made = [kind.wanted(model) if hasattr(kind, "wanted") else kind() for kind in missing]
    return [callback for callback in made if callback is not None]


def register_with_transformers() -> None:
    """Makes config, processor and model known to the Auto classes and pipelines of Transformers. Idempotent."""
    from transformers import AutoConfig, AutoModelForMultimodalLM, AutoProcessor
    from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES

    config, processor, model = map(_load, TRANSFORMERS_CLASSES)
    AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoProcessor.register(config, processor, exist_ok=True)
    AutoModelForMultimodalLM.register(config, model, exist_ok=True)
    # The pipeline any-to-any looks for a class's name here alone.
    MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES[config.model_type] = model.__name__


def register_with_vllm() -> None:
    """Makes vLLM know our model and keep its gate, and NeMo's own with our encoder and adapter. Idempotent."""
    from transformers import AutoConfig, AutoProcessor
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP
    from vllm.model_executor.models.registry import ModelRegistry
    from vllm.v1.engine.input_processor import InputProcessor

    register()
    config, processor, model = map(_load, (*TRANSFORMERS_CLASSES[:2], "nemo_vtb.inference.hf.config.ARCHITECTURE"))
    AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoProcessor.register(config, processor, exist_ok=True)
    ModelRegistry.register_model(model, _VLLM_MODEL)
    _register_nemo_with_vllm()
    MODELS_CONFIG_MAP[model], gated = map(_load, _VLLM_GATE)
    if not hasattr(InputProcessor.process_inputs, "__wrapped__"):
        InputProcessor.process_inputs = gated(InputProcessor.process_inputs)


def _register_nemo_with_vllm() -> None:
    """NeMo's own plugin, which ends a start of vLLM since Transformers has a model type ``nemo_speechlm``, too."""
    from transformers import AutoConfig
    from vllm.model_executor.models.registry import ModelRegistry
    from vllm.transformers_utils.config import _CONFIG_REGISTRY

    config = _load(f"{_NEMO_VLLM}.config.NeMoSpeechLMConfig")
    AutoConfig.register(config.model_type, config, exist_ok=True)
    _CONFIG_REGISTRY[config.model_type] = config
    ModelRegistry.register_model(_NEMO_VLLM_MODEL, f"{_NEMO_VLLM}.model:{_NEMO_VLLM_MODEL}")


def rebind_launcher(task_function: Callable[..., Any], wanted: Iterable[str] = tuple(LAUNCHER_NAMES)) -> None:
    """Replaces the launcher's ``SALM``, ``SALMDataset`` and ``DataModule``, or some of them, by subclasses.

    Raises:
        VTBError: If a name is missing or is not the class that NeMo's launcher has there.
    """
    from nemo.utils import logging

    names = inspect.unwrap(task_function).__globals__
    wanted = list(wanted)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise VTBError(
            f"The launcher {names.get('__file__', task_function)} does not define {', '.join(missing)}, so nemo_vtb "
            "cannot be selected with +vtb@_global_. It supports launchers of the NeMo 3.0 shape "
            "(examples/speechlm2/salm_train.py); `vtb train` runs without one."
        )
    for name in wanted:
        ours = _load(LAUNCHER_NAMES[name])
        if names[name] is ours:
            continue
        if not issubclass(ours, names[name]):
            raise VTBError(f"The launcher's {name} is {names[name]}, which {ours.__name__} does not extend.")
        names[name] = ours
        logging.info(f"nemo_vtb: the launcher's {name} is now {LAUNCHER_NAMES[name]}")


def _register_strategies() -> None:
    from lightning.pytorch.strategies import StrategyRegistry
    from nemo.utils import logging

    for name, (kind, settings, description) in STRATEGIES.items():
        if name not in StrategyRegistry:
            StrategyRegistry.register(name, _load(kind), description=description, **settings)
            logging.info(f"nemo_vtb: registered the strategy {name} with Lightning")


def _allow_targets() -> None:
    from nemo.core.classes import common
    from nemo.utils import logging

    targets = (*ALLOWED_TARGETS, *ALLOWED_OF_TRAINER)
    new = [target for target in targets if target not in common.ALLOWED_TARGET_PREFIXES]
    if new:
        common.ALLOWED_TARGET_PREFIXES.extend(new)
        common.ALLOWED_EXACT_CLASS_TARGETS.update(ALLOWED_OF_TRAINER)
        logging.info(f"nemo_vtb: allowed these config targets in NeMo: {', '.join(new)}")


def _load(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)
