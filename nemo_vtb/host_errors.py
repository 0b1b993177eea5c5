"""What the hosts raise, in one sentence: NeMo, Lightning, Hydra, OmegaConf, PEFT, Transformers, the hub, the disk.

Classes are known by name, so that nothing heavy is imported to tell them apart.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from nemo_vtb.errors import VTBError

_LONGEST = 400
# Extra of the package -> the modules it brings, by which it is known to be there.
EXTRAS = {
    "quickstart": ("gguf", "accelerate", "matplotlib"),
    "synth": ("babel", "httpx", "jsonschema", "llguidance", "num2words", "onnxruntime", "hibari", "py3langid"),
    "eval": ("sacrebleu", "matplotlib"),
    "lm-eval": ("lm_eval",),
    "public-benchmarks": ("lm_eval", "langdetect", "if_verifiable"),
    "serve": ("fastapi", "uvicorn", "python_multipart", "starlette"),
    "demo": ("gradio",),
    "slurm": ("nemo_run", "leptonai"),
    "tables": ("pyarrow",),
    "quantization": ("bitsandbytes",),
    "megatron": ("megatron",),
}
# Several extras may bring a module: the first is named.
_EXTRA_OF = {module: extra for extra in reversed(EXTRAS) for module in EXTRAS[extra]}
_ON_THE_HUB = "a local folder, a packaged asset (`vtb assets list`) or a hub id that this machine can reach"
# Classes of huggingface_hub and of what it asks with -> what happened and the remedy.
_HUB = {
    "GatedRepoError": "its repository is gated: accept its terms on the hub and log in with `hf auth login`, or name "
    "a local folder",
    "RepositoryNotFoundError": f"the hub has no such repository, or it is private; name {_ON_THE_HUB}",
    "RevisionNotFoundError": "the repository has no such revision",
    "HFValidationError": f"it is neither a folder here nor a hub id; name {_ON_THE_HUB}",
    "OfflineModeIsEnabled": f"the hub is switched off (HF_HUB_OFFLINE) and the cache has no copy; name {_ON_THE_HUB}",
    "LocalEntryNotFoundError": f"the hub cannot be reached and the cache has no copy; name {_ON_THE_HUB}",
    "HfHubHTTPError": f"the hub refuses it; name {_ON_THE_HUB}",
    **dict.fromkeys(
        ("ConnectError", "ConnectTimeout", "ConnectionError", "MaxRetryError"),
        f"the hub cannot be reached; name {_ON_THE_HUB}",
    ),
}
# What is raised about a value that somebody else's code was given, with words that say nothing by their class.
_SPEAKS = ("MisconfigurationException", "ValueError", "UnsafeTargetError", "OSError")
_OF_HYDRA = ("HydraException", "OmegaConfBaseException")


@contextmanager
def blamed_on(where: str, remedy: str = "") -> Iterator[None]:
    """Names a setting in whatever the block raises.

    For calls that hand a config's values to a host, and nothing else: what is raised there is about these values.

    Args:
        where: The key, perhaps with its value: ``model.lora``.
        remedy: What to do, behind what the host says.

    Raises:
        VTBError: In the place of any other exception.
    """
    try:
        yield
    except VTBError:
        raise
    except Exception as error:
        said = _hub(error) or sentence(error) or _in_words(error)
        raise VTBError(f"{where}: {said}{f'; {remedy}' if remedy else ''}") from error


def sentence(error: BaseException) -> str | None:
    """Says what a known exception of a host means for its user; None for those nobody expects."""
    names = _names(error)
    if isinstance(error, ModuleNotFoundError):
        return _missing_package(error)
    if "InterpolationResolutionError" in names or "InterpolationKeyError" in names:
        return f"config key {_key(error)}: its interpolation fails: {first_line(error)}"
    if "MissingMandatoryValue" in names:
        return f"missing config key {_key(error)}: say {_key(error)}=..."
    if names & set(_OF_HYDRA):
        key = getattr(error, "full_key", None)
        return f"config key {key}: {_condensed(error)}" if key else _condensed(error)
    if said := _hub(error):
        return f"{first_line(error)} ({said})"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text: {error.reason} at byte {error.start}"
    if isinstance(error, MemoryError) or "OutOfMemoryError" in names:
        return (
            "out of memory: lower data.train_ds.batch_tokens, or batch_size where answers are measured, or choose a "
            f"smaller model ({first_line(error)})"
        )
    if isinstance(error, OSError):
        return _of_the_file_system(error)
    if names & {"MisconfigurationException", "YAMLError", "UnsafeTargetError", "AudioLoadingError"}:
        return _condensed(error)
    return None


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, cut where it is long; its class where it says nothing."""
    # Python shows the key of a KeyError, in quotation marks.
    said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return _cut(lines[0]) if lines else type(error).__name__


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _hub(error: BaseException) -> str | None:
    """What kept a model on the hub from being read, from the whole chain of causes: the hosts wrap it."""
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        seen.append(link)
        for kind in type(link).__mro__:
            # Python's own class of this name has nothing to do with a hub.
            if kind.__name__ in _HUB and kind.__module__ != "builtins":
                return _HUB[kind.__name__]
        if "gated repo" in str(link):
            return _HUB["GatedRepoError"]
        link = link.__cause__ or link.__context__
    return None


def _missing_package(error: ModuleNotFoundError) -> str:
    package = (error.name or "").partition(".")[0]
    if package in _EXTRA_OF:
        return f"the package {package} is missing: pip install 'nemo-vtb[{_EXTRA_OF[package]}]'"
    return f"the package {package or '?'} is missing ({error}): pip install it, then `vtb doctor`"


def _of_the_file_system(error: OSError) -> str | None:
    if error.errno is None:
        return _condensed(error)
    remedies = {
        errno.ENOENT: "give a path that exists",
        errno.EACCES: "choose a place that this user may read and write",
        errno.EPERM: "choose a place that this user may read and write",
        errno.EROFS: "the file system is read-only: choose another place",
        errno.ENOTDIR: "part of the path is a file: choose another place",
        errno.EISDIR: "this is a folder: name a file",
        errno.EEXIST: "something stands there already: remove it or choose another place",
        errno.ENOSPC: "the disk is full: make room or choose another place",
        errno.ENAMETOOLONG: "choose a shorter name",
    }
    place = f"{error.filename}: " if error.filename else ""
    remedy = remedies.get(error.errno)
    return f"{place}{error.strerror}{f'; {remedy}' if remedy else ''}"


def _key(error: BaseException) -> str:
    return str(getattr(error, "full_key", None) or "?")


def _in_words(error: Exception) -> str:
    said = _condensed(error)
    if not said:
        return type(error).__name__
    return said if _names(error) & set(_SPEAKS) and len(said.split()) > 1 else f"{type(error).__name__}: {said}"


def _condensed(error: BaseException) -> str:
    """All lines as one, without Hydra's pointers and OmegaConf's notes on types."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line.strip("^ ") and not line.startswith(("object_type=", "See https://hydra"))]
    return _cut(" ".join(" ".join(kept).split()))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
