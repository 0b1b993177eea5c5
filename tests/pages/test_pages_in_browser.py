"""Every page, made from what real runs wrote, as a browser shows it: nothing runs over, and the numbers are the JSON's.

Pictures to look at are kept in ``runs/pages``.
"""

import json
import re
from types import SimpleNamespace

import pytest

from nemo_vtb.paths import corpora_dir

_PICTURES = corpora_dir().parents[1] / "runs" / "pages"
_PAGES = (
    "quickstart",
    "reference",
    "made_run",
    "eval",
    "study",
    "study_qwen",
    "data_report",
    "made_card",
    "card",
    "replay_card",
)
_WIDTHS = (1200, 700, 375, 320)

# What a reader sees, less what is quoted: samples, the environment and the raw JSON.
_SEEN = """(() => {
  const words = e => e ? e.textContent.replace(/\\s+/g, " ").trim() : "";
  const all = (where, what) => [...where.querySelectorAll(what)];
  const title = e => words(e.closest("section, figure, details").querySelector("h2, summary"));
  return {
    headline: words(document.querySelector("h1")),
    cautions: all(document, ".cautions li").map(words),
    tiles: Object.fromEntries(all(document, ".tile").map(t => [words(t.querySelector("h3")),
      [words(t.querySelector(".value")), words(t.querySelector(".detail"))]])),
    tables: Object.fromEntries(all(document, ".numbers").map(t => [title(t),
      [...t.rows].map(row => [...row.cells].map(words))])),
    charts: Object.fromEntries(all(document, "svg").map(s => [title(s),
      all(s, "text").filter(e => !e.closest('[id*="axis_"], [id*="legend"]')).map(words)])),
    notes: all(document, "figcaption p, .lead").map(words),
  };
})()"""
# Boxes whose content is wider than they are, but for those that a reader can scroll.
_RUNS_OVER = """[...document.querySelectorAll("body, body *:not(svg *)")].filter(e => {
  const style = getComputedStyle(e);
  const scrolls = style.overflowX === "auto" && !e.closest(".tile");
  return e.scrollWidth > e.clientWidth + 1 && style.display !== "inline" && !scrolls;
}).map(e => `${e.tagName}.${e.className} ${e.scrollWidth} > ${e.clientWidth}: ${e.textContent.slice(0, 80)}`)"""


@pytest.fixture(params=_PAGES)
def page(request, pages, browser):
    """A page in the browser, with what a reader sees."""
    found = pages[request.param]
    browser.open(found.html)
    return SimpleNamespace(name=request.param, **vars(found), **browser.ask(_SEEN))


@pytest.mark.parametrize("name", _PAGES)
def test_nothing_runs_over_on_wide_and_narrow_screens(name, pages, browser):
    for width in _WIDTHS:
        browser.open(pages[name].html, width)
        assert browser.ask("document.documentElement.scrollWidth") <= width
        assert browser.ask(_RUNS_OVER) == [], width
        browser.picture(_PICTURES / f"{name}_{width}.png")


@pytest.mark.parametrize("name", _PAGES)
def test_light_and_dark_are_the_stylesheet_s(name, pages, browser):
    for scheme, background in (("light", "rgb(246, 247, 248)"), ("dark", "rgb(17, 20, 23)")):
        browser.open(pages[name].html, scheme=scheme)
        assert browser.ask("getComputedStyle(document.body).backgroundColor") == background
        # A chart is transparent: nothing in it has a colour of its own.
        colours = browser.ask('[...document.querySelectorAll("svg [style]")].map(e => e.getAttribute("style")).join()')
        assert "#ffffff" not in colours and "#000000" not in colours
    browser.picture(_PICTURES / f"{name}_dark.png")


def test_a_page_fetches_nothing_and_its_clips_can_be_played(page, browser):
    assert browser.ask("performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length") == 0
    policy = browser.ask("document.querySelector('meta[http-equiv=Content-Security-Policy]').content")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; media-src data:; img-src data:"
    clips = browser.ask('document.querySelectorAll("audio").length')
    assert clips >= {"data_report": 8, "made_card": 12, "quickstart": 1, "eval": 1}.get(page.name, 0)
    assert browser.ask('[...document.querySelectorAll("audio")].every(clip => clip.error === null)')


def test_only_error_rates_leave_the_range_of_a_share(page):
    rates = ("Word error", "… of a voice new to it", "Character error", "word error rate", "character error rate")
    told = [page.headline, *page.cautions, *page.notes]
    told += [" ".join([title, *lines]) for title, lines in page.tiles.items()]
    told += [
        " ".join([title, *row]) if title.startswith(rates) else " ".join(row)
        for title, rows in page.tables.items()
        for row in rows
    ]
    told += [" ".join([title, *numbers]) for title, numbers in page.charts.items() if title != "Speech recognition"]
    shares = 0
    for text in told:
        for share in re.findall(r"[−-]?[\d.]+(?= ?%)", text):
            shares += 1
            assert any(rate in text for rate in rates) or 0 <= float(share) <= 100, (page.name, text)
    assert shares >= (0 if page.name.startswith("study") else 2)


def test_every_number_on_the_page_is_one_of_the_json(page):
    known = [*_leaves(page.report), *_DERIVED[page.name.split("_")[-1]](page.report)]
    shown = [page.headline, *page.cautions, *(" ".join(lines) for lines in page.tiles.values())]
    shown += [" ".join(row) for title, rows in page.tables.items() for row in rows[1:] or rows]
    shown += [words for numbers in page.charts.values() for words in numbers]
    count = 0
    for text in shown:
        for number in _numbers(text):
            count += 1
            assert any(_agree(number, scale * value) for value in known for scale in (1, 100)), (number, text)
    assert count >= 15


def test_tiles_of_a_run_are_those_of_its_report(pages, browser):
    for name in ("quickstart", "reference", "made_run"):
        browser.open(pages[name].html)
        tiles, report = browser.ask(_SEEN)["tiles"], pages[name].report
        expected = {
            "Word error rate": report["wer"],
            "… of a voice new to it": report["wer"]["new_voice"],
            **({"Word error rate, commands": report["wer"]["commands"]} if name == "reference" else {}),
            "Questions about a clip": report["sqa"],
            "Mixed speech and text": report["mixed"],
            "Text suite": {key.removeprefix("score_"): value for key, value in report["text"].items()},
        }
        assert [*expected, "Time"] == list(tiles)
        for title, values in expected.items():
            before, after = re.fullmatch(r"([\d.]+)% → ([\d.]+)%", tiles[title][0]).groups()
            assert _agree(before, 100 * values["before"]) and _agree(after, 100 * values["after"])
            assert f"{values['n']} " in tiles[title][1]
        headline = browser.ask(_SEEN)["headline"]
        before, after = re.search(r"text skills \(([\d.]+)% → ([\d.]+)% of the text suite\)", headline).groups()
        assert _agree(before, 100 * report["text"]["score_before"])
        assert _agree(after, 100 * report["text"]["score_after"])
    assert pages["made_run"].report["text"]["score_after"] == 0.5


def test_tiles_and_rows_of_an_evaluation_are_those_of_its_report(pages, browser):
    browser.open(pages["eval"].html)
    seen, report = browser.ask(_SEEN), pages["eval"].report
    for title, score in (
        ("Word errors, English", report["asr"]["en"]["wer"]),
        ("Word errors, Russian", report["asr"]["ru"]["wer"]),
        ("Questions, exact", report["sqa"]["em"]),
        ("Spoken prompts", report["mixed"]["speech"]),
        ("Half spoken prompts", report["mixed"]["half"]),
        ("Turns of conversations", report["multiturn"]["accuracy"]),
        ("Text: short", report["text"]["short"]["tuned"]),
    ):
        assert _agree(seen["tiles"][title][0].rstrip("%"), 100 * score["value"]), title
        if "base" in score:
            assert _agree(seen["tiles"][title][1].partition("%")[0], 100 * score["base"]["value"])
    assert _agree(seen["tiles"]["chrF, en-es"][0], report["ast"]["en-es"]["chrf"]["value"])
    rows = {tuple(row[1:3]): row[3:] for row in seen["tables"]["All scores"][1:]}
    assert len(rows) == len(seen["tables"]["All scores"]) - 1
    for name, score in [*((code, found["wer"]) for code, found in report["asr"].items())]:
        cells = rows[name, "word error rate"]
        for cell, values in zip(cells[:3], (score, score["base"], score["change"]), strict=True):
            ends = re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", cell).groups()
            assert all(_agree(end, 100 * values[key]) for end, key in zip(ends, ("value", "low", "high"), strict=True))
        assert cells[3] == str(score["n"])


def test_the_table_of_a_study_is_that_of_its_report(pages, browser):
    from nemo_vtb.study.table import COLUMNS

    for name in ("study", "study_qwen"):
        browser.open(pages[name].html)
        tables, report = browser.ask(_SEEN)["tables"], pages[name].report
        head, *rows = tables["All arms"]
        measures = {title: measure for measure, title in COLUMNS.items()} | {"Word errors, people": "wer/people"}
        arms = [*report["arms"].values(), {"title": "untouched LLM, all in writing", **report["untouched"]}]
        for row, arm in zip(rows, arms, strict=True):
            assert row[0] == arm["title"]
            for title, cell in zip(head[2:-1], row[2:-1], strict=True):
                score = arm["scores"].get(measures[title])
                scale = 1 if title == "KL" else 100
                shown = [] if score is None else [scale * score[key] for key in ("value", "low", "high")]
                assert len(shown) == len(_numbers(cell)) and all(map(_agree, _numbers(cell), shown)), (title, cell)
        verdicts = [row[1] for row in tables["Claims"]]
        assert verdicts == [claim["verdict"] for claim in report["claims"]]


def test_the_tables_of_data_are_those_of_their_reports(pages, browser):
    browser.open(pages["data_report"].html)
    rows, report = browser.ask(_SEEN)["tables"]["Sources"], pages["data_report"].report
    for row, source in zip(rows[1:], report["sources"], strict=True):
        shown = [source[key] for key in ("kind", "name")]
        assert row[:2] == shown and row[2] == f"{source['conversations']:,}" and row[5] == f"{source['drawn']:,}"
        assert _agree(row[3], source["hours"]) and _agree(row[4].rstrip("%"), 100 * source["weight"])
    for name in ("made_card", "card", "replay_card"):
        browser.open(pages[name].html)
        tables, card = browser.ask(_SEEN)["tables"], pages[name].report
        for title in ("Voices", "Languages", "Categories", "Exchanges"):
            assert {row[0]: row[1].replace(",", "") for row in tables.get(title, [[]])[1:]} == {
                key: str(count) for key, count in card[title.lower()].items()
            }
        for row in tables["Left out"][1:]:
            found = card["drops"][row[0]]
            assert row[1] == f"{found['count']:,}" and _agree(row[2].rstrip("%"), 100 * found["share"])


def test_long_names_and_large_numbers_stay_inside_their_tiles(pages, browser, tmp_path):
    from nemo_vtb.pages.eval import render_eval_page

    report = json.loads(json.dumps(pages["eval"].report))
    report["text"]["a_suite_with_a_name_that_never_ends_" * 3] = report["text"].pop("short")
    report["asr"]["en"]["wer"]["value"] = 12345.678
    report["ast"]["a-very-long-language-pair-to-another-one"] = report["ast"].pop("en-es")
    path = tmp_path / "eval.html"
    path.write_text(render_eval_page(report, [], raw_json="{}"), encoding="utf-8")
    for width in _WIDTHS:
        browser.open(path, width)
        assert browser.ask(_RUNS_OVER) == []


def _numbers(text):
    """Numbers as they are spelt; times are told apart, since a minute is no number of the report."""
    text = re.sub(r"\d+ h \d+ min|\d+ min \d+ s|\d+(\.\d+)? s\b", "", text)
    return re.findall(r"(?<![\w.])[+−-]?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?(?![\w])", text)


def _agree(shown, value):
    """Whether a number is a value, rounded to as many digits as it shows."""
    spelt = shown.replace("−", "-").replace(",", "")
    digits = len(spelt.partition("e")[0].partition(".")[2])
    unit = 10.0 ** (int(spelt.partition("e")[2] or 0) - digits)
    # What a suite lost is shown as a difference too, with the other sign.
    return abs(abs(float(spelt)) - abs(value)) <= 0.5 * unit + 1e-9


def _leaves(value, inside=""):
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in ("history", "environment", "lengths", "settings"):
                yield from _leaves(item, key)
                # Names hold numbers too, as those of arms and of exchanges do.
                yield from map(float, re.findall(r"\d+", key))
    elif isinstance(value, list):
        yield len(value)
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield from (float(number.replace("−", "-").replace(",", "")) for number in _numbers(value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _of_run(report):
    pairs = [report["wer"], *(report["wer"][key] for key in report["wer"] if isinstance(report["wer"][key], dict))]
    for pair in [*pairs, report["sqa"], report["mixed"], *report["wer"]["by_language"].values()]:
        if "after" in pair:
            yield pair["after"] - pair["before"]
    # The limits that cautions name, and what may be chance with the fewest items.
    yield from (0.5, 0.98 / min(report[key]["n"] for key in ("sqa", "mixed", "text")) ** 0.5)


def _of_evaluation(report):
    yield from (0.5, 30)


def _of_study(report):
    yield from (len(report["arms"]), 95, 0)
    for verdict in ("shown", "not shown", "not testable at this size"):
        yield sum(claim["verdict"] == verdict for claim in report["claims"])
    for arm in report["arms"].values():
        yield from (sum(arm["minutes"].values()), len(arm["seeds"]))


def _of_data(report):
    for key in ("drawn", "conversations", "hours"):
        yield sum(source[key] for source in report["sources"])
    yield from (0, report["steps"] * report["ranks"], report["batches"]["mean_positions"] / report["batch_tokens"])
    for languages in report["languages"].values():
        for found in languages.values():
            yield found["audio_seconds"] / 3600
            yield found["conversations"] / sum(other["conversations"] for other in languages.values())


def _of_card(card):
    yield from (len(card["voices"]), sum(card["judgement"].values()))
    for key in ("voices", "languages", "categories", "exchanges"):
        yield from (count / sum(card[key].values()) for count in card[key].values())


_DERIVED = {
    **{"quickstart": _of_run, "reference": _of_run, "run": _of_run, "eval": _of_evaluation},
    **{"study": _of_study, "qwen": _of_study, "report": _of_data, "card": _of_card},
}
