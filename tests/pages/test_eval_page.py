"""The page and the table of an evaluation."""

import copy

import pytest
from html_page import Page

from nemo_vtb.pages.eval import headline, render_eval_page
from nemo_vtb.reports.score_table import rows_of, table_lines

HOSTILE = "<script>alert('\"&$x_$')</script>"


def score(value, low, high, n=40, **more):
    return {"value": value, "low": low, "high": high, "n": n, **more}


def beside(value, base, n=40):
    around = {"low": value - 0.05, "high": value + 0.05, "n": n}
    other = {"value": base, "low": base - 0.05, "high": base + 0.05, "n": n}
    difference = score(value - base, value - base - 0.05, value - base + 0.05, n)
    return {"value": value, **around, "base": other, "change": difference}


REPORT = {
    "seconds": 12.0,
    "checkpoint": {"path": "last.ckpt", "llm": "tiny"},
    "asr": {
        "en": {"wer": beside(0.12, 2.4), "cer": beside(0.07, 1.9),
               "sets": {"people": {"wer": beside(0.2, 3.0)}, "commands": {"wer": beside(0.08, 2.0)}}},
        "ru": {"wer": beside(0.93, 1.0, 8), "cer": beside(0.5, 1.0, 8),
               "sets": {"people_ru": {"wer": beside(0.93, 1.0, 8)}}},
    },
    "ast": {"en-es": {"bleu": beside(31.0, 0.2), "chrf": beside(55.0, 9.0), "sets": {}}},
    "sqa": {"em": beside(0.7, 0.0), "f1": beside(0.75, 0.02), "sets": {}},
    "mixed": {"text": beside(0.8, 0.6), "half": beside(0.6, 0.0), "speech": beside(0.5, 0.0),
              "gap": score(0.3, 0.2, 0.4, base=score(0.6, 0.5, 0.7)), "sets": {}},
    "multiturn": {"accuracy": beside(0.4, 0.1), "conversations": beside(0.1, 0.0), "sets": {}},
    "text": {
        "short": {"measure": "accuracy", "tuned": score(0.7, 0.6, 0.8), "base": score(0.75, 0.65, 0.85),
                  "drop": score(0.05, 0.01, 0.1), "won": [],
                  "lost": [{"id": "a", "prompt": HOSTILE, "base": "the right one", "tuned": HOSTILE}]},
        "chat": {"measure": "perplexity", "tuned": score(9.5, 8.0, 11.0), "base": score(9.0, 8.0, 10.5),
                 "drop": score(0.054, 0.04, 0.07, unit="nats a token"), "kl": score(0.04, 0.03, 0.05)},
    },
    "probes": {"seen": {"measure": "wer", **beside(0.1, 2.0)},
               "unseen": {"measure": "wer", **beside(0.2, 2.0), "against": score(0.1, 0.05, 0.15, probe="seen")},
               "two_clips": {"measure": "accuracy", **beside(0.5, 0.0)}},
    "environment": {"versions": {"torch": "2"}, "host": {"cpu": "A CPU", "cores": 2}, "command": "vtb eval", "seed": 0},
}  # fmt: skip


@pytest.fixture
def page(clips):
    sample = {"kind": "two_clips", "prompt": "♪ ♪ Which one?", "audio": [str(clip.path) for clip in clips[:2]],
              "reference": "lamp", "before": HOSTILE, "after": "lamp",
              "correct_before": False, "correct_after": True}  # fmt: skip
    return Page(render_eval_page(REPORT, [sample], raw_json="{}"))


def test_the_page_shows_scores_charts_clips_and_lost_replies(page):
    for words in ("Untouched LLM", "12.0 [7.0, 17.0]", "short: 1 lost", "the right one", "eval.json", "vtb eval"):
        assert words in page.text
    assert len(page.all("audio")) == 2
    assert len(page.all("svg")) == 7
    assert not page.all("script")


def test_the_headline_says_what_was_gained_and_lost():
    assert headline(REPORT) == (
        "The checkpoint transcribes English at a word error rate of 12%, answers 70% of questions about speech "
        "exactly, gets 30 points more of written prompts right than of spoken ones and loses at most 5% of a text "
        "suite (short)."
    )
    assert headline({}) == "Nothing was measured."


def test_cautions_name_what_is_bad_or_uncertain(page):
    assert "The word error rate is above 50% in Russian" in page.text
    assert "Text suite short lost more than chance explains: 5%." in page.text
    assert "Fewer than 30 items stand behind ru" in page.text
    failed = Page(render_eval_page(REPORT | {"gate": {"passed": False}}, [], raw_json="{}"))
    assert "The retention gate failed" in failed.text


def test_every_score_has_a_row_with_its_difference():
    rows = {(row.section, row.name, row.measure): row for row in rows_of(REPORT)}
    assert ("asr", "en, people", "word error rate") in rows
    assert ("asr", "ru, people_ru", "word error rate") not in rows
    short = rows["text", "short", "accuracy"]
    assert (short.change["value"], short.change["low"], short.change["high"]) == (-0.05, -0.1, -0.01)
    assert rows["text", "chat", "perplexity"].change["value"] == 0.054
    assert rows["probes", "… − seen", "word error rate"].tuned["value"] == 0.1


def test_the_table_stands_in_columns():
    lines = [line for line in table_lines(REPORT | {"gate": {"passed": True}}) if line.startswith("  ")]
    assert len({len(line) for line in lines}) == 1
    assert any("word error rate" in line and "−228.0 [−233.0, −223.0]" in line for line in lines)


def test_a_score_that_is_no_number_is_shown_as_missing():
    report = copy.deepcopy(REPORT)
    report["asr"]["en"]["wer"] |= {"value": float("nan"), "low": float("nan"), "high": float("nan")}
    assert "– [–, –]" in Page(render_eval_page(report, [], raw_json="{}")).text
