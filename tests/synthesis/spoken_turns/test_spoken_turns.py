"""``vtb synth speech`` as a whole: real chats, real voices, a real Whisper."""

import json

import numpy as np
import pytest
import soundfile

from nemo_vtb.config import compose
from nemo_vtb.errors import VTBError
from nemo_vtb.parts.spoken_spans import sentences
from nemo_vtb.synthesis.jobs.job import run_job
from nemo_vtb.synthesis.jobs.join import join
from nemo_vtb.synthesis.spoken_turns import run as spoken_turns
from nemo_vtb.synthesis.voices import tts
from nemo_vtb.synthesis.voices.light import Hibari
from nemo_vtb.whole_files import read_rows

ASKED = "Help me plan a surprise party. My friend likes music. Keep it short."
ANSWER = "Invite a band and bake a cake."


def chat(name, *turns, **custom):
    roles = ("User", "Assistant")
    said = [{"from": roles[n % 2], "type": "text", "value": text} for n, text in enumerate(turns)]
    return {"id": name, "conversations": said, "custom": custom}


@pytest.fixture
def write(tmp_path):
    def rows(*given, name="chats.jsonl"):
        path = tmp_path / name
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in given))
        return path

    return rows


@pytest.fixture
def make(tmp_path):
    """Runs the command with hibari and no gate; returns conversations, bank, drops by id and totals."""

    def run(path, *overrides, out="out", processes=1):
        cfg = compose(
            "synth/speech",
            [
                f"out={tmp_path / out}",
                f"source.manifest_filepath={path}",
                "voices.en=[hibari]",
                "gate=null",
                *overrides,
            ],
        )
        job = spoken_turns.job_of(cfg)
        assert run_job(job, tmp_path / out, processes=processes)
        totals = join(tmp_path / out, spoken_turns.unique)
        files = [read_rows(tmp_path / out / f"{name}.jsonl") for name in ("conversations", "bank", "drops")]
        return *files[:2], {row["id"]: row["reason"] for row in files[2]}, totals

    return run


def audio_turns(row):
    return [turn for turn in row["conversations"] if turn["type"] == "audio"]


def written(row):
    return " ".join(turn.get("text", turn["value"]) for turn in row["conversations"] if turn["from"] == "User")


def test_one_run_is_spoken_and_every_row_says_where_it_comes_from(write, make, tmp_path):
    path = write(*(chat(f"c{n}", ASKED, ANSWER, category="Planning") for n in range(1)))
    rows, bank, drops, totals = make(path, "seed=3")
    assert [row["id"] for row in rows] == ["c0/spoken0", "c0/spoken1"] and not drops
    split = [ASKED[start:end] for start, end in sentences(ASKED)]
    for row in rows:
        (turn,) = audio_turns(row)
        assert written(row) == ASKED and any(
            turn["text"] == " ".join(split[a:b]) for a in range(3) for b in range(a + 1, 4)
        )
        samples, rate = soundfile.read(tmp_path / "out" / turn["value"])
        assert rate == 16_000 and len(samples) / rate == pytest.approx(turn["duration"], abs=1e-3)
        assert 20 * np.log10(np.sqrt(np.mean(samples**2))) == pytest.approx(-24, abs=0.5)
        custom = row["custom"]
        assert custom["voice"] == "hibari:heart" and custom["engine"].startswith("hibari-tts ")
        assert custom["spoken"] == turn["text"] and 0.9 <= custom["speed"] <= 1.1 and 0.95 <= custom["pitch"] <= 1.05
        assert custom["source"] == "c0" and len(custom["source_sha256"]) == 64 and custom["seed"] == 3
        assert custom["kind"] == "mixed" and custom["lang"] == "en" and custom["category"] == "Planning"
    assert {row["text"] for row in bank} <= set(split) and totals["rows"] == {"bank": len(bank), "conversations": 2}
    assert totals["amounts"]["tts.sentences.hibari"] == len(bank) and totals["amounts"]["tts.seconds.hibari"] > 0


def test_numbers_are_spoken_in_words_and_written_as_they_were(write, make):
    rows, bank, _, _ = make(write(chat("n", "I paid $5 for 20% of it.", "I see.")))
    assert audio_turns(rows[0])[0]["text"] == "I paid $5 for 20% of it."
    assert bank[0]["spoken"] == "I paid five dollars for twenty percent of it." == rows[0]["custom"]["spoken"]


def test_what_is_for_the_eye_is_never_spoken(write, make):
    asked = "Fix my code please.\n```\nprint(1). Then go.\n```\nSee www.example.com for more. Thank you very much!"
    rows, bank, drops, _ = make(write(chat("code", asked, "Done."), chat("sum", "What is 3 x 4?", "12.")))
    assert {row["text"] for row in bank} <= {"Fix my code please.", "Thank you very much!"} and rows
    assert "```\nprint(1). Then go.\n```" in " ".join(t["value"] for t in rows[0]["conversations"])
    assert drops == {"sum": "nothing to speak"}


def test_the_papers_filters_and_bad_rows_are_counted(write, make):
    long = " ".join(["Tell me a story about a very long road."] * 20)
    german = "Kannst du mir bitte sagen, wie spät es ist und wann der nächste Zug nach Berlin fährt?"
    path = write(
        chat("good", ASKED, ANSWER, category="planning"), chat("math", ASKED, ANSWER, category="Math"),
        chat("long", long, ANSWER), chat("wordy", "Tell me more.", "so " * 1024), chat("german", german, "Ja."),
        chat("xx", ASKED, ANSWER, lang="xx"), '{"id": "odd"}', "no json",
        {"id": "none", "conversations": [{"from": "User", "value": "Hi."}]},
    )  # fmt: skip
    rows, _, drops, totals = make(path, "max_bad_share=0.9")
    assert {row["custom"]["source"] for row in rows} == {"good"}
    assert totals["drops"] == {"category": 1, "long instruction": 1, "long response": 1, "language": 2}
    assert totals["bad"] == {"missing field": 1, "broken JSON": 1, "no assistant turn": 1}
    assert drops["math"] == "category" and drops["chats.jsonl:8"] == "broken JSON"
    with pytest.raises(VTBError, match="bad input"):
        make(path, "max_bad_share=0.1", out="strict")


def test_lengths_are_counted_by_the_tokenizer_that_is_named(write, make, smollm2):
    path = write(chat("c", "Antidisestablishmentarianism, please.", "Well."))
    _, _, drops, _ = make(path, f"filters.tokenizer={smollm2}", "filters.instruction_tokens=4")
    assert drops == {"c": "long instruction"}
    assert make(path, "filters.instruction_tokens=4", out="words")[0]


def test_shards_and_processes_do_not_change_what_is_made(write, make, tmp_path):
    path = write(*(chat(f"c{n}", f"Tell me about the number {n}. Be brief.", ANSWER) for n in range(3)))

    def heard(rows, out):
        return [
            (row["id"], turn["text"], soundfile.read(tmp_path / out / turn["value"])[0].tobytes())
            for row in rows
            for turn in audio_turns(row)
        ]

    one = heard(make(path)[0], "out")
    assert len(one) == 6
    assert heard(make(path, "shard_size=1", out="three", processes=2)[0], "three") == one
    assert heard(make(path, "seed=1", out="other")[0], "other") != one


def test_a_resumed_job_has_every_row_once(write, make, tmp_path):
    import shutil

    path = write(*(chat(f"c{n}", f"Tell me about the number {n}.", ANSWER) for n in range(6)))
    first = make(path, "shard_size=2")[:2]
    shutil.rmtree(tmp_path / "out/shards/00001")
    assert make(path, "shard_size=2")[:2] == first


def test_nemo_sft_and_sharegpt_are_sources_too(write, make):
    turns = [{"from": "human", "value": "Where is the garden?"}, {"from": "gpt", "value": "Behind the house."}]
    share = make(write({"id": "s", "conversations": turns}), "source.type=share_gpt")[0]
    turns = [{"from": "User", "value": "Where is the garden?"}, {"from": "Assistant", "value": "Behind the house."}]
    path = write({"id": "s", "system": "Be kind.", "mask": "User", "conversations": turns}, name="sft.jsonl")
    overrides = ["source.type=nemo_sft_jsonl", f"source.paths={path}"]
    sft = make("null", *overrides, out="sft")[0]
    assert [written(rows[0]) for rows in (share, sft)] == ["Where is the garden?"] * 2
    assert sft[0]["conversations"][0] == {"from": "System", "type": "text", "value": "Be kind."}


class Faulty(Hibari):
    """Speaks well as ``heart`` and fails in a way of its own as each other voice."""

    def voices(self, language):
        return ("crash", "nan", "silent", "empty", "stuck", "wrong", "heart")

    def speak(self, text, voice, language, speed):
        if voice == "crash":
            raise RuntimeError("the engine crashed")
        samples, rate = super().speak(
            "Something else entirely." if voice == "wrong" else text, "heart", language, speed
        )
        broken = {"nan": samples * np.nan, "silent": samples * 0, "empty": samples[:0], "stuck": np.tile(samples, 30)}
        return broken.get(voice, samples), rate


@pytest.fixture
def faulty(monkeypatch):
    monkeypatch.setitem(tts.ENGINES, "faulty", f"{__name__}:Faulty")


GATED = ["gate={asr: {any: whisper-tiny.en}, limit: 0.2}"]


def test_a_bad_clip_is_spoken_again_by_another_voice(write, make, faulty):
    path = write(chat("c", "Help me plan a surprise party.", ANSWER))
    for voice, reason in [("crash", "engine failed"), ("nan", "not finite"), ("silent", "silent"), ("empty", "empty"),
                          ("stuck", "length"), ("wrong", "cer")]:  # fmt: skip
        voices = f"voices.en=[faulty:{voice}*1000000,hibari*0.001]"
        rows, _, drops, totals = make(path, voices, *GATED, out=voice)
        assert rows[0]["custom"]["voice"] == "hibari:heart" and not drops
        assert totals["amounts"][f"respoken.{reason}"] == 1 and rows[0]["custom"]["cer"] <= 0.2
        if voice == "wrong":
            assert totals["values"]["cer.first"][0] > 0.2 >= totals["values"]["cer.kept"][0]


def test_what_no_voice_can_say_is_dropped_and_the_rest_of_the_shard_kept(write, make, faulty, monkeypatch):
    real = Faulty.speak
    monkeypatch.setattr(
        Faulty, "speak", lambda self, text, voice, *rest: real(self, text, "crash" if "party" in text else voice, *rest)
    )
    path = write(chat("bad", "Plan a party.", ANSWER), chat("good", "Where is the garden?", ANSWER))
    rows, bank, drops, _ = make(path, "voices.en=[faulty:heart,faulty:wrong]", "tries=2", "speak.variants=1")
    assert [row["custom"]["source"] for row in rows] == ["good"] and len(bank) == 1
    assert drops == {"bad/spoken0": "engine failed"}


def test_several_turns_and_spans_have_lists_of_what_was_done(write, make):
    later = "Where is the garden? I want to see it. Who is there?"
    asked = [ASKED.replace("My friend", f"My {name}") for name in (*"ABCDEFGHIJKLMNOP",)]
    path = write(*(chat(f"c{n}", text, ANSWER, later, "Behind the house.") for n, text in enumerate(asked)))
    rows, _, _, _ = make(path, "speak.max_spans=2", "speak.max_turns=2")
    assert {len(audio_turns(row)) for row in rows} >= {1, 2, 3}
    for row in rows:
        heard = audio_turns(row)
        spoken = row["custom"]["spoken"]
        assert (spoken if isinstance(spoken, list) else [spoken]) == [turn["text"] for turn in heard]
        assert written(row) in {f"{text} {later}" for text in asked}


def test_noise_is_around_the_chats_and_not_in_the_bank(write, make, tmp_path):
    soundfile.write(tmp_path / "hum.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 16_000), 16_000)
    noise = f"noise={{files: [{tmp_path / 'hum.wav'}], snr_db: [10, 10], share: 1.0}}"
    rows, bank, _, _ = make(write(chat("c", "Where is the garden?", ANSWER)), noise)
    assert rows[0]["custom"]["noise"] == "hum.wav" and rows[0]["custom"]["snr_db"] == 10.0
    clip, clean = (
        soundfile.read(tmp_path / "out" / name)[0]
        for name in (audio_turns(rows[0])[0]["value"], bank[0]["audio_filepath"])
    )
    assert np.abs(clean[:1000]).mean() < 0.1 * np.abs(clip[:1000]).mean()


def test_a_bank_is_used_before_anything_is_spoken_and_alone_if_asked(write, make, tmp_path):
    first = write(chat("a", "Where is the garden? Who is there?", ANSWER), name="first.jsonl")
    bank = make(first, "speak.variants=1", "seed=5", out="bank")[1]
    banks = f"banks=[{tmp_path / 'bank/bank.jsonl'}]"
    known = bank[0]["text"]
    path = write(chat("b", known, ANSWER), chat("c", "What is the time?", ANSWER))
    rows, new, drops, totals = make(path, banks)
    assert rows[0]["custom"]["engine"] == "recording" and rows[0]["custom"]["voice"] == "hibari:heart"
    assert audio_turns(rows[0])[0]["value"] == str((tmp_path / "bank" / bank[0]["audio_filepath"]).resolve())
    assert [row["text"] for row in new] == ["What is the time?"] and totals["amounts"]["reused.sentences"] == 1
    rows, _, drops, _ = make(path, banks, "tts=false", out="only")
    assert [row["custom"]["source"] for row in rows] == ["b"] and drops == {"c": "not in a bank"}


def test_the_bank_speaks_other_chats_on_the_fly(write, make, tmp_path):
    from nemo_vtb.data.conversations.speech_bank import SpeechBank
    from nemo_vtb.data.datamodule import build_blend

    _, bank, _, _ = make(write(chat("c", "Where is the garden?", ANSWER)))
    found = SpeechBank([tmp_path / "out/bank.jsonl"]).find("where is the GARDEN")
    assert len(found) == 1 and found[0].seconds == pytest.approx(bank[0]["duration"], abs=1e-3)
    chats, kinds = write(chat("t", "Where is the garden?", "Here.")), "data.train_ds.blend.kinds"
    cfg = compose(
        "quickstart",
        [
            "+blend=speak",
            f"{kinds}.mixed.speak.bank={tmp_path / 'out/bank.jsonl'}",
            f"{kinds}.text.input_cfg=[{{manifest_filepath: {chats}}}]",
        ],
    )
    from nemo_vtb.data.inspection.preview import dataset_of

    sources = build_blend(cfg.data.train_ds, dataset_of(cfg)).sources["mixed"]
    spoken = [source.draw(n, 0) for source in sources for n in range(len(source)) if "t/spoken" in source.draw(n, 0).id]
    assert [turn.text for turn in spoken[0].turns if hasattr(turn, "cut")] == ["Where is the garden?"]


def test_the_same_conversation_under_two_names_is_kept_once():
    rows = [
        {"id": f"{name}/spoken{n}", "custom": {"source": name, "source_sha256": digest}}
        for name, digest in (("a", "1"), ("b", "1"), ("c", "2"))
        for n in range(2)
    ]
    kept, dropped = spoken_turns.unique(rows)
    assert [row["id"] for row in kept] == ["a/spoken0", "a/spoken1", "c/spoken0", "c/spoken1"]
    assert [(row["id"], row["reason"], row["detail"]) for row in dropped] == [
        (f"b/spoken{n}", "duplicate", "as a") for n in range(2)
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("speed=[1.2,0.8]", r"speed=\[1\.2, 0\.8\]: name the lowest and the highest"),
        ("tries=0", "tries=0: it is 1 or more"),
        ("speak.max_spans=0", r"speak\.max_spans=0: it is 1 or more"),
        ("speak.max_seconds=60", r"speak\.max_seconds=60"),
        ("tts=false", r"tts=false leaves nobody to speak"),
        ("+voice=x", r"unknown config key config\.voice; did you mean 'voices'"),
        ("+speak.spans=word", r"speak.*spans"),
        ("gate.limit=much", r"limit"),
        ("noise={files: [a.wav]}", r"noise needs files, snr_db, share"),
        ("voices.en=hibari", r"voices\.en"),
        ("voices.en=[hibari*much]", r"voices\.en: 'hibari\*much' is no engine"),
        ("source.manifest_filepath=gone.jsonl", r"no such file: gone\.jsonl"),
        ("source.type=poems", r"unknown type 'poems'"),
    ],
)
def test_settings_that_cannot_work_are_named(override, message, write, tmp_path):
    base = [f"out={tmp_path}", f"source.manifest_filepath={write(chat('c', 'Hello.', 'Hi.'))}"]
    with pytest.raises(VTBError, match=message):
        spoken_turns.job_of(compose("synth/speech", [*base, override]))
