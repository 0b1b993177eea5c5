"""The sections ``data.train_ds`` and ``data.validation_ds``: their keys and what each may hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_type_hints

from nemo_vtb.config import section_of
from nemo_vtb.errors import VTBError
from nemo_vtb.options import Range, Seed, Share, read_options, typed

DEFAULT_BATCH_TOKENS = 8192
# Switches of NeMo after 3.0 for what a blend always does.
_ALWAYS_ON = ("indexed", "use_stateful_dataloader")
# A batch of more positions, or more workers, is a slip of some zeros.
_MOST_TOKENS, _MOST_WORKERS = 2**24, 512
# Tags of an entry that are turns of its conversations; all others travel along in ``custom``.
TURN_TAGS = ("system_prompt", "context")
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


@dataclass
class Entry:
    """An ``input_cfg`` entry; which keys a type takes is up to ``nemo_vtb.data.sources.formats``.

    Attributes:
        type: What the rows are, by NeMo's names of data types.
        manifest_filepath: JSONL files of rows; ``[[path, weight], ...]`` makes a source of each.
        paths: Files of ``nemo_sft_jsonl``.
        tarred_audio_filepaths: The tars of ``nemo_tarred``, one for each manifest.
        cuts_path: Lhotse manifests of cuts.
        shar_path: A folder of Lhotse Shar, several, ``[[path, weight], ...]``, or its fields with their files.
        audio_root: Folder that relative paths of clips begin from.
        data_dir: Folder of the tars of ``share_gpt_webdataset``.
        audio_field: The field of a row that names its clip.
        text_field: The field of a row that has its transcript.
        lang_field: The field of a row that has its language.
        prompts: Instructions for recognition and translation: a file of ``conf/prompts``, or a path.
        only: Rows with these values alone, e.g. ``{split: train}``.
        tags: Values for every row, e.g. ``{lang: en}``.
        learn: Which answers of a conversation are learnt: ``all``, or the ``last``.
        keep_empty: Whether rows with an empty answer are kept.
        channel_selector: Which channel of a clip is heard.
        audio_first: Share of its conversations whose clip stands before its instruction, where either may come first.
        speak: Sentences of its conversations are spoken by a bank of recordings.
        weight: Of this entry among those of its level; without weights, each weighs as many conversations as it has.
        name: What it is counted under; without one, the folder of its first file.
    """

    type: str = "multimodal_conversation"
    manifest_filepath: Files = None
    paths: Files = None
    tarred_audio_filepaths: Files = None
    cuts_path: Files = None
    shar_path: str | list[Any] | dict[str, Any] | None = None
    audio_root: str | None = None
    data_dir: Files = None
    audio_field: str | None = None
    text_field: str | None = None
    lang_field: str | None = None
    prompts: str | None = None
    only: dict[str, Any] | None = None
    tags: dict[str, Any] | None = None
    learn: Literal["all", "last"] = "all"
    keep_empty: bool = False
    channel_selector: int | str | list[Any] | None = None
    audio_first: Share | None = None
    speak: dict[str, Any] | None = None
    weight: float | None = None
    name: str | None = None


@dataclass
class Kind:
    """A kind of a blend, or of what is validated.

    Attributes:
        share: Of the blend: a number, or numbers by step, between which it moves in straight lines.
        input_cfg: Its sources: entries, or the path of a YAML file of them.
        reweight_temperature: Of the sources' weights, one for all levels of groups or one for each; 0 makes them equal.
        speak: For all its entries.
    """

    share: Annotated[float, Range(0)] | dict[Any, Annotated[float, Range(0)]] | None = None
    input_cfg: str | list[dict[str, Any]] | None = None
    reweight_temperature: Annotated[float, Range(0)] | list[Annotated[float, Range(0)]] = 1.0
    speak: dict[str, Any] | None = None


@dataclass
class TrainKind(Kind):
    """A kind of a blend, in training.

    Attributes:
        augment: What is done to its clips, in place of the section's own.
    """

    augment: dict[str, Any] | None = None


@dataclass
class BlendSection:
    """The section ``blend``.

    Attributes:
        unit: What shares count.
        strategy: ``stratified``: every batch has its share of each kind; ``mixed``: each conversation is drawn by
            itself; ``alternate``: one kind a step.
        together: Kinds that ``alternate`` takes as one.
        kinds: By name: text, asr, ast, sqa, mixed.
    """

    unit: Literal["supervised_tokens", "total_tokens", "examples", "steps"] = "supervised_tokens"
    strategy: Literal["stratified", "mixed", "alternate"] = "stratified"
    together: list[str] = field(default_factory=list)
    kinds: dict[str, TrainKind] = field(default_factory=dict)


@dataclass
class TrainSection(Reading):
    """All keys of ``data.train_ds`` with a blend; without one, NeMo reads it.

    Attributes:
        blend: What a batch holds.
        augment: What is done to the clips of every kind.
        shuffle: NeMo's; a blend is always shuffled.
        indexed: NeMo's; a blend always is.
        use_stateful_dataloader: NeMo's; a blend's always is.
    """

    blend: dict[str, Any] | None = None
    augment: dict[str, Any] | None = None
    shuffle: Any = True
    indexed: bool = True
    use_stateful_dataloader: bool = True


@dataclass
class HeldOutSection(Reading):
    """All keys of ``data.validation_ds`` with kinds; without them, NeMo reads it.

    Attributes:
        kinds: What is validated, by name; each kind has batches and a loss of its own.
        shuffle: NeMo's; what is held out is not shuffled.
        indexed: NeMo's; this always is.
        use_stateful_dataloader: NeMo's; this always is.
    """

    kinds: dict[str, Any] | None = None
    shuffle: Any = False
    indexed: bool = True
    use_stateful_dataloader: bool = True


def check_train_section(section: Mapping[str, Any]) -> None:
    """Refuses a ``train_ds`` section with a blend that could not be read as it says.

    Raises:
        VTBError: Names the key that is unknown or odd, and what it may hold.
    """
    read_options(TrainSection, section, "data.train_ds")
    for key in _ALWAYS_ON:
        if not section.get(key, True):
            raise VTBError(
                f"data.train_ds.{key}=false cannot be had with a blend: its loader always is; remove the key"
            )
    blend = section_of(section, "blend")
    read_options(BlendSection, blend, "data.train_ds.blend")
    if not blend.get("kinds"):
        raise VTBError(
            "missing config key data.train_ds.blend.kinds: a blend needs a kind with a share and an input_cfg"
        )


def augments(section: Mapping[str, Any]) -> bool:
    """Whether a ``train_ds`` section changes the clips of any kind."""
    kinds = section_of(section_of(section, "blend"), "kinds").values()
    return any(kind.get("augment", section.get("augment")) for kind in kinds)


def check_held_out_section(section: Mapping[str, Any]) -> None:
    """Likewise a ``validation_ds`` section with ``kinds``.

    Raises:
        VTBError: Names the key that is unknown or odd, and what it may hold.
    """
    read_options(HeldOutSection, section, "data.validation_ds")
    for name, kind in section_of(section, "kinds").items():
        read_options(Kind, kind, f"data.validation_ds.kinds.{name}")


def check_entry(entry: Mapping[str, Any], where: str) -> None:
    """Refuses an ``input_cfg`` entry whose keys hold what they cannot.

    Raises:
        VTBError: Names the key.
    """
    for key, hint in get_type_hints(Entry, include_extras=True).items():
        if entry.get(key) == "":
            raise VTBError(f"{where}.{key} is empty; name what it stands for, or leave the key out")
        if entry.get(key) is not None:
            typed(f"{where}.{key}", entry[key], hint)
    for name in TURN_TAGS:
        typed(f"{where}.tags.{name}", (entry.get("tags") or {}).get(name), str | None)
