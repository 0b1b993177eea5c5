import json

import pytest

from nemo_vtb.data.blend import Blend, BlendState, Measure
from nemo_vtb.data.rows import BadRows
from nemo_vtb.data.sources import ConversationSource
from nemo_vtb.errors import VTBError

SIZES = {"text": Measure(120, 60), "asr": Measure(50, 10), "mixed": Measure(60, 15)}


def blend(shares=None, **options):
    sources = {
        kind: [ConversationSource(kind, [lambda epoch, kind=kind, i=i: (kind, i) for i in range(7)], 1.0, BadRows())]
        for kind in SIZES
    }
    return Blend(sources, shares or {"text": 0.2, "asr": 0.5, "mixed": 0.3}, lambda row: SIZES[row.kind], **options)


def test_shares_of_supervised_tokens_are_kept():
    walk = blend()
    state = walk.start()
    for _ in range(200):
        walk.step(state, budget=600)
    total = sum(state.got.values())
    assert {kind: got / total for kind, got in state.got.items()} == pytest.approx(walk.shares, abs=0.005)


def test_batches_stay_within_the_budget_on_every_rank():
    walk = blend()
    for batch in walk.step(walk.start(), budget=600, ranks=4):
        assert 480 <= sum(SIZES[row.kind].total for row in batch) <= 600


def test_an_epoch_holds_every_row_once():
    walk = blend({"text": 1, "asr": 1, "mixed": 1}, unit="examples")
    state = walk.start()
    rows = [row for _ in range(7) for row in walk.step(state, budget=230)[0]]
    first = [row.index for row in rows if row.kind == "asr" and row.epoch == 0]
    assert sorted(first) == list(range(7)) and first != list(range(7))


def test_a_saved_state_goes_on_with_the_same_rows():
    walk, state = blend(), blend().start()
    for _ in range(5):
        walk.step(state, budget=600, ranks=2)
    saved = json.loads(json.dumps(state.to_dict()))
    expected = [walk.step(state, budget=600, ranks=2) for _ in range(5)]
    again, resumed = blend(), BlendState(**saved)
    assert [again.step(resumed, budget=600, ranks=2) for _ in range(5)] == expected


def test_alternate_gives_each_step_to_one_kind():
    walk = blend({"text": 0.15, "asr": 0.6, "mixed": 0.25}, unit="steps", strategy="alternate")
    state = walk.start()
    steps = [{row.kind for row in walk.step(state, budget=600)[0]} for _ in range(100)]
    assert all(len(kinds) == 1 for kinds in steps)
    assert sum(kinds == {"text"} for kinds in steps) == pytest.approx(15, abs=1)


@pytest.mark.parametrize("options", [{"unit": "bytes"}, {"strategy": "random"}, {"unit": "steps"}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(VTBError):
        blend(**options)
