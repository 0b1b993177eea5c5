"""How many seeds a claim needs, from the first ones: what a difference of two arms varies by, over items and seeds.

The variance of a difference is that over items, from the paired draws of one seed, and that over seeds, which more
seeds divide. A difference is found if it is larger than ``z(0.975) + z(0.8)`` of its standard deviations: then an
interval of 95 % excludes 0 four times in five.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from nemo_vtb.data.files.locations import locate
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.scoring.bootstrap import Drawing
from nemo_vtb.reports.figures import in_columns
from nemo_vtb.study.sampled import Sampled
from nemo_vtb.study.scores import UNTOUCHED, Answers, measure_of, scores_of

LEVEL, POWER = 0.95, 0.8
MOST_SEEDS = 50
_RULES = ("better_than", "worse_than", "loses_at_most")


@dataclass(frozen=True)
class Need:
    """What one difference needs.

    Attributes:
        claim: Title.
        measure: By name.
        arm: One of the two.
        other: The other.
        wanted: The difference that is to be found, in the measure's own unit.
        observed: The difference of the first seeds.
        item_sd: Standard deviation of the difference over items, with one seed.
        seed_sd: Of an arm's score over seeds.
        seeds_known_from: Where that comes from.
        planned: Seeds of the arm with fewer.
        detectable: The smallest difference that is found with the planned seeds.
        needed: Seeds of each arm; None where no number of seeds is enough, and more items are needed.
    """

    claim: str
    measure: str
    arm: str
    other: str
    wanted: float
    observed: float
    item_sd: float
    seed_sd: float
    seeds_known_from: str
    planned: int
    detectable: float
    needed: int | None


def detectable(item_sd: float, seed_sd: float, seeds: int, arms: int = 2) -> float:
    """The smallest difference that is found with so many seeds.

    Args:
        item_sd: See ``Need``.
        seed_sd: See ``Need``.
        seeds: Of each arm.
        arms: How many of the two have seeds; the untouched LLM has none.
    """
    normal = NormalDist()
    factor = normal.inv_cdf((1 + LEVEL) / 2) + normal.inv_cdf(POWER)
    return factor * sqrt(item_sd**2 + arms * seed_sd**2 / seeds)


def seeds_needed(wanted: float, item_sd: float, seed_sd: float, arms: int = 2) -> int | None:
    """The smallest number of seeds with which a difference is found; None above ``MOST_SEEDS``."""
    enough = (n for n in range(1, MOST_SEEDS + 1) if detectable(item_sd, seed_sd, n, arms) <= wanted)
    return next(enough, None)


def power(
    claims: Sequence[Mapping[str, Any]],
    answers: Mapping[str, Sequence[Answers]],
    untouched: Answers,
    planned: Mapping[str, int],
    settings: Mapping[str, Any],
    drawing: Drawing,
    apart: Sequence[str] = (),
    weights: Mapping[str, str] | None = None,
    seeds_of: Mapping[str, Sequence[int]] | None = None,
) -> list[Need]:
    """Says for each difference in the claims how many seeds it needs, as far as both of its arms have a run.

    Args:
        claims: As in ``nemo_vtb.study.claims``.
        answers: By arm and seed, as far as they are there.
        untouched: The untouched LLM's.
        planned: Seeds of each arm in the config.
        settings: The section ``power``.
        drawing: Of items.
        apart: See ``scores_of``.
        weights: See ``scores_of``.
        seeds_of: See ``scores_of``.

    Raises:
        VTBError: If the earlier study that is named cannot be read.
    """
    every = scores_of({**answers, UNTOUCHED: [untouched]}, drawing, apart, weights, seeds_of)
    own = {arm: {name: score.seeds for name, score in found.items()} for arm, found in every.items()}
    earlier = _earlier(settings.get("earlier"))
    needs = []
    for claim in claims:
        for rule in claim.get("evidence") or []:
            kind = next((key for key in _RULES if key in rule), None)
            if kind is None:
                continue
            measure, arm = rule["measure"], rule["arm"]
            other = rule["of"] if kind == "loses_at_most" else rule[kind]
            if measure not in every.get(arm, {}) or measure not in every.get(other, {}):
                continue
            one, two = every[arm][measure], every[other][measure]
            item_sd = float(np.nanstd(one.draws[:, 0] - two.draws[:, 0]))
            paired = one.weights == two.weights
            seed_sd, known_from = _paired_sd(one, two) if paired else _seed_sd(measure, own, earlier, item_sd)
            percent = measure_of(measure).unit == "percent"
            wanted = settings.get("points", 5.0) / 100 if percent else settings.get("bits", 0.05)
            if kind == "loses_at_most":
                wanted = min(wanted, rule[kind]) or wanted
            arms = 1 if paired else sum(name != UNTOUCHED for name in (arm, other))
            seeds = min(planned[name] for name in (arm, other) if name != UNTOUCHED)
            needs.append(
                Need(claim["title"], measure, arm, other, wanted, one.seeds[0] - two.seeds[0], item_sd, seed_sd,
                     known_from, seeds, detectable(item_sd, seed_sd, seeds, arms),
                     seeds_needed(wanted, item_sd, seed_sd, arms))
            )  # fmt: skip
    return needs


def power_lines(needs: Sequence[Need]) -> list[str]:
    """The needs as a table for the terminal."""
    head = ["measure", "arms", "observed", "wanted", "sd items", "sd seeds", "planned", "found from", "seeds needed"]
    rows = [head]
    for need in needs:
        scale, digits = (100.0, 1) if measure_of(need.measure).unit == "percent" else (1.0, 4)
        numbers = (need.observed, need.wanted, need.item_sd, need.seed_sd)
        shown = [f"{scale * value:.{digits}f}" for value in numbers]
        rows.append([
            need.measure, f"{need.arm} − {need.other}", *shown, str(need.planned),
            f"{scale * need.detectable:.{digits}f}",
            f"more items ({MOST_SEEDS} seeds do not do)" if need.needed is None else str(need.needed),
        ])  # fmt: skip
    sources = sorted({f"sd seeds: {need.measure} from {need.seeds_known_from}" for need in needs})
    return [*in_columns(rows), "", *sources]


def _paired_sd(one: Sampled, other: Sampled) -> tuple[float, str]:
    """Of the difference of two arms that ask the same weights."""
    gaps = [
        one.seeds[one.ids.index(seed)] - other.seeds[other.ids.index(seed)] for seed in one.ids if seed in other.ids
    ]
    if len(gaps) < 2:
        return 0.0, "one seed, the same on both sides"
    return float(np.std(gaps, ddof=1)), "this study, each seed against itself"


def _seed_sd(
    measure: str,
    own: Mapping[str, Mapping[str, Sequence[float]]],
    earlier: Mapping[str, Mapping[str, Sequence[float]]],
    item_sd: float,
) -> tuple[float, str]:
    """Pooled over the arms with several seeds: of this study, else of the earlier one; else that over items."""
    for where, arms in (("this study", own), ("the earlier study", earlier)):
        names = (measure, measure.partition("/")[0]) if arms is earlier else (measure,)
        for name in names:
            several = [found[name] for found in arms.values() if len(found.get(name, ())) > 1]
            if several:
                squares = sum(float(np.var(seeds, ddof=1)) * (len(seeds) - 1) for seeds in several)
                return sqrt(squares / sum(len(seeds) - 1 for seeds in several)), where
    return item_sd, "that over items: one seed says nothing of it, so run a second"


def _earlier(path: str | None) -> dict[str, dict[str, list[float]]]:
    if path is None:
        return {}
    file = Path(locate(path))
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        return {
            arm: {name: score["seeds"] for name, score in about["scores"].items()}
            for arm, about in report["arms"].items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VTBError(f"power.earlier={path} is no study.json of vtb study ({error}): leave it out") from error
