"""Packages of others whose ``__init__`` gathers far more than a command needs: their names are imported at their use.

A listed package is not executed when something of it is imported. What its ``__init__`` would import from elsewhere is
read from its source, and each such name is imported from there when somebody asks for it; any other name executes the
``__init__`` as it stands, and so does ``whole``. Classes come from the modules that define them either way, so that
types, pickles and worker processes are the same.

Only our commands ask for it (``defer``), before the first import: who imports NeMo himself has it as it is.
"""

import ast
import builtins
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, resolve_name
from threading import RLock
from types import CodeType, ModuleType
from typing import Any, NamedTuple, cast

from nemo_vtb.start.stand_ins import Owner, of_class, of_cuda, of_function, of_guard, of_mark, of_version

# Package -> what importing all of it would bring along for nothing.
PACKAGES = {
    "megatron.core": "torch._inductor and wandb; NeMo looks for parallel_state alone",
    "nemo.collections.asr": "all models",
    "nemo.collections.asr.losses": "all losses",
    "nemo.collections.asr.metrics": "beam search, n-gram language models",
    "nemo.collections.asr.models": "all models, for the one class ASRModel",
    "nemo.collections.asr.modules": "all modules, for the encoder",
    "nemo.collections.asr.models.configs": "configs of all models",
    "nemo.collections.asr.parts.context_biasing": "graphs of phrases",
    "nemo.collections.asr.parts.mixins": "mixins of all models, for one of them",
    "nemo.collections.asr.parts.preprocessing": "perturbations, for the features",
    "nemo.collections.asr.parts.utils": "hypotheses of beam search",
    "nemo.collections.audio": "all models of enhancement, and datasets",
    "nemo.collections.common": "callbacks, losses, tokenizers",
    "nemo.collections.common.data": "datasets of other collections",
    "nemo.collections.common.losses": "all losses",
    "nemo.collections.common.metrics": "all metrics",
    "nemo.collections.common.parts": "parts of other collections",
    "nemo.collections.common.tokenizers": "pandas, for a tokenizer of chemical formulas",
    "nemo.collections.speechlm2": "duplex models, and with them all of text-to-speech",
    "nemo.collections.speechlm2.data": "datasets of duplex models",
    "nemo.collections.speechlm2.models": "duplex models",
    "nemo.collections.speechlm2.modules": "speech decoders",
    "nemo.collections.tts": "all models",
    "nemo.collections.tts.models": "all models, for the one class AudioCodecModel",
    "nemo.core": "ModelPT and exporting to ONNX",
    "nemo.core.classes": "ModelPT and exporting to ONNX",
    "nemo.core.optim": "optimizers for megatron, for one function",
    "torchmetrics": "metrics of every domain, scipy.signal; Lightning looks for Metric alone",
    "torchmetrics.functional": "metrics of every domain",
    "torchmetrics.text": "metrics of text, for one of them",
    "torchmetrics.functional.text": "metrics of text, for one of them",
    "torchmetrics.utilities": "its checks, which import metrics",
}

# Likewise, but executed at the use of any name.
AT_FIRST_USE = {
    "nemo.collections.asr.parts.utils.numba_utils": "numba, for a phase vocoder of NeMo's perturbations",
    "onnx": "NeMo's exports",
    "onnxruntime": "the check of NeMo's exports",
    "pandas": "NeMo's manifests of speaker labels",
    "pyarrow": "NeMo's rows of Parquet",
    "pyarrow.parquet": "NeMo's rows of Parquet",
    "scipy.ndimage": "NeMo's datasets of text-to-speech",
    "scipy.signal": "NeMo's perturbations of audio",
    "torchao": "PEFT's LoRA beside weights that torchao quantised",
    "wandb": "a logger that NeMo and Megatron import to know whether it is there",
}
# Modules of which others import these names, for what no command does.
STAND_INS: dict[str, dict[str, Callable[[Owner, str], Any]]] = {
    # Codecs of the duplex models.
    "nemo.collections.tts.models.audio_codec": {"AudioCodecModel": of_class},
    # NeMo asks for its version and its CUDA, for kernels of SpecAugment.
    "numba": {"__version__": of_version, "cuda": of_cuda},
    # Losses of object detection.
    "scipy.optimize": {"linear_sum_assignment": of_function},
    # The compiler: Lightning compares with a class of it what it unwraps, transformers marks functions for it.
    "torch._dynamo": {
        "OptimizedModule": of_class,
        "allow_in_graph": of_mark,
        "assume_constant_result": of_mark,
        "disable": of_guard,
    },
    "torch._dynamo._trace_wrapped_higher_order_op": {"TransformGetItemToIndex": of_class},
    # PEFT compares with these what it puts LoRA beside.
    "torchao.dtypes": {"AffineQuantizedTensor": of_class},
    "torchao.quantization": {"LinearActivationQuantizedTensor": of_class},
    # Matplotlib, for plots of metrics.
    "torchmetrics.utilities.plot": {
        "_AX_TYPE": of_class,
        "_CMAP_TYPE": of_class,
        "_PLOT_OUT_TYPE": of_class,
        "plot_confusion_matrix": of_function,
        "plot_curve": of_function,
        "plot_single_or_multi_val": of_function,
    },
    # LLMs that were quantised by torchao.
    "transformers.quantizers.quantizer_torchao": {"TorchAoHfQuantizer": of_class},
}
# These are executed before anything in them is, as without us.
_BEFORE_CHILDREN = {*AT_FIRST_USE, *STAND_INS}
# What the import system asks for before it sets it.
_OF_IMPORTING = ("__cached__", "__file__", "__loader__", "__package__", "__path__", "__spec__")


class _Origin(NamedTuple):
    """Where a name comes from: a module, and the name there or None for the module itself."""

    module: str
    name: str | None


class _Contents(NamedTuple):
    """What the source of an ``__init__`` says: names from elsewhere, and modules all of whose names it takes."""

    origins: dict[str, _Origin]
    stars: tuple[str, ...]


class _Deferred(ModuleType):
    """A package whose ``__init__`` has not been executed."""

    def __getattr__(self, name: str) -> Any:
        found = None
        if name in _OF_IMPORTING:
            raise AttributeError(name)
        if _executed(self):
            # By this thread, in a circle of imports; another thread has to wait for what that one executes.
            with self.__dict__["__lock__"]:
                return ModuleType.__getattribute__(self, name)
        if self.__name__ in PACKAGES and name != "__all__":
            special = name.startswith("__") and name.endswith("__")
            if special and name not in self.__dict__["__contents__"].origins:
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
            found = _found(self, name)
        elif name in STAND_INS.get(self.__name__, ()):
            found = STAND_INS[self.__name__][name](_owner(self), name)
        if found is None:
            whole(self.__name__)
            return getattr(self, name)
        self.__dict__[name] = found
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system puts a submodule here, where the whole ``__init__`` may have put its function of that name.
        origin = None if _executed(self) else self.__dict__["__contents__"].origins.get(name)
        if origin is None or not isinstance(value, ModuleType) or origin == _Origin(value.__name__, None):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *self.__dict__["__contents__"].origins})


class _DeferredLoader(Loader):
    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = _Deferred(spec.name)
        tree = ast.parse(self.loader.get_source(spec.name) if spec.name in PACKAGES else "")
        module.__dict__["__contents__"] = _contents(tree, spec.name)
        module.__dict__["__assigned__"] = _assigned(tree)
        module.__dict__.update(__afterwards__=[], __lock__=RLock(), __executed__=False)
        return module

    def exec_module(self, module: ModuleType) -> None:
        exec(module.__dict__.pop("__assigned__"), module.__dict__)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


class _Imported(Loader):
    """Of a submodule that its package has imported meanwhile."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        self._spec = sys.modules[spec.name].__spec__
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        parent = fullname.rpartition(".")[0]
        deferred = fullname in PACKAGES or fullname in _BEFORE_CHILDREN
        if not deferred and parent in _BEFORE_CHILDREN and not _executed(sys.modules.get(parent)):
            whole(parent)
            if fullname in sys.modules:
                return ModuleSpec(fullname, _Imported(), origin="imported with its package")
        if not deferred:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "get_source"):
            spec.loader = _DeferredLoader(spec.loader)
        return spec


def defer() -> None:
    """Defers the listed packages that were not imported yet. Idempotent."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def whole(package: str) -> None:
    """Imports a package, and executes its ``__init__`` if it was deferred: what it registers is there then."""
    module = import_module(package)
    if _executed(module):
        return
    parent = package.rpartition(".")[0]
    if parent in _BEFORE_CHILDREN:
        whole(parent)
    with module.__dict__["__lock__"]:
        if not _executed(module):
            _execute(cast(_Deferred, module))


def _execute(module: _Deferred) -> None:
    loader = cast(_DeferredLoader, cast(ModuleSpec, module.__spec__).loader).loader
    module.__dict__["__executed__"] = True
    try:
        loader.exec_module(module)
    except BaseException:
        module.__dict__["__executed__"] = False
        raise
    # What other threads may still read of it, its lock for one, stays.
    module.__class__ = ModuleType  # type: ignore[assignment]
    for call in module.__dict__["__afterwards__"]:
        call()


def _executed(module: ModuleType | None) -> bool:
    """Whether a module is executed or about to be."""
    return not isinstance(module, _Deferred) or module.__dict__["__executed__"]


def _owner(module: _Deferred) -> Owner:
    def executed() -> ModuleType | None:
        return module if _executed(module) else None

    def execute() -> ModuleType:
        whole(module.__name__)
        return module

    return Owner(module.__name__, executed, execute, module.__dict__["__afterwards__"])


def _found(package: _Deferred, name: str) -> Any:
    contents: _Contents = package.__dict__["__contents__"]
    if name in contents.origins:
        origin, attribute = contents.origins[name]
        return import_module(origin) if attribute is None else _attribute(origin, attribute)
    if find_spec(f"{package.__name__}.{name}") is not None:
        return import_module(f"{package.__name__}.{name}")
    for star in contents.stars:
        module = import_module(star)
        public = module.__dict__.get("__all__")
        if (name in public if public is not None else not name.startswith("_")) and hasattr(module, name):
            return getattr(module, name)
    return None


def _attribute(module: str, name: str) -> Any:
    """As ``from module import name``, which takes a submodule too."""
    origin = import_module(module)
    try:
        return getattr(origin, name)
    except AttributeError:
        return import_module(f"{module}.{name}")


def _assigned(tree: ast.Module) -> CodeType:
    """The part of an ``__init__`` that assigns what the standard library alone gives."""
    known, kept = set(dir(builtins)) | {"__file__", "__name__", "__path__"}, list[ast.stmt]()
    for statement in tree.body:
        if isinstance(statement, ast.Import) and all(
            alias.name.partition(".")[0] in sys.stdlib_module_names for alias in statement.names
        ):
            known |= {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.Assign) and all(
            isinstance(node.ctx, ast.Store) or node.id in known
            for node in ast.walk(statement)
            if isinstance(node, ast.Name)
        ):
            known |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
        else:
            continue
        kept.append(statement)
    return compile(ast.Module(kept, []), "<assignments>", "exec")


def _contents(tree: ast.Module, package: str) -> _Contents:
    origins: dict[str, _Origin] = {}
    stars: list[str] = []
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                if alias.asname:
                    origins[alias.asname] = _Origin(alias.name, None)
        elif isinstance(statement, ast.ImportFrom):
            module = statement.module or ""
            if statement.level:
                module = resolve_name("." * statement.level + module, package)
            for alias in statement.names:
                if alias.name == "*":
                    stars.append(module)
                elif module == package:
                    origins[alias.asname or alias.name] = _Origin(f"{package}.{alias.name}", None)
                else:
                    origins[alias.asname or alias.name] = _Origin(module, alias.name)
    return _Contents(origins, tuple(stars))
