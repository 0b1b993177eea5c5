"""``vtb data report`` on the shipped corpora: real tokenizer, real clips."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from nemo_vtb.cli import main
from nemo_vtb.data.blend.walk import Blend
from nemo_vtb.data.inspection.simulated_draws import realised, simulate
from nemo_vtb.errors import VTBError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report over a blend one of whose files holds two bad rows."""
    folder = tmp_path_factory.mktemp("report")
    chats = [
        {"conversations": [{"from": "User", "value": "hi"}, {"from": "Assistant", "value": "<script>hello</script>"}]},
        {"conversations": [{"from": "User", "value": "nobody answers"}]},
    ]
    rows = [json.dumps(chats[number % 20 == 7]) for number in range(40)]
    (folder / "chat.jsonl").write_text("\n".join(rows))
    overrides = [
        "+data.train_ds.max_bad_share=0.1",
        f"data.train_ds.blend.kinds.text.input_cfg=[{{type: nemo_sft_jsonl, paths: {folder / 'chat.jsonl'}}}]",
    ]
    arguments = ["--config-name=quickstart", "--steps=30", "--ranks=2", f"--out={folder}", *overrides]
    assert main(["data", "report", *arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def report(folder):
    return json.loads((folder / "report.json").read_text())


def test_shares_come_as_asked_in_the_blend_s_unit(report):
    assert report["share_unit"] == "supervised_tokens"
    assert report["asked_share"] == {"text": 0.15, "asr": 0.4, "ast": 0.1, "sqa": 0.1, "mixed": 0.25}
    assert report["realised_share"] == pytest.approx(report["asked_share"], abs=0.01)
    assert report["realised_share"] == report["shares"]["supervised_tokens"]
    assert all(sum(shares.values()) == pytest.approx(1) for shares in report["shares"].values())


def test_hours_epochs_and_lengths_are_those_of_the_rows(report):
    asr = next(source for source in report["sources"] if source["kind"] == "asr")
    assert asr["conversations"] == 1452 and 0.6 < asr["hours"] < 0.8
    assert asr["epochs"] == asr["drawn"] / 1452
    drawn = Counter({source["kind"]: source["drawn"] for source in report["sources"]})
    for kind, counts in report["lengths"]["positions"]["counts"].items():
        assert sum(counts) == drawn[kind]
    assert "text" not in report["lengths"]["audio_seconds"]["counts"]


def test_languages_are_named(report):
    assert set(report["languages"]["asr"]) == {"en"} and set(report["languages"]["ast"]) == {"en → es"}
    assert report["languages"]["ast"]["en → es"]["audio_seconds"] > 100


def test_drops_have_a_reason_a_place_and_a_remedy(report):
    [drop] = report["drops"]
    assert (drop["kind"], drop["reason"], drop["count"]) == ("text", "no assistant turn", 2)
    assert "chat.jsonl:8: " in drop["first"] and drop["remedy"]


def test_the_page_plays_clips_and_runs_nothing(folder):
    page = (folder / "report.html").read_text()
    assert page.count("<audio controls") >= 8 and "data:audio/flac;base64," in page
    assert page.count('<svg class="chart"') == 4
    assert "<script" not in page and "&lt;script&gt;hello" in page
    assert "2 rows are left out" in page and "no assistant turn" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)


class _Rows:
    """Ten rows of one length; the index of a source without its files."""

    name, weight = "rows", 1.0

    def __init__(self, total, supervised, seconds):
        self.total, self.supervised, self.heard = total, supervised, seconds

    def __len__(self):
        return 10

    def sizes(self, indices, epoch):
        return np.array([[self.total, self.supervised, self.heard]] * len(indices))


def test_steps_are_shared_out_as_the_paper_does():
    sources = {"text": [_Rows(50, 20, 0.0)], "asr": [_Rows(30, 5, 2.0)], "sqa": [_Rows(40, 3, 2.0)]}
    shares = {"text": 0.15, "asr": 0.5, "sqa": 0.35}
    blend = Blend(sources, shares, "steps", "alternate", together=["asr", "sqa"])
    draws = simulate(blend, 200, 200, 2)
    assert realised(blend, draws)["steps"] == pytest.approx(shares, abs=0.01)
    assert draws.batches()["without_audio"] == 60 and draws.batches()["rank_disagreements"] == 0


def test_shares_that_change_are_compared_with_their_mean():
    blend = Blend(
        {"text": [_Rows(50, 20, 0.0)], "asr": [_Rows(30, 5, 2.0)]},
        {"text": {0: 0.0, 100: 1.0}, "asr": {0: 1.0, 100: 0.0}},
    )
    draws = simulate(blend, 400, 100, 1)
    assert draws.asked["text"] == pytest.approx(0.495)


def test_data_that_cannot_be_trained_on_is_named(tmp_path):
    from nemo_vtb.config import compose
    from nemo_vtb.data.inspection.report import data_report
    from nemo_vtb.pages.data_report import render_data_page

    cfg = compose("quickstart", [f"data.train_ds.blend.kinds.text.input_cfg.0.manifest_filepath={tmp_path}/x.jsonl"])
    with pytest.raises(VTBError, match=r"no such file: .*x\.jsonl"):
        data_report(cfg, tmp_path, 1, 1, "", render_data_page)
