"""The shipped blends, merged over the quickstart's data as `+blend=...` does it."""

import pytest

from nemo_vtb.paths import config_dir
from nemo_vtb.training import compose

BLENDS = sorted(path.stem for path in (config_dir() / "blend").glob("*.yaml"))


def test_the_papers_draw_and_others_are_shipped():
    assert {"paper", "stratified", "speech_first"} <= set(BLENDS)


@pytest.mark.parametrize("name", BLENDS)
def test_a_blend_sets_shares_and_leaves_the_data_alone(name):
    plain = compose("quickstart", []).data.train_ds
    cfg = compose("quickstart", [f"+blend={name}"]).data.train_ds
    assert {kind: section.input_cfg for kind, section in cfg.blend.kinds.items()} == {
        kind: section.input_cfg for kind, section in plain.blend.kinds.items()
    }
    assert cfg.batch_tokens == plain.batch_tokens


def test_the_papers_blend_shares_out_steps():
    blend = compose("quickstart", ["+blend=paper"]).data.train_ds.blend
    assert (blend.unit, blend.strategy, list(blend.together)) == ("steps", "alternate", ["asr", "ast", "sqa", "mixed"])
    assert blend.kinds.text.share == 0.15 and sum(section.share for section in blend.kinds.values()) == pytest.approx(1)


def test_a_share_may_move():
    share = compose("quickstart", ["+blend=speech_first"]).data.train_ds.blend.kinds.asr.share
    assert dict(share) == {0: 0.6, 5000: 0.25}
