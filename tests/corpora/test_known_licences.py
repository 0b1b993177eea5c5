"""What made speech says: sentences whose licence is known, and a card that names those licences."""

import json
from pathlib import Path

import pytest
import yaml


def _texts(folder: Path) -> Path:
    chat = {"0": {"messages": [[{"text": "do you like the sea"}]]}}
    (folder / "chitchat.json").write_text(json.dumps(chat))
    for name, row in {
        "gsm8k": {"question": "Tom has two red apples. How many are left?"},
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


@pytest.mark.parametrize("name", ["build_open_speech", "build_study_train"])
def test_the_card_of_made_speech_names_licences_and_none_that_is_unknown(script, name):
    card = script(name).CARD
    licences = yaml.safe_load(card.split("---")[1])["license"]
    assert licences == ["mit", "cc-by-4.0", "cc-by-sa-3.0", "apache-2.0"]
    for written in ("(MIT)", "(CC BY 4.0)", "(CC BY-SA 3.0)", "(Apache-2.0)"):
        assert written in card
