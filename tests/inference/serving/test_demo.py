"""The demo page: its logic as a visitor's browser calls it, then in a browser with a microphone."""

import os
import time
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import soundfile
from chromium import Chromium, installed

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.audio_input import Limits
from nemo_vtb.inference.chat import ChatSession
from nemo_vtb.inference.serving.page import Example, Page, limits_of_card
from nemo_vtb.inference.serving.page_talk import Talk, Talker, spectrogram
from nemo_vtb.inference.serving.worker import Worker
from nemo_vtb.inference.session.decoder import Decoder
from nemo_vtb.inference.session.sampling import AnswerOptions
from nemo_vtb.paths import SHIPPED, checkpoint_path, corpora_dir

# With it the page has the shipped checkpoint, and its picture goes where the variable says.
PICTURE = os.environ.get("VTB_DEMO_PICTURE")
FEW = AnswerOptions(6)


@pytest.fixture(scope="module")
def worker(gated):
    model = gated
    if PICTURE:
        from nemo_vtb.models.load import load_checkpoint

        model = load_checkpoint(SHIPPED, precision="32-true")
    worker = Worker(Decoder(model))
    yield worker
    worker.close()


@pytest.fixture
def talker(worker):
    return Talker(worker, Limits(megabytes=4, seconds=60))


def last(talker, talk, text, files=(), **how):
    how = {"system": "", "scale": 1.0, "beside": False, "options": FEW} | how
    *_, progress = talker.answer(talk, text, talker.sounds(files), files, **how)
    assert progress.ended
    return progress


def test_a_visitor_hears_what_a_session_says(talker, worker, clips):
    talk, session = Talk(), ChatSession(worker.decoder.model)
    first = last(talker, talk, "Hello.")
    second = last(talker, talk, "What is said?", [str(clips[0].path)])
    assert first.text == session.say("Hello.", max_new_tokens=6)
    parts = [{"type": "text", "text": "What is said?"}, {"type": "audio", "audio": clips[0].path}]
    assert second.text == session.say(parts, max_new_tokens=6)
    assert "the untouched LLM" in first.figures and "LoRA at 1" in second.figures and "s of sound" in second.figures
    assert f"[{clips[0].path.name}: " in second.fed and len(talk.turns) == 4 and len(talk.asked) == 2


def test_beside_the_untouched_llm_each_goes_on_with_its_own_words(talker, worker, clips):
    talk = Talk()
    progress = last(talker, talk, "", [str(clips[0].path)], beside=True)
    base = ChatSession(worker.decoder.model, lora_scale=0.0)
    assert progress.base == base.say([{"type": "audio", "audio": clips[0].path}], max_new_tokens=6)
    again = last(talker, talk, "And?", beside=True)
    assert again.base == base.say("And?", max_new_tokens=6)
    assert progress.text != progress.base and talk.turns[1] != talk.base[1]


def test_what_is_no_recording_leaves_the_conversation_as_it_was(talker, tmp_path):
    (tmp_path / "notes.wav").write_text("words")
    talk = Talk()
    with pytest.raises(VTBError, match=r"^notes\.wav cannot be read as audio"):
        talker.sounds([str(tmp_path / "notes.wav")])
    with pytest.raises(VTBError, match="type a message"):
        last(talker, talk, "  ")
    soundfile.write(tmp_path / "still.wav", np.zeros(16_000), 16_000)
    assert last(talker, talk, "", [str(tmp_path / "still.wav")]).figures.startswith("still.wav is silent")


def test_a_spectrogram_shows_a_tone_at_its_height(talker, tmp_path):
    soundfile.write(tmp_path / "tone.wav", np.sin(np.arange(16_000) * 2 * np.pi * 2000 / 16_000) / 2, 16_000)
    picture = spectrogram(talker.sounds([str(tmp_path / "tone.wav")])[0])
    assert picture.dtype == np.uint8 and picture.shape == (257, 101)
    assert picture[:, 50].argmax() == 256 - 64


def test_the_limits_are_those_of_the_card(tmp_path):
    shipped = limits_of_card(checkpoint_path(SHIPPED))
    assert "Languages in the training data: en, es" in shipped and "Licence" not in shipped
    assert "no card" in limits_of_card(tmp_path)


def test_what_can_be_tried_with_the_shipped_checkpoint_is_there():
    from nemo_vtb.cli.talk.demo import _examples

    tried = _examples(SHIPPED)
    assert len(tried) == 4 and all(Path(clip).exists() for example in tried for clip in example.files)
    assert [example.label for example in _examples("runs/quickstart/last.ckpt")] == ["Written question"]


@pytest.mark.parametrize("usual", [{"temperature": 3.0, "max_new_tokens": 1024}, {"temperature": 0.0}])
def test_the_page_takes_the_settings_that_it_begins_with(talker, usual):
    page = Page(talker, "tiny", "", [], usual).blocks()
    sliders = [block for block in page.blocks.values() if isinstance(block, gr.Slider)]
    assert len(sliders) == 3
    assert all(slider.preprocess(slider.value) == slider.value for slider in sliders)
    most = {slider.label.split()[0]: slider.maximum for slider in sliders}
    assert most["Temperature"] >= 2 and most["Most"] >= 512


@pytest.mark.skipif(not installed(), reason="no Chromium here")
def test_in_a_browser_one_types_uploads_and_records(talker, clips, tmp_path):
    seconds = 3
    commands = corpora_dir() / "spoken_commands" / "audio"
    voice, rate = soundfile.read(commands / "0018_bm_george.ogg" if PICTURE else clips[0].path)
    soundfile.write(tmp_path / "voice.wav", np.resize(voice, seconds * rate), rate)
    spoken = tmp_path / "my clip.flac"
    soundfile.write(spoken, voice, rate)
    examples = [Example("Written question", "What is the capital of France?")]
    path = checkpoint_path(SHIPPED)
    page = Page(talker, "shipped", limits_of_card(path), examples, {"max_new_tokens": 24 if PICTURE else 6})
    blocks = page.launch("127.0.0.1", 0, 4, 8, wait=False)
    browser = Chromium(
        tmp_path,
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={tmp_path / 'voice.wav'}",
    )

    def answered(words: str) -> str:
        """The box is free again, and the figures of the last answer hold the words."""
        free = "!document.querySelector('#box textarea').disabled && !document.querySelector('#chat .pending')"
        return f"{free} && /{words}/.test(document.querySelector('#figures').innerText)"

    before = talker._worker.decoder.frames.encoded
    try:
        browser.open(blocks.local_url)
        browser.until("document.querySelector('#box textarea')")
        assert browser.ask("document.querySelector('#limits').innerText.includes('Nothing was added for safety')")
        browser.ask("[...document.querySelectorAll('button')].find(b => b.innerText == 'Written question').click()")
        browser.until("document.querySelector('#box textarea').value.includes('France')")
        send(browser)
        browser.until(answered(r"first token after.* 0\.0 s of sound"))

        browser.choose_file("#box input[type=file]", spoken)
        browser.until("document.querySelector('#box .thumbnail-wrapper')")
        browser.type("#box textarea", "Transcribe the audio.")
        send(browser)
        browser.until(answered(rf"first token after.* {len(voice) / rate:.1f} s of sound"))

        browser.ask("document.querySelector('#box button.microphone-button').click()")
        browser.until("document.querySelector('#box button.record-button')")
        browser.ask("document.querySelector('#box button.record-button').click()")
        browser.until("document.querySelector('#box button.stop-button')")
        # As long as somebody speaks.
        time.sleep(1.5)
        browser.ask("document.querySelector('#box button.stop-button').click()")
        browser.until("document.querySelector('#box button.confirm-button')")
        browser.ask("document.querySelector('#box button.confirm-button').click()")
        browser.until("document.querySelector('#box .thumbnail-wrapper')")
        browser.type("#box textarea", "And this?")
        send(browser)
        browser.until(answered(r"first token after.* [2-9]\.[0-9] s of sound"))
        players = "document.querySelectorAll('#chat .component-wrap, #chat [data-testid^=waveform]').length"
        assert browser.ask(players) >= 2
        # The upload may have been heard before, in another test; what was recorded was not.
        assert talker._worker.decoder.frames.encoded > before
        if PICTURE:
            browser.picture(Path(PICTURE))
    finally:
        browser.close()
        blocks.close()


def send(browser):
    browser.ask("document.querySelector('#box button.submit-button').click()")
