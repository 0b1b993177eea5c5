import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile

from nemo_vtb.cli import main
from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.data_card import write_card
from nemo_vtb.synthesis.jobs.job import Job, run_job
from nemo_vtb.synthesis.jobs.join import join
from nemo_vtb.synthesis.jobs.shard import Item, Shard

HOSTILE = "<script>alert('x')</script>"


def make(folder: Path, clips: Sequence[SimpleNamespace]) -> None:
    """Thirty conversations whose user speaks with the voices of real recordings."""

    def maker(items: Sequence[Item], shard: Shard) -> None:
        for item in items:
            number = item.row["number"]
            if number % 5 == 4:
                shard.drop(item.id, "cer", "too far off")
                continue
            clip = clips[number % len(clips)]
            path, seconds = shard.clip(item.id, *soundfile.read(clip.path, dtype="float32"))
            asked = {"from": "User", "type": "audio", "value": path, "duration": seconds, "text": clip.text}
            said = {"from": "Assistant", "type": "text", "value": f"{HOSTILE} {number}"}
            custom = {"kind": "mixed", "lang": "en", "category": "planning" if number % 2 else "advice seeking"}
            shard.add({"id": item.id, "conversations": [asked, said], "custom": {**custom, "voice": f"v{number % 3}"}})
            shard.observe("cer.first", number / 30)
            if number < 20:
                shard.observe("cer.kept", number / 60)
            shard.count("tts.seconds.slow", seconds / 2)
            shard.count("tts.audio_seconds.slow", seconds)
            shard.count("asr.seconds", seconds / 4)
            shard.count("asr.audio_seconds", seconds)

    items = [Item(f"turn-{number:02d}", {"number": number}) for number in range(30)]
    run_job(Job("speech", items, lambda: maker, {"tts": "none"}, shard_size=10), folder)
    join(folder)


@pytest.fixture
def folder(tmp_path: Path, clips: Sequence[SimpleNamespace]) -> Path:
    make(tmp_path, clips)
    return tmp_path


def test_the_card_counts_what_stands_in_the_folder(folder: Path):
    assert write_card(folder) == folder / "card.html"
    card = json.loads((folder / "card.json").read_text())
    assert card["rows"] == {"conversations": 24} and card["items"] == 30 and card["clips"] == 24
    assert card["voices"] == {"v0": 8, "v1": 8, "v2": 8} and card["languages"] == {"en": 24}
    assert card["categories"] == {"advice seeking": 12, "planning": 12}
    assert card["drops"] == {"cer": {"count": 6, "share": 1.0}} and card["bad"] == {}
    assert card["cer"]["first"]["n"] == 24 and card["cer"]["kept"]["n"] == 16
    assert card["cer"]["kept"]["mean"] < card["cer"]["first"]["mean"]
    factors = {"slow": 0.5, "tts": 0.5, "asr": 0.25}
    assert card["speed"]["real_time_factor"] == pytest.approx(factors, abs=1e-3)
    assert card["hours"] * 3600 == pytest.approx(card["amounts"]["tts.audio_seconds.slow"], abs=1e-2)
    assert card["settings"]["tts"] == "none" and card["judgement"] == {}


def test_the_page_plays_ten_clips_and_shows_ten_conversations_whole(folder: Path):
    page = write_card(folder).read_text()
    card = json.loads((folder / "card.json").read_text())
    assert len(card["samples"]["clips"]) == len(card["samples"]["conversations"]) == 10
    # Each clip once by itself and once where it is said.
    assert page.count("<audio") == page.count("data:audio/flac;base64,") == 20
    assert "Character error rate before and after the gate" in page
    # What models wrote is text, and the page asks nothing of anyone.
    assert HOSTILE not in page and "&lt;script&gt;" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and 'src="/' not in page


def test_a_person_s_judgement_stands_beside_the_same_samples(folder: Path, capsys: pytest.CaptureFixture):
    write_card(folder)
    before = json.loads((folder / "card.json").read_text())["samples"]
    judged = [
        {"id": before["conversations"][0], "verdict": "bad", "note": "cut off <b>"},
        {"id": before["clips"][0], "verdict": "good"},
        {"id": before["clips"][1], "verdict": "good"},
        {"id": before["clips"][1], "verdict": "fair"},
    ]
    (folder / "judgement.jsonl").write_text("\n".join(map(json.dumps, judged)) + "\n\n")
    assert main(["synth", "card", str(folder)]) == 0
    assert capsys.readouterr().out.split() == [str(folder / "card.html")]
    card, page = json.loads((folder / "card.json").read_text()), (folder / "card.html").read_text()
    assert card["samples"] == before and card["judgement"] == {"bad": 1, "good": 1, "fair": 1}
    assert "✗ bad" in page and "cut off &lt;b&gt;" in page and "1 of 3 samples that were judged are bad" in page


@pytest.mark.parametrize(
    "line", ["no json", "[]", '{"id": "a"}', '{"id": "a", "verdict": "great"}', '{"verdict": "bad"}']
)
def test_what_is_no_judgement_is_named(folder: Path, line: str):
    (folder / "judgement.jsonl").write_text('{"id": "a", "verdict": "bad"}\n' + line)
    with pytest.raises(VTBError, match=r"judgement\.jsonl:2: a judgement is"):
        write_card(folder)


def test_a_folder_that_was_not_joined_has_no_card(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["synth", "card", str(tmp_path)]) == 2
    assert "holds no joined data" in capsys.readouterr().err


def test_nothing_left_is_a_card_too(tmp_path: Path):
    def maker(items: Sequence[Item], shard: Shard) -> None:
        for item in items:
            shard.drop(item.id, "no audio", bad=True)

    run_job(Job("qa", [Item("a", {})], lambda: maker, {}, max_bad_share=1), tmp_path)
    join(tmp_path)
    page = write_card(tmp_path).read_text()
    assert "1 items had bad input" in page and "<audio" not in page
