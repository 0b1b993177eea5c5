"""The study in examples/benchmarks/results: its answers still give its scores, and its page shows these."""

import json
import shutil

import pytest

from nemo_vtb.cli import main
from nemo_vtb.pages.study_charts import drawings
from nemo_vtb.pages.svg import STAND_IN
from nemo_vtb.paths import corpora_dir
from nemo_vtb.study.table import markdown

_EXAMPLES = corpora_dir().parent
_STUDIES = sorted(path.parent for path in (_EXAMPLES / "benchmarks" / "results").glob("study*/study.json"))


def test_the_studies_are_there():
    assert [path.name for path in _STUDIES] == ["study", "study_qwen", "study_short"]


@pytest.mark.parametrize("study", _STUDIES, ids=lambda path: path.name)
def test_scores_and_verdicts_follow_from_the_committed_answers(study, tmp_path):
    config = {"study": ["quickstart"], "study_qwen": ["qwen"], "study_short": ["smollm2_short", "--so-far"]}[study.name]
    shutil.copytree(study / "arms", tmp_path / "arms")
    for path in (*study.glob("untouched.*"), *study.glob("length.json")):
        shutil.copy(path, tmp_path)
    # Of the data of the short study nothing is there but what travels with the repository.
    assert main(["study", f"--config-name=study/{config[0]}", f"out={tmp_path}", *config[1:]]) == 0
    ours, theirs = (
        # Sums of another processor's library differ in their last bits.
        json.loads((folder / "study.json").read_text(), parse_float=lambda number: round(float(number), 9))
        for folder in (tmp_path, study)
    )
    for report in (ours, theirs):
        # Both hold the name of the folder.
        del report["environment"]
        for arm in report["arms"].values():
            del arm["command"]
    differing = [part for part in theirs if ours[part] != theirs[part]]
    assert not differing


@pytest.mark.parametrize("study", _STUDIES, ids=lambda path: path.name)
def test_its_page_shows_the_table_and_every_verdict(study):
    report = json.loads((study / "study.json").read_text())
    assert (study / "study.md").read_text(encoding="utf-8").strip() == markdown(report).strip()


@pytest.mark.parametrize("study", _STUDIES, ids=lambda path: path.name)
def test_its_pictures_show_every_ability_by_itself(study):
    from matplotlib.figure import Figure

    report = json.loads((study / "study.json").read_text())
    shown = {one.title: one for one in drawings(report)}
    for one in shown.values():
        axes = Figure().add_subplot()
        one.draw(axes=axes, palette=STAND_IN)
        assert axes.has_data(), one.title
        if one.title == "Abilities in writing":
            asked = {label.get_text() for label in axes.get_yticklabels()}
            assert {"short", "instructions"} <= asked
    pooled = {"Speech and text"} if study.name != "study_short" else {"Held-out text"}
    assert {"Abilities in writing", *pooled} <= shown.keys()
