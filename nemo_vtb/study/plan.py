"""What a study runs: arms of one training config, each with several seeds, all on the same budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nemo_vtb.config import check_keys
from nemo_vtb.errors import VTBError
from nemo_vtb.study.settings import settings_of
from nemo_vtb.synthesis.job_options import part_of
from nemo_vtb.training import compose

_KEYS = ("out", "part", "only", "threads", "keep_checkpoints", "train", "common", "arms", "claims", "measure")
_ARM_KEYS = ("title", "text_share", "overrides", "seeds")
_MEASURE_KEYS = ("seed", "device", "batch_size", "eval", "apart")


@dataclass(frozen=True)
class Run:
    """One seed of an arm.

    Attributes:
        arm: Its name.
        seed: Of the training.
        folder: What it makes stands here.
        overrides: Of the training config; with its name they are the command that trains it.
        settings: All that decides what comes out, as plain JSON: ``training``, ``measure``, and the SHA-256 of every
            data file by name as ``files``.
    """

    arm: str
    seed: int
    folder: Path
    overrides: Sequence[str]
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.arm}, seed {self.seed}"

    @property
    def done(self) -> bool:
        """Whether it is trained and measured."""
        return (self.folder / "arm.json").exists()


@dataclass(frozen=True)
class Arm:
    """What is compared.

    Attributes:
        title: In words.
        text_share: Of training, 0 to below 1; None leaves the blend as it is.
        overrides: Of the training config.
        seeds: One run each.
    """

    title: str
    text_share: float | None
    overrides: Sequence[str]
    seeds: Sequence[int]


@dataclass(frozen=True)
class Study:
    """A study as its config says.

    Attributes:
        out: Its folder.
        train: Name of the training config.
        arms: By name.
        runs: All seeds of all arms, the first seed of every arm first.
        part: Number and how many: of ``n`` parts, part ``i`` runs what is ``i`` modulo ``n``.
        only: Names of the arms to run now.
        threads: Of one process.
        keep_checkpoints: Whether checkpoints stay when their arm is measured.
        claims: As in ``nemo_vtb.study.claims``.
        measure: As in ``conf/study/measure.yaml``.
    """

    out: Path
    train: str
    arms: Mapping[str, Arm]
    runs: Sequence[Run]
    part: tuple[int, int]
    only: Sequence[str]
    threads: int
    keep_checkpoints: bool
    claims: Sequence[Mapping[str, Any]]
    measure: Mapping[str, Any]

    @property
    def mine(self) -> list[Run]:
        """The runs of this part."""
        number, parts = self.part
        return [run for run in self.runs[number::parts] if not self.only or run.arm in self.only]


def read_study(cfg: DictConfig, config_dir: str | None = None) -> Study:
    """Reads a config as in ``conf/study/quickstart.yaml`` and composes the training config of every run.

    Args:
        cfg: The composed config.
        config_dir: The user's own folder of configs, where training configs are looked for too.

    Raises:
        VTBError: Names the key that is unknown, missing or odd.
    """
    check_keys(cfg, _KEYS, "config")
    try:
        plain: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise VTBError(f"vtb study: {error}") from error
    for key in ("train", "arms", "measure"):
        if not plain.get(key):
            raise VTBError(f"missing config key {key}: see conf/study/quickstart.yaml")
    check_keys(plain["measure"], _MEASURE_KEYS, "measure")
    arms = {name: _arm(section, f"arms.{name}") for name, section in plain["arms"].items()}
    if unknown := [name for name in plain.get("only") or [] if name not in arms]:
        raise VTBError(f"only={unknown[0]}: the arms are {', '.join(arms)}")
    threads = plain.get("threads", 1)
    if type(threads) is not int or threads < 1:
        raise VTBError(f"threads={threads!r}: a whole number of at least 1")
    out = Path(plain.get("out", "runs/study"))
    common = [str(override) for override in plain.get("common") or []]
    runs = []
    for place in range(max(len(arm.seeds) for arm in arms.values())):
        for name, arm in arms.items():
            if place < len(arm.seeds):
                seed = arm.seeds[place]
                overrides = [*common, *arm.overrides]
                overrides += [*_text_share(plain["train"], overrides, arm, name, config_dir), f"seed={seed}"]
                training = compose(plain["train"], overrides, config_dir)
                settings = settings_of(training, plain["measure"])
                runs.append(Run(name, seed, out / "arms" / name / f"seed{seed}", overrides, settings))
    return Study(
        out=out,
        train=plain["train"],
        arms=arms,
        runs=runs,
        part=part_of(plain.get("part", "0/1")),
        only=plain.get("only") or [],
        threads=threads,
        keep_checkpoints=bool(plain.get("keep_checkpoints", True)),
        claims=plain.get("claims") or [],
        measure=plain["measure"],
    )


def _arm(section: Any, where: str) -> Arm:
    if not isinstance(section, Mapping):
        raise VTBError(f"{where} is {section!r}; it is a section with title, text_share, overrides and seeds")
    check_keys(section, _ARM_KEYS, where)
    share, seeds = section.get("text_share"), section.get("seeds", [0])
    if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1):
        raise VTBError(f"{where}.text_share is {share!r}; it is a share of at least 0 and below 1")
    if not isinstance(seeds, list) or not seeds or any(type(seed) is not int or seed < 0 for seed in seeds):
        raise VTBError(f"{where}.seeds is {seeds!r}; it is a list of whole numbers, e.g. [0, 1, 2]")
    if len(set(seeds)) < len(seeds):
        raise VTBError(f"{where}.seeds names a seed twice")
    overrides = [str(override) for override in section.get("overrides") or []]
    return Arm(str(section.get("title", where.rpartition(".")[2])), share, overrides, seeds)


def _text_share(train: str, overrides: Sequence[str], arm: Arm, name: str, config_dir: str | None) -> list[str]:
    """Overrides that give text its share, while the other kinds keep their proportions."""
    if arm.text_share is None:
        return []
    blend = compose(train, [*overrides], config_dir).data.train_ds.get("blend")
    kinds = blend.get("kinds") if blend is not None else None
    if kinds is None or "text" not in kinds:
        raise VTBError(f"arms.{name}.text_share: the config '{train}' has no data.train_ds.blend.kinds.text to change")
    if arm.text_share == 0:
        return ["~data.train_ds.blend.kinds.text"]
    others = sum(float(section.share) for kind, section in kinds.items() if kind != "text")
    share = others * arm.text_share / (1 - arm.text_share)
    return [f"data.train_ds.blend.kinds.text.share={share:.8g}"]
