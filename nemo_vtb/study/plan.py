"""What a study runs: arms of one training config, each with several seeds, all on the same budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nemo_vtb.config import ConfigDirs, check_keys, compose
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.run import EvalSection
from nemo_vtb.models.for_machine import threads_here
from nemo_vtb.options import Count, Seed, part_of, read_options
from nemo_vtb.parts.machine.choice import AUTO
from nemo_vtb.study.arms import Arm, read_arms, share_overrides
from nemo_vtb.study.settings import settings_of


@dataclass
class MeasureSection:
    """The section ``measure``; see ``conf/study/measure.yaml``.

    Attributes:
        eval: What every arm is asked, as in ``vtb eval``.
        seed: Of the bootstrap.
        device: Of the model.
        precision: Of answers.
        batch_size: Prompts at a time.
        apart: Sets that are left out of the averages.
    """

    eval: EvalSection
    seed: Seed = 0
    device: str = "cpu"
    precision: Literal["auto", "32-true", "bf16-mixed"] = "32-true"
    batch_size: Count = 32
    apart: list[str] = field(default_factory=list)


@dataclass
class StudySection:
    """The whole config of ``vtb study``; what is Any here is checked by who reads it.

    Attributes:
        train: Name of the config that every arm is trained from.
        arms: What is compared, by name.
        measure: What every arm is asked.
        out: Folder of the study.
        part: ``0/2``: of two processes that share the work, this is the first.
        only: Arms to run now, by name; all of them without it.
        threads: Of one process; ``auto``: all cores.
        keep_checkpoints: Whether checkpoints stay when their arm is measured.
        common: Overrides of the training config for every arm.
        claims: Rules on the numbers, judged at the end.
    """

    train: str
    arms: dict[str, Any]
    measure: MeasureSection
    out: str = "runs/study"
    part: str = "0/1"
    only: Any = None
    threads: Any = 1
    keep_checkpoints: bool = True
    common: list[str] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)


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
        weights: Folder of the run whose weights are measured; None where this run trains its own.
    """

    arm: str
    seed: int
    folder: Path
    overrides: Sequence[str]
    settings: Mapping[str, Any]
    weights: Path | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.arm}, seed {self.seed}"

    @property
    def done(self) -> bool:
        """Whether it is trained and measured."""
        return (self.folder / "arm.json").exists()


@dataclass(frozen=True)
class Study:
    """A study as its config says.

    Attributes:
        out: Its folder.
        train: Name of the training config.
        arms: By name.
        runs: All seeds of all arms, the first seed of every arm first, those with the weights of others last.
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


def read_study(cfg: DictConfig, config_dir: ConfigDirs = None) -> Study:
    """Reads a config as in ``conf/study/quickstart.yaml`` and composes the training config of every run.

    Args:
        cfg: The composed config.
        config_dir: The user's own folders of configs, where training configs are looked for too.

    Raises:
        VTBError: Names the key that is unknown, missing or odd.
    """
    check_keys(cfg, [field.name for field in fields(StudySection)], "config")
    try:
        plain: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise VTBError(f"vtb study: {error}") from error
    for key in ("train", "arms", "measure"):
        if not plain.get(key):
            raise VTBError(f"missing config key {key}: see conf/study/quickstart.yaml")
    read_options(StudySection, plain, nulls=True)
    keep = plain.get("keep_checkpoints", True)
    arms = read_arms(plain["arms"], keep)
    if not isinstance(plain.get("only") or [], list):
        raise VTBError(f"only={plain['only']}: it is a list of arms, e.g. only=[{plain['only']}]")
    if unknown := [name for name in plain.get("only") or [] if name not in arms]:
        raise VTBError(f"only={unknown[0]}: the arms are {', '.join(arms)}")
    threads = plain.get("threads", 1)
    if threads != AUTO and (type(threads) is not int or threads < 1):
        raise VTBError(f"threads={threads!r}: a whole number of at least 1, or auto")
    threads = threads_here(threads).value
    out = Path(plain.get("out", "runs/study"))
    common = [str(override) for override in plain.get("common") or []]
    runs = []
    for place in range(max(len(arm.seeds) for arm in arms.values())):
        for name, arm in arms.items():
            if place < len(arm.seeds):
                seed = arm.seeds[place]
                overrides = [*common, *arm.overrides]
                overrides += [*share_overrides(plain["train"], overrides, arm, name, config_dir), f"seed={seed}"]
                training = _composed(plain["train"], overrides, config_dir, name)
                settings = settings_of(training, {**plain["measure"], **arm.asked_with})
                weights = out / "arms" / arm.weights_of / f"seed{seed}" if arm.weights_of else None
                runs.append(Run(name, seed, out / "arms" / name / f"seed{seed}", overrides, settings, weights))
    runs.sort(key=lambda run: run.weights is not None)
    return Study(
        out=out,
        train=plain["train"],
        arms=arms,
        runs=runs,
        part=part_of(plain.get("part", "0/1")),
        only=plain.get("only") or [],
        threads=threads,
        keep_checkpoints=keep,
        claims=plain.get("claims") or [],
        measure=plain["measure"],
    )


def _composed(train: str, overrides: Sequence[str], config_dir: ConfigDirs, arm: str) -> DictConfig:
    try:
        return compose(train, overrides, config_dir)
    except VTBError as error:
        raise VTBError(f"train={train} with common and arms.{arm}.overrides: {error}") from error
