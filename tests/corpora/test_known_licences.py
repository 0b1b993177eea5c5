"""What made speech says: sentences whose licence is known, and a card that names those licences."""

import json
import re
from pathlib import Path

import pytest
import yaml


def _texts(folder: Path) -> Path:
    chat = {"0": {"messages": [[{"text": "do you like the sea"}]]}}
    (folder / "chitchat.json").write_text(json.dumps(chat))
    for name, row in {
        "gsm8k": {"question": "Tom has two red apples. How many are left?", "answer": "Two.\n#### 2"},
        "banking77": {"input": [{"role": "user", "content": "Where is my new card?"}]},
        "wikipedia": {"0": "The river runs through two towns. It is cold in winter."},
        "webtext": {"0": "Nobody knows who wrote this. It is cold in winter."},
    }.items():
        (folder / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def test_a_sentence_of_web_pages_alone_is_drawn_and_not_spoken(script, tmp_path: Path):
    sentences, folder = script("said.open_sentences"), _texts(tmp_path)
    drawn = sentences.open_sentences(folder, 99, seed=0)
    assert "Nobody knows who wrote this." in drawn, "the draw stays as it was: clips are named by it"
    known = sentences.of_known_licence(folder, drawn)
    assert set(drawn) - known == {"Nobody knows who wrote this."}
    assert "It is cold in winter." in known, "the encyclopedia has it too"


@pytest.mark.parametrize(
    ("name", "licences"),
    [
        ("build_open_speech", {"MIT": "mit", "CC BY 4.0": "cc-by-4.0", "CC BY-SA 3.0": "cc-by-sa-3.0"}),
        ("build_study_train", {"MIT": "mit", "CC BY 4.0": "cc-by-4.0"}),  # the encyclopedia is held out there
    ],
)
def test_the_card_of_made_speech_names_licences_and_none_that_is_unknown(script, name, licences):
    card, licences = script(name).CARD, licences | {"Apache-2.0": "apache-2.0"}
    assert yaml.safe_load(card.split("---")[1])["license"] == list(licences.values())
    assert set(re.findall(r"\(([^()]*)\)", card)) == set(licences)


def test_the_study_hears_no_sentence_of_what_is_held_out(script, tmp_path: Path):
    """Nor one from later in a held-out chat, whose first exchanges alone are measured."""
    folder = _texts(tmp_path)
    said = [f"This is message number {word}." for word in "one two three four five six seven eight".split()]
    turns = [[{"sender": number % 2, "text": text}] for number, text in enumerate(said)]
    (folder / "chitchat.json").write_text(json.dumps({"a": {"messages": turns}}))
    held_out = script("build_text_battery").held_out_text(folder)
    assert said[-1].lower() in held_out
    (measured,) = script("build_text_battery").held_out_chats(folder)
    assert said[-1] not in json.dumps(measured)
