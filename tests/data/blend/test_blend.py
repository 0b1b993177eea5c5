import json
from hashlib import sha256

import numpy as np
import pytest

from nemo_vtb.data.blend import walk as walk_module
from nemo_vtb.data.blend.chance import chances
from nemo_vtb.data.blend.shares import Shares
from nemo_vtb.data.blend.walk import Blend, BlendState
from nemo_vtb.data.conversations.size import Size
from nemo_vtb.errors import VTBError

SIZES = {"text": Size(120, 60), "asr": Size(50, 10), "mixed": Size(60, 15)}


class Rows:
    """A source in memory: (total, supervised) per row, and a second of audio."""

    def __init__(self, name, sizes, weight=1.0):
        self.name, self.weight, self._sizes = name, weight, np.array([(*size[:2], 1.0) for size in sizes])
        self.fingerprint = str(len(sizes))

    def __len__(self):
        return len(self._sizes)

    def draw(self, index, epoch):
        return self.name, index, epoch

    def sizes(self, indices, epoch):
        return self._sizes[indices]


def blend(shares=None, **options):
    sources = {kind: [Rows(kind, [size] * 7)] for kind, size in SIZES.items()}
    return Blend(sources, shares or {"text": 0.2, "asr": 0.5, "mixed": 0.3}, **options)


def of_lengths(shares, seed=0, **options):
    """Kinds whose conversations differ as much as real ones do."""
    rng = np.random.default_rng(seed)
    sources = {}
    for kind, mean in {"text": 300, "asr": 60, "ast": 70, "sqa": 90, "mixed": 120}.items():
        totals = np.clip(rng.lognormal(np.log(mean), 0.7, 500), 10, 1500).astype(int)
        supervised = np.maximum(1, totals * rng.uniform(0.1, 0.6, 500)).astype(int)
        sources[kind] = [Rows(kind, list(zip(totals, supervised, strict=True)))]
    return Blend(sources, shares, **options)


def steps(walk, count, budget=600, ranks=1):
    state = walk.start()
    return [walk.step(state, budget, ranks) for _ in range(count)]


def units(rows, unit):
    return sum(
        {"supervised_tokens": r.size.supervised, "total_tokens": r.size.total, "examples": 1}[unit] for r in rows
    )


FIVE = {"text": 0.15, "asr": 0.25, "ast": 0.15, "sqa": 0.2, "mixed": 0.25}


@pytest.mark.parametrize("strategy", ["stratified", "mixed", "alternate"])
@pytest.mark.parametrize("unit", ["supervised_tokens", "total_tokens", "examples"])
def test_shares_hold_within_a_point_and_ranks_work_alike(unit, strategy):
    taken = steps(of_lengths(FIVE, unit=unit, strategy=strategy), 400, budget=2048, ranks=2)
    rows = [row for step in taken for batch in step for row in batch]
    for kind, share in FIVE.items():
        assert units([r for r in rows if r.kind == kind], unit) / units(rows, unit) == pytest.approx(share, abs=0.01)
    work = np.array([[units(batch, "total_tokens") for batch in step] for step in taken])
    assert work.max() <= 2048
    assert work.sum(0).max() <= 1.01 * work.sum(0).mean()
    assert (work.max(1) / work.mean(1)).mean() < 1.05


def test_every_batch_on_every_rank_holds_its_share():
    for step in steps(of_lengths(FIVE, unit="total_tokens"), 50, budget=8192, ranks=2):
        for batch in step:
            for kind, share in FIVE.items():
                held = units([row for row in batch if row.kind == kind], "total_tokens")
                # To within one conversation, the longest of which has 1,500 positions.
                assert abs(held - share * 8192) <= 1600


def test_short_conversations_do_not_fill_gaps_beyond_their_share():
    sources = {"long": [Rows("long", [(900, 100)] * 9)], "tiny": [Rows("tiny", [(10, 5)] * 9)]}
    walk = Blend(sources, {"long": 0.99, "tiny": 0.01})
    rows = [row for step in steps(walk, 300, budget=1024) for row in step[0]]
    tiny = sum(row.size.supervised for row in rows if row.kind == "tiny")
    assert tiny / sum(row.size.supervised for row in rows) == pytest.approx(0.01, abs=0.005)


def test_batches_stay_within_the_budget_on_every_rank():
    walk = blend()
    for batch in walk.step(walk.start(), budget=600, ranks=4):
        assert 480 <= sum(row.size.total for row in batch) <= 600


def test_the_state_counts_what_was_drawn():
    walk = of_lengths(FIVE)
    state = walk.start()
    rows = [row for _ in range(3) for batch in walk.step(state, 2048, ranks=2) for row in batch]
    for kind in FIVE:
        sizes = [row.size for row in rows if row.kind == kind]
        amounts = [sum(one.supervised for one in sizes), sum(one.total for one in sizes), len(sizes)]
        assert [state.drawn[kind], state.amounts[kind]] == [[len(sizes)], [amounts]]


def test_an_epoch_holds_every_row_once():
    walk = blend({"text": 1, "asr": 1, "mixed": 1}, unit="examples")
    rows = [row for step in steps(walk, 7, budget=230) for row in step[0]]
    first = [row.row for row in rows if row.kind == "asr" and row.epoch == 0]
    assert sorted(first) == list(range(7)) and first != list(range(7))


@pytest.mark.parametrize("options", [{}, {"strategy": "mixed"}, {"strategy": "alternate", "unit": "steps"}])
def test_a_saved_state_goes_on_with_the_same_rows(options):
    walk, state = blend(**options), blend(**options).start()
    for _ in range(5):
        walk.step(state, budget=600, ranks=2)
    saved = json.loads(json.dumps(state.to_dict()))
    expected = [walk.step(state, budget=600, ranks=2) for _ in range(5)]
    again, resumed = blend(**options), BlendState(**saved)
    assert [again.step(resumed, budget=600, ranks=2) for _ in range(5)] == expected


def test_alternate_gives_each_step_to_one_kind_on_all_ranks():
    walk = blend({"text": 0.15, "asr": 0.6, "mixed": 0.25}, unit="steps", strategy="alternate")
    taken = [{row.kind for batch in step for row in batch} for step in steps(walk, 100, ranks=2)]
    assert all(len(kinds) == 1 for kinds in taken)
    assert sum(kinds == {"text"} for kinds in taken) == pytest.approx(15, abs=1)


def test_the_papers_draw_mixes_speech_and_keeps_text_apart():
    walk = blend(
        {"text": 0.15, "asr": 0.6, "mixed": 0.25}, unit="steps", strategy="alternate", together=["asr", "mixed"]
    )
    taken = [[row.kind for row in step[0]] for step in steps(walk, 200)]
    assert sum("text" in kinds for kinds in taken) == 30
    speech = [kind for kinds in taken if "text" not in kinds for kind in kinds]
    assert {*speech} == {"asr", "mixed"}
    assert speech.count("asr") / len(speech) == pytest.approx(0.6 / 0.85, abs=0.01)


def test_mixed_draws_at_random():
    orders = {tuple(row.kind for row in steps(blend(strategy="mixed", seed=seed), 1)[0][0]) for seed in range(5)}
    assert len(orders) > 3


def test_sources_of_a_kind_keep_their_weights():
    sources = {"asr": [Rows("a", [(50, 10)] * 9, 3.0), Rows("b", [(50, 10)] * 9, 1.0)]}
    rows = [row for step in steps(Blend(sources, {"asr": 1}), 40) for row in step[0]]
    assert sum(row.source == 0 for row in rows) / len(rows) == pytest.approx(0.75, abs=0.01)


def test_shares_move_in_straight_lines():
    shares = Shares({"asr": {0: 0.6, 500: 0.2}, "text": 0.4})
    assert shares.at(0)["asr"] == pytest.approx(0.6)
    assert shares.at(250)["asr"] == pytest.approx(0.4 / 0.8)
    assert shares.at(500) == shares.at(9000) == pytest.approx({"asr": 1 / 3, "text": 2 / 3})


def test_the_walk_follows_moving_shares_and_counts_accumulated_batches_as_one_step():
    walk = blend(
        {"asr": {0: 1.0, 100: 0.0}, "text": {0: 0.0, 100: 1.0}, "mixed": 1.0}, unit="examples", batches_per_step=2
    )
    taken = [[row.kind for row in step[0]] for step in steps(walk, 200)]
    assert "text" not in taken[0] and "asr" not in taken[-1]
    for start in (0, 50, 100, 150):
        kinds = [kind for batch in taken[start : start + 50] for kind in batch]
        expected = 0.5 * (1 - (start + 25) / 200)
        assert kinds.count("asr") / len(kinds) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "bytes"}, "blend.unit must be one of"),
        ({"strategy": "random"}, "blend.strategy must be one of"),
        ({"unit": "steps"}, "needs blend.strategy=alternate"),
        ({"together": ["asr"]}, "needs blend.strategy=alternate"),
        ({"together": ["asp"], "strategy": "alternate"}, "names asp"),
        ({"shares": {"text": 1, "asr": 1}}, "every kind needs a share"),
        ({"shares": {"text": 1, "asr": 1, "mixed": 0}}, "never above 0"),
        ({"shares": {"text": 1, "asr": 1, "mixed": "much"}}, "must be a number"),
        ({"shares": {"text": 1, "asr": 1, "mixed": -1}}, "at least 0"),
        ({"shares": {"text": 1, "asr": 1, "mixed": float("inf")}}, "at least 0"),
        ({"shares": {"text": 1, "asr": 1, "mixed": {-5: 1}}}, "at least 0"),
        ({"shares": {"text": 1, "asr": 1, "mixed": {}}}, "at least 0"),
        ({"shares": {kind: {0: 1, 9: 0} for kind in SIZES}}, "at step 9 no kind"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(VTBError, match=message):
        blend(**options)


# Of the first version of the walk, so that no later one gives a resumed run other conversations.
@pytest.mark.parametrize(
    ("options", "digest"),
    [
        ({}, "499b986e71cfd5be"),
        ({"unit": "total_tokens"}, "9214129b1d6360bc"),
        ({"strategy": "mixed"}, "262008ea4688f55b"),
        ({"strategy": "alternate", "unit": "steps", "together": ["asr", "mixed"]}, "11989529c9bda985"),
    ],
)
def test_the_walk_is_the_same_in_every_version(options, digest):
    sources = {
        kind: [
            Rows(kind, [(40 + 37 * row % 211, 3 + row % 17 + number) for row in range(rows)], weight)
            for rows, weight in ((3000, 3.0), (700, 1.0))
        ]
        for number, kind in enumerate(("text", "asr", "mixed"))
    }
    walk = Blend(sources, {"text": 0.2, "asr": {0: 0.5, 40: 0.1}, "mixed": 0.3}, seed=11, **options)
    rows = [[list(row[:4]) for row in batch] for step in steps(walk, 80, 2000, 3) for batch in step]
    assert sha256(json.dumps(rows).encode()).hexdigest()[:16] == digest


def test_the_rows_of_one_rank_are_those_of_the_whole_step():
    walk, other = of_lengths(FIVE), of_lengths(FIVE)
    whole, own = walk.start(), other.start()
    for _ in range(20):
        assert other.own_batch(own, 600, 4, rank=2) == walk.step(whole, 600, 4)[2]
    assert own == whole


@pytest.mark.parametrize("first", [0, 1, 6, 10**15 + 3])
def test_chance_goes_by_the_number_of_the_draw(first):
    found = chances(2**64 - 1, first, 4000)
    assert found[5:].tolist() == chances(2**64 - 1, first + 5, 3995).tolist()
    assert found.min() >= 0 and found.max() < 1
    assert np.histogram(found, 4, (0, 1))[0] == pytest.approx([1000] * 4, abs=120)


@pytest.mark.parametrize("strategy", ["stratified", "mixed", "alternate"])
def test_a_room_for_what_is_drawn_changes_nothing(strategy, monkeypatch):
    """At 64 ranks, whatever the rows drawn between two looks."""
    found = []
    for room in (64, 4096):
        monkeypatch.setattr(walk_module, "_ROOM", room)
        walk = of_lengths(FIVE, strategy=strategy)
        state = walk.start()
        found.append([[walk.own_batch(state, 600, 64, rank=3) for _ in range(2)], state.to_dict()])
    assert found[0] == found[1]
