"""What a study runs: arms of one training config, each with several seeds, all on the same budget."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nemo_vtb.config import ConfigDirs, check_keys, compose, referred_keys
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.run import EvalSection
from nemo_vtb.models.for_machine import threads_here
from nemo_vtb.options import Count, Range, Seed, part_of, read_options
from nemo_vtb.parts.machine.choice import AUTO
from nemo_vtb.study.arms import Arm, read_arms, share_overrides
from nemo_vtb.study.settings import settings_of

LENGTH_FILE = "length.json"


@dataclass
class LengthSection:
    """The section ``length``: how long arms train is found on one run; see ``nemo_vtb.study.design.length``.

    Attributes:
        arm: Whose run.
        kinds: Kinds of ``data.validation_ds`` whose mean held-out loss is the speech curve.
        seed: Of that run.
        most: Steps at most.
        every: Steps from one check to the next.
        gain: Share of the loss that is no gain any more.
        checks: Further checks that must bring no more.
    """

    arm: str
    kinds: list[str]
    seed: Seed = 0
    most: Count = 1000
    every: Count = 50
    gain: Annotated[float, Range(0, 1)] = 0.02
    checks: Count = 2


@dataclass
class WaySection:
    """The section ``measure.way``: what is asked before the end.

    Attributes:
        at: Shares of the way, e.g. a quarter and a half.
        ask: Names of sets and suites.
    """

    at: list[Annotated[float, Range(0, 1, above=True)]]
    ask: list[str]


@dataclass
class PowerSection:
    """The section ``power``: what ``vtb study --power`` takes for granted; see ``nemo_vtb.study.design.power``.

    Attributes:
        points: Points of 100 that a difference of shares is to be found at.
        bits: Bits per byte, and nats, that a difference of likelihoods is to be found at.
        earlier: A ``study.json`` whose seeds stand in where this study has one seed only.
    """

    points: Annotated[float, Range(0, above=True)] = 5.0
    bits: Annotated[float, Range(0, above=True)] = 0.05
    earlier: str | None = None


@dataclass
class MeasureSection:
    """The section ``measure``; see ``conf/study/measure.yaml``.

    Attributes:
        eval: What every arm is asked, as in ``vtb eval``.
        seed: Of the bootstrap.
        device: Of the model.
        precision: Of answers.
        batch_size: Most prompts at a time; fewer where their keys and values would take more than a gibibyte.
        apart: Sets that are left out of the averages.
        way: What runs are asked before their end.
    """

    eval: EvalSection
    seed: Seed = 0
    device: str = "cpu"
    precision: Literal["auto", "32-true", "bf16-mixed"] = "32-true"
    batch_size: Count = 128
    apart: list[str] = field(default_factory=list)
    way: WaySection | None = None


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
        nice: Added to the niceness of this process and its runs: 19 leaves the machine to everybody else.
        resume_every: Steps between two checkpoints that a killed run goes on from.
        length: How long arms train is found by ``vtb study --length``; without it the training config says so.
        power: What ``vtb study --power`` takes for granted.
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
    nice: Annotated[int, Range(0, 19)] = 0
    resume_every: Count = 50
    length: LengthSection | None = None
    power: PowerSection = field(default_factory=PowerSection)


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
        nice: Niceness that is added.
        resume_every: Steps between two checkpoints that a killed run goes on from.
        length: The section; None where the training config says how long.
        power: The section.
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
    nice: int = 0
    resume_every: int = 50
    length: Mapping[str, Any] | None = None
    power: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mine(self) -> list[Run]:
        """The runs of this part."""
        number, parts = self.part
        return [run for run in self.runs[number::parts] if not self.only or run.arm in self.only]

    def finished(self) -> "Study":
        """The study as if no more had been planned than what is finished: fewer seeds, and fewer arms.

        Raises:
            VTBError: If nothing is.
        """
        done = [run for run in self.runs if run.done]
        if not done:
            raise VTBError(f"{self.out} holds no finished run: start the study without --power and --so-far first")
        seeds = {name: [run.seed for run in done if run.arm == name] for name in self.arms}
        arms = {name: replace(arm, seeds=seeds[name]) for name, arm in self.arms.items() if seeds[name]}
        return replace(self, arms=arms, runs=done)


def read_study(cfg: DictConfig, config_dir: ConfigDirs = None, steps: int | None = None) -> Study:
    """Reads a config as in ``conf/study/quickstart.yaml`` and composes the training config of every run.

    Args:
        cfg: The composed config.
        config_dir: The user's own folders of configs, where training configs are looked for too.
        steps: Of every run, where the length is still to be found; else the chosen ones.

    Raises:
        VTBError: Names the key that is unknown, missing or odd.
    """
    check_keys(cfg, {field.name for field in fields(StudySection)} | referred_keys(cfg), "config")
    try:
        plain: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise VTBError(f"vtb study: {error}") from error
    for key in ("train", "arms", "measure"):
        if not plain.get(key):
            raise VTBError(f"missing config key {key}: see conf/study/quickstart.yaml")
    read_options(StudySection, plain, others=referred_keys(cfg), nulls=True)
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
    _check_measure(plain["measure"])
    if plain.get("length"):
        if plain["length"]["arm"] not in arms:
            raise VTBError(f"length.arm is {plain['length']['arm']!r}; the arms are {', '.join(arms)}")
        common.append(f"trainer.max_steps={steps or _chosen_steps(out)}")
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
        nice=plain.get("nice") or 0,
        resume_every=plain.get("resume_every") or 50,
        length=plain.get("length"),
        power=plain.get("power") or {},
    )


def length_section(section: Mapping[str, Any] | None) -> LengthSection:
    """Reads the section ``length``.

    Raises:
        VTBError: If there is none.
    """
    if not section:
        raise VTBError("vtb study --length needs the section length: the arm, the kinds, most, every, gain and checks")
    return read_options(LengthSection, section, "length")


def _chosen_steps(out: Path) -> int:
    path = out / LENGTH_FILE
    if not path.exists():
        raise VTBError(
            f"how long arms train is not chosen yet ({path} is missing): add --length to the same line first"
        )
    return int(json.loads(path.read_text(encoding="utf-8"))["steps"])


def _check_measure(measure: Mapping[str, Any]) -> None:
    """Refuses names of sets that are not there, and what ``vtb eval`` alone does."""
    asked = measure["eval"]
    known = [name for key in ("sets", "text") for name in asked.get(key) or {}]
    for key, names in (("way.ask", (measure.get("way") or {}).get("ask")), ("apart", measure.get("apart"))):
        if unknown := [name for name in names or [] if name not in known]:
            raise VTBError(f"measure.{key} names {unknown[0]!r}, which is none of {', '.join(known)}: leave it out")
    for key in ("judge", "max_text_drop"):
        if asked.get(key) is not None:
            raise VTBError(f"measure.eval.{key} does nothing in a study: vtb eval takes it; leave it out")


def _composed(train: str, overrides: Sequence[str], config_dir: ConfigDirs, arm: str) -> DictConfig:
    try:
        return compose(train, overrides, config_dir)
    except VTBError as error:
        raise VTBError(f"train={train} with common and arms.{arm}.overrides: {error}") from error
