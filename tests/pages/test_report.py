import base64
import copy
import json
import re
import sys
from pathlib import Path

import pytest
from html_page import Page

from nemo_vtb.errors import VTBError
from nemo_vtb.pages.charts import curves, smooth
from nemo_vtb.pages.verdict import cautions, headline
from nemo_vtb.quickstart.report import write_report
from nemo_vtb.reports.environment import environment
from nemo_vtb.reports.figures import duration, percent, points

AUDIO = Path(__file__).parents[2] / "examples" / "corpora" / "asterisk_prompts" / "audio"
CLIPS = (AUDIO / "en" / "conf-unlockednow.ogg", AUDIO / "es" / "agent-pass.ogg")
KINDS = ("text", "asr", "ast", "sqa", "mixed")
HOSTILE = "<script>alert('\"&$x_$')</script>"

REPORT = {
    "environment": {"versions": {"torch": "2.13.0"}, "host": {"cpu": "A CPU", "cores": 2}, "command": "vtb", "seed": 1},
    "seconds": 884.2,
    "stages": {"corpus": 48.1, "train": 571.8},
    "loss": {kind: {"first": 4.0, "last": 1.0} for kind in KINDS},
    "wer": {
        "before": 1.83,
        "after": 0.312,
        "n": 160,
        "by_language": {
            "en": {"before": 1.4, "after": 0.142, "n": 130},
            "ru": {"before": 2.6, "after": 0.934, "n": 30},
        },
        "new_voice": {"before": 1.79, "after": 0.447, "n": 40},
    },
    "sqa": {"before": 0.08, "after": 0.74, "n": 120},
    "mixed": {"before": 0.05, "after": 0.42, "n": 96},
    "text": {"kl_to_base": 0.0124, "score_before": 0.76, "score_after": 0.75, "n": 60},
    "realised_share": dict.fromkeys(KINDS, 0.2),
    "asked_share": dict.fromkeys(KINDS, 0.2),
    "padding_share": 0.021,
    "history": {
        "train": [{"step": s, "seconds": s, **{f"loss_{k}": 4 - s / 20 for k in KINDS}} for s in range(1, 41)],
        "validation": [{"step": s, **{f"val_loss_{k}": 4 - s / 20 for k in KINDS}} for s in (0, 20, 40)],
    },
}


def sample(**changes):
    row = {"kind": "asr", "prompt": "♪ Write it down.", "audio": str(CLIPS[0]), "reference": "right", "before": "wrong"}
    return row | {"after": "right", "correct_before": False, "correct_after": True} | changes


def written(folder, report=REPORT, samples=()):
    write_report(report, folder, list(samples))
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_the_json_holds_the_report_in_a_stable_order(tmp_path):
    folder = tmp_path / "runs" / "quickstart"
    written(folder)
    text = (folder / "report.json").read_text(encoding="utf-8")
    assert json.loads(text) == REPORT
    assert list(json.loads(text))[:3] == ["seconds", "stages", "loss"]
    written(folder, dict(reversed(REPORT.items())))
    assert (folder / "report.json").read_text(encoding="utf-8") == text
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json"]


def test_the_page_is_the_same_for_the_same_report(tmp_path):
    pages = []
    for name in "ab":
        written(tmp_path / name, samples=[sample()])
        pages.append((tmp_path / name / "report.html").read_text(encoding="utf-8"))
    assert pages[0] == pages[1]


def test_the_page_needs_nothing_beside_it(tmp_path):
    page = written(tmp_path, samples=[sample()])
    assert not page.all("script") and not page.all("link") and not page.all("img") and not page.all("iframe")
    sources = [attrs[key] for _, attrs in page.tags for key in ("src", "href", "xlink:href") if key in attrs]
    assert sources and all(source.startswith(("#", "data:")) for source in sources)
    style = (tmp_path / "report.html").read_text(encoding="utf-8").split("<style>")[1].split("</style>")[0]
    assert "prefers-color-scheme: dark" in style and "url(" not in style and "@import" not in style


def test_ids_are_unique_and_references_lead_somewhere(tmp_path):
    page = written(tmp_path)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    used = {attrs["xlink:href"][1:] for _, attrs in page.tags if "xlink:href" in attrs}
    used |= {name for _, attrs in page.tags for value in attrs.values() for name in re.findall(r"url\(#(.+?)\)", value)}
    assert len(ids) == len(set(ids)) and used <= set(ids)


def test_charts_take_their_colours_from_the_page(tmp_path):
    page = written(tmp_path)
    charts = [attrs["aria-label"] for attrs in page.all("svg")]
    assert len(charts) == 3
    style = " ".join(attrs.get("style", "") for _, attrs in page.tags)
    assert all(f"var(--kind-{kind})" in style for kind in KINDS) and "#0102" not in style
    assert "loss (nats per supervised token)" in page.text and "optimizer step" in page.text


def test_clips_are_embedded(tmp_path):
    page = written(tmp_path, samples=[sample(audio=str(CLIPS[0])), sample(audio=CLIPS[1]), sample(audio=None)])
    sources = [attrs["src"] for attrs in page.all("audio")]
    assert all("controls" in attrs for attrs in page.all("audio"))
    assert [source.split(",")[0] for source in sources] == ["data:audio/ogg;base64"] * 2
    assert [base64.b64decode(source.split(",")[1]) for source in sources] == [clip.read_bytes() for clip in CLIPS]


def test_a_clip_that_cannot_be_played_is_named(tmp_path):
    page = written(tmp_path, samples=[sample(audio="gone/clip.wav"), sample(audio="clip.sph"), sample(audio=tmp_path)])
    assert not page.all("audio")
    assert "gone/clip.wav (No such file or directory)" in page.text and "No browser plays clip.sph" in page.text


def test_marks_and_directions(tmp_path):
    page = written(tmp_path, samples=[sample(), sample(correct_before=None, correct_after=None, after="", before=None)])
    assert page.text.count("✓ correct") == page.text.count("✗ wrong") == 1
    assert "empty" in page.words and "none" in page.words
    assert all(attrs.get("dir") == "auto" for attrs in page.all("div") if attrs.get("class") == "words")


def test_every_group_of_examples_has_its_tile(tmp_path):
    report = copy.deepcopy(REPORT)
    report["sqa"]["open questions"] = {"before": 0.0, "after": 0.31, "n": 64}
    report["wer"]["commands"] = {"before": 12.0, "after": 0.04, "n": 40}
    written(tmp_path, report)
    shown = (tmp_path / "report.html").read_text(encoding="utf-8")
    for title in ("… of a voice new to it", "Questions about a clip, open questions", "Word error rate, commands"):
        assert shown.count(title) == 1, title
    assert ", by_language" not in shown


def test_hostile_text_is_only_shown(tmp_path):
    report = copy.deepcopy(REPORT)
    report["environment"]["command"] = HOSTILE
    report["stages"][HOSTILE] = 999.0
    for part in (report["loss"], report["asked_share"], report["realised_share"]):
        part[HOSTILE] = {"first": 1.0, "last": 2.0} if part is report["loss"] else 0.5
    report["wer"]["by_language"][HOSTILE] = {"before": 1.0, "after": 0.9, "n": 3}
    report["history"]["train"][0][f"loss_{HOSTILE}"] = 1.0
    fields = dict.fromkeys(("kind", "prompt", "reference", "before", "after"), HOSTILE)
    page = written(tmp_path, report, [sample(**fields, audio=f"{HOSTILE}.wav"), sample(audio=HOSTILE)])
    assert not page.all("script")
    assert page.text.count("<script>") >= 10


@pytest.mark.parametrize("key", [*REPORT, None])
def test_missing_keys_are_borne(tmp_path, key):
    report = {name: value for name, value in REPORT.items() if name != key} if key else {}
    page = written(tmp_path, report)
    assert page.all("h1")
    if key in ("wer", "sqa", "mixed", "text", None):
        assert "not measured" in page.text


@pytest.mark.parametrize("value", [None, {}, {"before": None, "after": 0.4}, {"by_language": {"en": None}}])
def test_half_filled_results_are_borne(tmp_path, value):
    hollow = {"train": [{}, {"step": 1}, {"step": 2, "loss_asr": None}], "validation": None}
    report = REPORT | dict.fromkeys(("wer", "sqa", "mixed", "text", "environment", "stages"), value)
    assert "not measured" in written(tmp_path, report | {"history": hollow}, [{}, {"kind": None}]).text


def test_numbers_that_are_not_finite_are_null_and_named(tmp_path):
    report = copy.deepcopy(REPORT)
    report["loss"]["asr"]["last"] = float("nan")
    report["history"]["train"][3]["loss_asr"] = float("inf")
    text = written(tmp_path, report).text
    assert "Training failed: the held-out loss of asr is not a number." in text
    assert "The training loss was not a number at 1 of 40 logged steps." in text
    stored = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert stored["loss"]["asr"]["last"] is None and stored["history"]["train"][3]["loss_asr"] is None


def test_numpy_numbers_become_plain(tmp_path):
    numpy = pytest.importorskip("numpy")
    page = written(
        tmp_path, {"sqa": {"before": numpy.float32(0.25), "after": numpy.float64(0.75), "n": numpy.int64(80)}}
    )
    stored = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert stored["sqa"] == {"before": 0.25, "after": 0.75, "n": 80}
    assert "25% → 75% right" in page.text


def test_a_failed_write_leaves_the_last_report(tmp_path):
    written(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UnicodeEncodeError):
        write_report(REPORT | {"stages": {"\ud800": 1.0}}, tmp_path, [])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_without_matplotlib_the_json_is_kept_and_the_remedy_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(VTBError, match=r"pip install 'nemo-vtb\[quickstart\]'"):
        write_report(REPORT, tmp_path, [])
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8")) == REPORT


def test_the_headline_says_what_was_learnt_and_kept():
    assert headline(REPORT) == (
        "In 14 min 44 s the model learnt to transcribe speech (word error rate 183% → 31%) and to answer questions "
        "about a clip (8% → 74% right), only began to follow requests that are partly written, partly spoken "
        "(5% → 42% right, less than half), and kept its text skills (76% → 75% of the text suite)."
    )
    assert headline({}) == "The run finished, and nothing was measured."


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"wer": {"before": 1.8, "after": 0.71}},
            "only began to transcribe speech (word error rate 180% → 71%, above 50%)",
        ),
        (
            {"wer": {"before": 1.0, "after": 0.98}},
            "did not learn to transcribe speech (word error rate 100% → 98%, above",
        ),
        ({"wer": {"before": 1.0, "after": 1.3}}, "is now worse than before when asked to transcribe speech"),
        ({"sqa": {"before": 0.5, "after": 0.6, "n": 20}}, "did not learn to answer questions about a clip"),
        (
            {"sqa": {"before": 0.5, "after": 0.6, "n": 2000}},
            "learnt to answer questions about a clip (50% → 60% right)",
        ),
        (
            {"text": {"score_before": 0.76, "score_after": 0.7}},
            "lost some of its text skills (76% → 70% of the text suite)",
        ),
    ],
)
def test_the_headline_is_plain_about_bad_numbers(changes, told):
    assert told in headline(changes)


def test_cautions_name_what_is_bad():
    assert cautions({}) == []
    told = " ".join(
        cautions(
            REPORT
            | {
                "text": {"kl_to_base": 0.31, "score_before": 0.76, "score_after": 0.66, "n": 60},
                "loss": {"ast": {"first": 4.0, "last": 5.0}},
                "asked_share": {"text": 0.15},
                "realised_share": {"text": 0.09},
                "padding_share": 0.2,
            }
        )
    )
    for part in ("Russian (93%)", "45%, against 31%", "96 of mixed and 60 of text", "−10 points", "KL 0.31", "4 → 5"):
        assert part in told
    assert (
        "text 9% of the supervised tokens where 15% was asked" in told and "20% of the positions were padding" in told
    )


def test_numbers_are_written_for_people():
    assert [percent(x) for x in (0.314, 0.0421, 0.08, 1.83, 0.0, None)] == ["31%", "4.2%", "8%", "183%", "0%", "–"]
    assert [points(x) for x in (-0.10, 0.01, 0.0, 0.0512)] == ["−10 points", "+1 point", "no change", "+5.1 points"]
    assert [duration(x) for x in (3.21, 42.0, 884.2, 7260.0, None)] == [
        "3.2 s",
        "42 s",
        "14 min 44 s",
        "2 h 1 min",
        "–",
    ]


def test_curves_keep_the_order_of_kinds_and_smoothing_keeps_the_level():
    rows = [{"step": 1, "loss_mixed": 2.0, "loss_text": 1.0}, {"step": 2, "loss_text": float("nan"), "loss_asr": 3.0}]
    found = curves(rows, "loss_")
    assert list(found) == ["text", "asr", "mixed"] and found["text"] == ([1.0], [1.0])
    assert smooth([2.0] * 100) == [2.0] * 100 and smooth([1.0, 3.0]) == [1.0, 3.0]
    assert max(smooth([0.0, 9.0] * 60)) < 9.0


def test_the_environment_names_what_a_number_depends_on():
    found = environment("vtb quickstart", 7)
    assert found["command"] == "vtb quickstart" and found["seed"] == 7
    wanted = {"nemo-vtb", "nemo_toolkit", "lhotse", "torch", "transformers", "peft", "python"}
    assert set(found["versions"]) == wanted and found["versions"]["torch"]
    assert found["host"]["cpu"] and found["host"]["cores"] >= 1 and found["device"]
    assert json.loads(json.dumps(found)) == found
