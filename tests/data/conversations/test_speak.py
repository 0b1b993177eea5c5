"""Sentences of text conversations spoken on the fly, from a bank of real recordings."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from nemo_vtb.data.conversations.speak import Speaker
from nemo_vtb.data.conversations.speech_bank import SpeechBank
from nemo_vtb.data.conversations.turns import ClipRules
from nemo_vtb.data.files.rows import BadRow, BadRows
from nemo_vtb.errors import VTBError
from nemo_vtb.parts.spoken_spans import SpeakRule, sentences

CORPUS = Path(__file__).parents[3] / "examples/corpora/spoken_commands"
RULES = ClipRules("<|audio|>", 0.0, 30.0)


@pytest.fixture(scope="module")
def recorded():
    """Sentences of the shipped corpus that two or more voices speak, and the rows of their recordings."""
    rows = [json.loads(line) for line in (CORPUS / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    by_voice = Counter(row["speaker"] for row in rows)
    voice = by_voice.most_common(1)[0][0]
    return [row for row in rows if row["speaker"] == voice][:6]


@pytest.fixture(scope="module")
def bank(recorded, tmp_path_factory):
    path = tmp_path_factory.mktemp("bank") / "bank.jsonl"
    rows = [
        {"text": row["text"].capitalize() + ".", "audio_filepath": str(CORPUS / row["audio_filepath"]),
         "duration": row["duration"], "voice": row["speaker"]}
        for row in recorded
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def text_of(recorded, *numbers):
    return " ".join(recorded[n]["text"].capitalize() + "!" if n >= 0 else "Nobody said this." for n in numbers)


def speaker(bank, **rule):
    return Speaker(SpeechBank([bank]), RULES, SpeakRule(**rule))


def spoken_turns(conversation):
    return [turn for turn in conversation.turns if hasattr(turn, "cut")]


def test_sentences_keep_their_places():
    text = " Hi there.  Mr. Smith paid 3.5 dollars!\n\n***\n\nDone? "
    assert [text[a:b] for a, b in sentences(text)] == ["Hi there.", "Mr. Smith paid 3.5 dollars!", "Done?"]
    assert sentences("…") == [] and sentences("") == []
    german = "Das ist z.B. gut. Und jetzt? Grüße!"
    assert [german[a:b] for a, b in sentences(german, "de")] == ["Das ist z.B. gut.", "Und jetzt?", "Grüße!"]


def test_one_run_of_whole_sentences_is_spoken_and_the_text_is_kept(bank, recorded, conversation):
    text = text_of(recorded, 0, 1, 2, 3)
    split = [text[a:b] for a, b in sentences(text)]
    for number in range(30):
        chat = conversation(f"c{number}", ("system", "Hm."), ("user", text), ("assistant", "x"))
        for variant in range(2):
            spoken = speaker(bank).speak(chat, variant)
            (turn,) = spoken_turns(spoken)
            said = turn.text
            assert " ".join(getattr(t, "text", None) or t.value for t in spoken.turns if t.role == "user") == text
            assert any(said == " ".join(split[a:b]) for a in range(4) for b in range(a + 1, 5))
            assert spoken.custom["written"] == [{"turn": 0, "text": text, "spoken": [said]}]
        assert speaker(bank).speak(chat, 2) is None
        assert chat.is_text_only


def test_the_run_is_drawn_as_in_the_paper(bank, recorded, conversation):
    """Beginning even over 0..n-1, end even over beginning+1..n."""
    text, speaks = text_of(recorded, 0, 1, 2), speaker(bank)
    places = sentences(text)
    runs: Counter = Counter()
    for number in range(1200):
        chat = conversation(f"c{number}", ("user", text), ("assistant", "x"))
        said = spoken_turns(speaks.speak(chat, 0))[0].text
        start = text.index(said)
        runs[[a for a, _ in places].index(start), [b for _, b in places].index(start + len(said)) + 1] += 1
    expected = {(0, 1): 1 / 9, (0, 2): 1 / 9, (0, 3): 1 / 9, (1, 2): 1 / 6, (1, 3): 1 / 6, (2, 3): 1 / 3}
    assert {run: count / 1200 for run, count in runs.items()} == pytest.approx(expected, abs=0.04)


def test_the_clip_is_the_recordings_one_after_another(bank, recorded, conversation):
    chat = conversation("all", ("user", text_of(recorded, 0, 1)), ("assistant", "x"))
    variants = [spoken_turns(speaker(bank, variants=99).speak(chat, variant))[0] for variant in range(2)]
    clips = [soundfile.read(CORPUS / row["audio_filepath"], dtype="float32")[0] for row in recorded[:2]]
    texts = {
        text_of(recorded, 0): clips[0],
        text_of(recorded, 1): clips[1],
        text_of(recorded, 0, 1): np.concatenate(clips),
    }
    for turn in variants:
        np.testing.assert_allclose(turn.cut.load_audio()[0], texts[turn.text], atol=1e-6)


def test_what_the_bank_lacks_stays_written(bank, recorded, conversation):
    chat = conversation("gap", ("user", text_of(recorded, 0, -1, 1)), ("assistant", "x"))
    said = {spoken_turns(speaker(bank, variants=50).speak(chat, variant))[0].text for variant in range(3)}
    assert said <= {text_of(recorded, 0), text_of(recorded, 1)}
    with pytest.raises(BadRow, match="none of the user's sentences"):
        speaker(bank).speak(conversation("none", ("user", "Nobody said this."), ("assistant", "x")), 0)


def test_several_spans_and_several_turns_are_options(bank, recorded, conversation):
    text = text_of(recorded, 0, 1, 2, 3, 4)
    turns = [("user", text), ("assistant", "a"), ("user", text), ("assistant", "b"), ("user", text), ("assistant", "c")]
    spans, turns_spoken = Counter(), Counter()
    speaks = speaker(bank, max_spans=3, max_turns=2)
    for number in range(60):
        spoken = speaks.speak(conversation(f"c{number}", *turns), 0)
        turns_spoken[len(spoken.custom["written"])] += 1
        for written in spoken.custom["written"]:
            spans[len(written["spoken"])] += 1
            assert written["text"] == text
    assert set(turns_spoken) == {1, 2} and {1, 2} <= set(spans) <= {1, 2, 3}
    single = {len(speaker(bank).speak(conversation(f"c{n}", *turns), 0).custom["written"]) for n in range(20)}
    assert single == {1}


def test_a_conversation_with_audio_passes_unchanged_once(bank, clip, conversation):
    chat = conversation("heard", ("user", clip.path), ("assistant", "x"))
    assert speaker(bank).speak(chat, 0) is chat and speaker(bank).speak(chat, 1) is None


def test_too_long_a_run_is_not_drawn(bank, recorded, conversation):
    longest = max(row["duration"] for row in recorded[:4])
    limited = Speaker(SpeechBank([bank]), ClipRules("<|audio|>", 0.0, longest + 0.1), SpeakRule())
    for number in range(20):
        chat = conversation(f"c{number}", ("user", text_of(recorded, 0, 1, 2, 3)), ("assistant", "x"))
        assert spoken_turns(limited.speak(chat, 0))[0].cut.duration <= longest + 0.1


def test_one_voice_speaks_a_run(recorded, tmp_path, conversation):
    """Two voices that share no sentence never meet in one clip."""
    rows = [
        {"text": row["text"], "audio_filepath": str(CORPUS / row["audio_filepath"]), "speaker": f"voice{number % 2}"}
        for number, row in enumerate(recorded[:4])
    ]
    path = tmp_path / "bank.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    chat = conversation("c", ("user", text_of(recorded, 0, 1, 2, 3)), ("assistant", "x"))
    speaks = speaker(path, variants=20)
    assert all(len(sentences(spoken_turns(speaks.speak(chat, v))[0].text)) == 1 for v in range(4))


def test_a_source_gives_each_variant_as_a_row_and_counts_what_cannot_be_spoken(bank, recorded, jsonl, read, said):
    def chat(text):
        return {"conversations": [{"from": "User", "value": text}, {"from": "Assistant", "value": "x"}]}

    path = jsonl(chat(text_of(recorded, 0, 1)), chat(text_of(recorded, 2)), chat("Nobody said this."))
    bad = BadRows(0.0)  # such rows are no bad ones
    draws = read("mixed", bad, manifest_filepath=path, speak={"bank": str(bank)})
    assert len(draws) == 3 and dict(bad.reasons) == {"not in speech bank": 1}
    assert ("user", "♪") in said(draws[0](0)) and said(draws[1](0)) == [("user", "♪"), ("assistant", "x")]
    assert [draw(0).custom["kind"] for draw in draws] == ["mixed"] * 3
    assert draws[0](0).turns == draws[0](1).turns


def test_a_blend_speaks_the_text_of_another_kind(bank, recorded, jsonl, tokenizer):
    from omegaconf import OmegaConf

    from nemo_vtb.data.datamodule import build_blend
    from nemo_vtb.data.dataset import VTBDataset

    rows = [
        {"conversations": [{"from": "User", "value": text_of(recorded, n, 5 - n)}, {"from": "Assistant", "value": "x"}]}
        for n in range(3)
    ]
    kinds = {
        "text": {"share": 0.5, "input_cfg": [{"manifest_filepath": jsonl(*rows)}]},
        "mixed": {"share": 0.5, "speak": {"from": "text", "spans": "sentence", "bank": str(bank)}},
    }
    section = {
        "prompt_format": "chatml", "audio_locator_tag": "<|audio|>", "token_equivalent_duration": 0.08,
        "batch_tokens": 512, "blend": {"kinds": kinds},
    }  # fmt: skip
    dataset = VTBDataset(tokenizer, "chatml", "<|audio|>")
    blend = build_blend(OmegaConf.create(section), dataset)
    assert [len(blend.sources[kind][0]) for kind in ("text", "mixed")] == [3, 6]
    batch = dataset[[blend.sources["mixed"][0].draw(index, 0) for index in range(6)]]
    assert len(batch["audios"]) == 6 and set(batch["kinds"]) == {"mixed"}
    # The sizes in the index are those of each variant.
    sizes = blend.sources["mixed"][0].sizes(np.arange(6), 0)
    frames = [-int(-c.duration // 0.08) - 1 for conv in batch["conversations"] for c in conv.list_cuts()]
    assert sizes[:, 0].tolist() == [len(e.input_ids) + f for e, f in zip(batch["encoded"], frames, strict=True)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "speak needs a bank"),
        ({"spans": "word"}, r"speak\.spans is 'word'"),
        ({"variants": 0}, r"speak\.variants must be a whole number above 0"),
        ({"voice": "x"}, r"unknown config key speak\.voice"),
        ({"bank": "nowhere.jsonl"}, "no such file: nowhere.jsonl"),
    ],
)
def test_settings_that_cannot_work_are_named(bank, jsonl, read, settings, message):
    settings = {**({"bank": str(bank)} if settings else {"from": None}), **settings}
    with pytest.raises(VTBError, match=message):
        read("mixed", manifest_filepath=jsonl(), speak=settings)


def test_a_bad_bank_is_named(tmp_path):
    path = tmp_path / "bank.jsonl"
    path.write_text('{"text": "hi", "audio_filepath": "a.wav"}\n{"text": "hi"}\n')
    with pytest.raises(VTBError, match=r"bank\.jsonl:2: 'audio_filepath' is missing"):
        SpeechBank([path])
    bank = SpeechBank([path], max_bad_share=0.5)
    assert len(bank) == 1 and len(bank.find("HI!")) == 1
    with pytest.raises(BadRow, match=r"no audio file at .*a\.wav"):
        bank.cut(bank.find("hi")[0])


def test_a_recording_that_is_marked_to_skip_is_not_spoken(tmp_path):
    path = tmp_path / "bank.jsonl"
    rows = [{"text": "Hi.", "audio_filepath": "a.wav", "_skipme": True}, {"text": "Ho.", "audio_filepath": "b.wav"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    bank = SpeechBank([path])
    assert len(bank) == 1 and not bank.find("hi") and bank.row(bank.find("ho")[0])["audio_filepath"] == "b.wav"
