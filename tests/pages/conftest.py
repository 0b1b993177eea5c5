"""Pages made from what real runs wrote, and a browser that shows them."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
from chromium import Chromium, installed
from tiny_quickstart import tiny_quickstart

from nemo_vtb.cli import main
from nemo_vtb.paths import corpora_dir

_RESULTS = corpora_dir().parent / "benchmarks" / "results"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if installed() is None:
        message = "Chromium is not installed; run: apt-get install -y chromium"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    found = Chromium(tmp_path_factory.mktemp("chromium"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory, clips, tiny_llm, tiny_whisper):
    """By name the file of each page and what its JSON holds."""
    folder = tmp_path_factory.mktemp("pages")
    makers = {
        "quickstart": lambda place: _quickstart(place, "quickstart.json", clips),
        "reference": lambda place: _quickstart(place, "reference.json", clips),
        "made_run": lambda place: _run(place, tiny_llm, tiny_whisper),
        "eval": lambda place: _eval(place, clips),
        "study": lambda place: _study(place, "study"),
        "study_qwen": lambda place: _study(place, "study_qwen"),
        "data_report": _data_report,
        "made_card": lambda place: _made_card(place, clips),
        "card": lambda place: _card(place, "spoken_human.json"),
        "replay_card": lambda place: _card(place, "replay.json"),
    }
    found = {}
    for name, make in makers.items():
        path = folder / name
        path.mkdir()
        make(path)
        (html,), (report,) = path.glob("*.html"), path.glob("*.json")
        found[name] = SimpleNamespace(html=html, report=json.loads(report.read_text(encoding="utf-8")))
    return found


def _quickstart(folder, name, clips):
    from nemo_vtb.quickstart.report import write_report

    heard = {"kind": "asr", "prompt": "♪ Write it down.", "audio": str(clips[0].path), "reference": clips[0].text}
    said = {"before": "No. " * 80, "after": clips[0].text, "correct_before": False, "correct_after": True}
    write_report(json.loads((_RESULTS / name).read_text(encoding="utf-8")), folder, [heard | said])


def _run(folder, llm, whisper):
    assert main(tiny_quickstart(folder, llm, whisper)) == 0


def _eval(folder, clips):
    from nemo_vtb.pages.eval import render_eval_page
    from nemo_vtb.reports.write import write_both

    report = json.loads((_RESULTS / "checkpoint_eval.json").read_text(encoding="utf-8"))
    sample = {"kind": "two_clips", "prompt": "♪ ♪ Which?", "audio": [str(clip.path) for clip in clips[:2]]}
    said = {"reference": "lamp", "before": "", "after": "lamp", "correct_before": False, "correct_after": True}
    write_both(report, folder, lambda text: render_eval_page(report, [sample | said], text), "eval")


def _study(folder, name):
    from nemo_vtb.pages.study import render_study_page
    from nemo_vtb.reports.write import write_both
    from nemo_vtb.study.table import NOTE, cells

    report = json.loads((_RESULTS / name / "study.json").read_text(encoding="utf-8"))
    write_both(report, folder, lambda text: render_study_page(report, cells(report), NOTE, text), "study")


def _data_report(folder):
    assert main(["data", "report", "--config-name=quickstart", "--steps=20", f"--out={folder}"]) == 0


def _made_card(folder, clips):
    """The card of a job that was run."""
    from nemo_vtb.synthesis.data_card import write_card
    from nemo_vtb.synthesis.jobs.job import Job, run_job
    from nemo_vtb.synthesis.jobs.join import join
    from nemo_vtb.synthesis.jobs.shard import Item

    def maker(items, shard):
        for item in items:
            clip = clips[item.row["number"] % len(clips)]
            path, seconds = shard.clip(item.id, *soundfile.read(clip.path, dtype="float32"))
            asked = {"from": "User", "type": "audio", "value": path, "duration": seconds, "text": clip.text}
            said = {"from": "Assistant", "type": "text", "value": "Yes.\nNo. " * 30}
            shard.add({"id": item.id, "conversations": [asked, said], "custom": {"lang": "en", "voice": "v"}})
            shard.observe("cer.first", item.row["number"] / 5)
            shard.observe("cer.kept", item.row["number"] / 40)
            shard.drop(f"{item.id}-later", "cer", "too far off")
            shard.count("tts.seconds.slow", seconds / 2)
            shard.count("tts.audio_seconds.slow", seconds)

    work = folder.with_name("job")
    run_job(Job("speech", [Item(f"t{n}", {"number": n}) for n in range(12)], lambda: maker, {}, shard_size=6), work)
    join(work)
    verdicts = [{"id": f"t{number}", "verdict": ("good", "fair", "bad")[number % 3]} for number in range(12)]
    (work / "judgement.jsonl").write_text("".join(json.dumps(row) + "\n" for row in verdicts))
    page = write_card(work)
    for path in (page, page.with_suffix(".json")):
        shutil.copy(path, folder)


def _card(folder, name):
    """The card of a run at length, whose clips are not kept."""
    from nemo_vtb.pages.data_card import render_card
    from nemo_vtb.reports.write import write_both

    card = json.loads((_RESULTS / "data_cards" / name).read_text(encoding="utf-8"))
    nothing = {"clips": [], "conversations": []}
    write_both(card, folder, lambda text: render_card(card, nothing, {}, Path("."), {}, text), "card")
