"""The sections ``data.train_ds`` and ``data.validation_ds``: their keys and what each may hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from nemo_vtb.config import section_of
from nemo_vtb.errors import VTBError
from nemo_vtb.options import Range, Seed, Share, read_options, typed

DEFAULT_BATCH_TOKENS = 8192
# Switches of NeMo after 3.0 for what a blend always does.
_ALWAYS_ON = ("indexed", "use_stateful_dataloader")
# A batch of more positions, or more workers, is a slip of some zeros.
_MOST_TOKENS, _MOST_WORKERS = 2**24, 512
Files = str | list[Any] | None


@dataclass
class Reading:
    """Keys that both sections have.

    Attributes:
        prompt_format: Of NeMo, by name.
        audio_locator_tag: The placeholder of a clip.
        token_equivalent_duration: Seconds of audio per LLM position.
        min_duration: Shortest clip.
        max_duration: Longest clip.
        max_bad_share: Share of a source's rows that may be bad.
        batch_tokens: LLM positions per rank and step.
        num_workers: Processes that load audio ahead.
        seed: Of the shuffles.
        sample_rate: Of the audio.
    """

    prompt_format: str | None = None
    audio_locator_tag: str | None = None
    token_equivalent_duration: Annotated[float, Range(0, above=True)] | None = None
    min_duration: Annotated[float, Range(0)] = 0.1
    max_duration: Annotated[float, Range(0, above=True)] = 30.0
    max_bad_share: Share = 0.0
    batch_tokens: Annotated[int, Range(1, _MOST_TOKENS)] = DEFAULT_BATCH_TOKENS
    num_workers: Annotated[int, Range(0, _MOST_WORKERS)] = 0
    seed: Seed = 0
    sample_rate: Literal[16000] = 16000


# Of the keys of an `input_cfg` entry, which ``nemo_vtb.data.sources.formats`` lists, what they may hold.
_ENTRY_HINTS: dict[str, Any] = {
    "type": str,
    **dict.fromkeys(("manifest_filepath", "paths", "tarred_audio_filepaths", "cuts_path"), Files),
    "shar_path": str | list[Any] | dict[str, Any] | None,
    **dict.fromkeys(("audio_root", "text_field", "lang_field", "name"), str | None),
    **dict.fromkeys(("only", "tags", "speak"), dict[str, Any] | None),
    "channel_selector": int | str | list[Any] | None,
    "weight": float | None,
    "audio_first": Share | None,
}


@dataclass
class Kind:
    """A kind of a blend, or of what is validated."""

    share: Annotated[float, Range(0)] | dict[Any, Annotated[float, Range(0)]] | None = None
    input_cfg: str | list[dict[str, Any]] | None = None
    reweight_temperature: float | list[float] = 1.0
    speak: dict[str, Any] | None = None


@dataclass
class TrainKind(Kind):
    """A kind of a blend; ``augment`` says what is done to its clips, and is for training only."""

    augment: dict[str, Any] | None = None


@dataclass
class BlendSection:
    """The section ``blend``."""

    unit: Literal["supervised_tokens", "total_tokens", "examples", "steps"] = "supervised_tokens"
    strategy: Literal["stratified", "mixed", "alternate"] = "stratified"
    together: list[str] = field(default_factory=list)
    kinds: dict[str, TrainKind] = field(default_factory=dict)


def check_train_section(section: Mapping[str, Any], where: str = "data.train_ds") -> None:
    """Refuses a ``train_ds`` section with a blend that could not be read as it says.

    Raises:
        VTBError: Names the key that is unknown or odd, and what it may hold.
    """
    read_options(Reading, section, where, (*_ALWAYS_ON, "blend", "shuffle", "augment"))
    for key in _ALWAYS_ON:
        if not section.get(key, True):
            raise VTBError(f"{where}.{key}=false cannot be had with a blend: its loader always is; remove the key")
    blend = section_of(section, "blend")
    read_options(BlendSection, blend, f"{where}.blend")
    if not blend.get("kinds"):
        raise VTBError(f"missing config key {where}.blend.kinds: a blend needs a kind with a share and an input_cfg")


def augments(section: Mapping[str, Any]) -> bool:
    """Whether a ``train_ds`` section changes the clips of any kind."""
    kinds = section_of(section_of(section, "blend"), "kinds").values()
    return any(kind.get("augment", section.get("augment")) for kind in kinds)


def check_held_out_section(section: Mapping[str, Any], where: str = "data.validation_ds") -> None:
    """Likewise a ``validation_ds`` section with ``kinds``.

    Raises:
        VTBError: Names the key that is unknown or odd, and what it may hold.
    """
    read_options(Reading, section, where, (*_ALWAYS_ON, "kinds", "shuffle"))
    for name, kind in section_of(section, "kinds").items():
        read_options(Kind, kind, f"{where}.kinds.{name}")


def check_entry(entry: Mapping[str, Any], where: str) -> None:
    """Refuses an ``input_cfg`` entry whose keys hold what they cannot.

    Raises:
        VTBError: Names the key.
    """
    for key, hint in _ENTRY_HINTS.items():
        if entry.get(key) == "":
            raise VTBError(f"{where}.{key} is empty; name what it stands for, or leave the key out")
        if entry.get(key) is not None:
            typed(f"{where}.{key}", entry[key], hint)
