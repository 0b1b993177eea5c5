"""Property-based fuzzing of everything that reads data: out comes a conversation, a counted skip or a VTBError.

A bounded set runs always; more with ``NEMO_VTB_FUZZ=2500 pytest tests/data/test_fuzz.py``: so many cases a test, drawn
anew in every run. Each find is kept in ``tests/known_issues/test_fuzz_finds.py``.
"""

import gzip
import os
import warnings

import numpy as np
import pytest
import soundfile
from fuzz_inputs import damaged, good_rows, lines, tars
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from row_reader import parsed_rows

from nemo_vtb.data.audio.audio_check import signal
from nemo_vtb.data.audio.audio_stores import AudioFolder
from nemo_vtb.data.audio.tars import TarIndex
from nemo_vtb.data.conversations.speech_bank import SpeechBank
from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.files.rows import REMEDIES, BadRow, BadRows
from nemo_vtb.data.inspection.lint import LintResult, lint_entry
from nemo_vtb.data.sources.index import RowIndex, open_index
from nemo_vtb.data.sources.source import ConversationSource, Reading, named_files, open_source
from nemo_vtb.errors import VTBError

_CASES = int(os.environ.get("NEMO_VTB_FUZZ", 0))
_SECONDS = 0.5
_AUDIO_KINDS = {"nemo": ("asr", "ast", "sqa", "align"), "lhotse": ("asr",), "nemo_sft_jsonl": ("text",)}
fuzz = settings(
    max_examples=_CASES or 60,
    derandomize=not _CASES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one clip, ``clip.wav``."""
    folder = tmp_path_factory.mktemp("fuzz")
    tone = 0.3 * np.sin(np.arange(int(_SECONDS * 16000)) / 20)
    for name in ("clip.wav", "clip.flac", "clip.ogg"):
        soundfile.write(folder / name, tone, 16000)
    return folder


@pytest.fixture(scope="module", autouse=True)
def no_programs():
    """Without ffmpeg, which is asked last and takes a third of a second to say no; the libraries are what is fuzzed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        yield


@pytest.fixture(scope="module")
def dataset(tokenizer):
    return VTBDataset(tokenizer, "chatml", "<|audio|>")


@pytest.fixture(scope="module")
def rows(folder):
    return good_rows(folder / "clip.wav", _SECONDS)


@fuzz
@given(data=st.data())
def test_rows_of_every_type(data, folder, rows, dataset, read, context):
    from nemo_vtb.data.sources.formats import row_files

    data_type = data.draw(st.sampled_from(sorted(rows)))
    kind = data.draw(st.sampled_from(_AUDIO_KINDS.get(data_type, ("mixed", "text"))))
    written = data.draw(st.lists(lines(rows[data_type]), min_size=1, max_size=3))
    path = folder / "rows.jsonl"
    path.write_bytes(b"\n".join(written))
    key = {"nemo_sft_jsonl": "paths", "lhotse": "cuts_path"}.get(data_type, "manifest_filepath")
    [file] = row_files({"type": data_type, key: str(path)}, context(kind))
    bad = BadRows(1.0)
    for draw in parsed_rows(path, file.parse, bad):
        if draw is not None:
            _check_conversation(draw, dataset)
    held = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    assert bad.good + sum(bad.reasons.values()) == len(held)
    assert set(bad.reasons) <= set(REMEDIES)


@fuzz
@given(data=st.data())
def test_lint_and_training_agree_on_every_row(data, folder, rows, dataset):
    """Lint calls a row an error exactly where training would skip it, at the start or when it is loaded."""
    data_type = data.draw(st.sampled_from(sorted(rows)))
    kind = data.draw(st.sampled_from(_AUDIO_KINDS.get(data_type, ("mixed", "text"))))
    path = folder / "both.jsonl"
    path.write_bytes(b"\n".join(data.draw(st.lists(lines(rows[data_type]), min_size=1, max_size=3))))
    key = {"nemo_sft_jsonl": "paths", "lhotse": "cuts_path"}.get(data_type, "manifest_filepath")
    entry = {"type": data_type, key: str(path)}
    reading = Reading("<|audio|>", 0.08, max_bad_share=1.0, max_total=512, encoder=dataset)
    found = LintResult()
    lint_entry(entry, kind, reading, found, processes=1)
    wrong = {finding.line for finding in found.findings if finding.severity == "error"}
    if 0 in wrong:  # nothing can be read of the file, which stops training
        with pytest.raises(VTBError):
            open_source(entry, kind, reading)
        return
    name, files = named_files(entry, kind, reading)
    contents = open_index(files, reading.weigh, "both", name).contents
    source = ConversationSource(name, RowIndex(files, contents), 1.0, BadRows(1.0), reading.max_total)
    taken = {
        int(source.where(index).rpartition(":")[2]) for index in range(len(source)) if _loads(source, index, dataset)
    }
    assert not taken & wrong
    refused = sum(contents.reasons.values()) + len(contents.rows) - len(taken)
    assert refused == len(wrong), (contents.first, found.findings)


def _loads(source, index, dataset):
    try:
        dataset.load(source.draw(index, 0))
    except BadRow:
        return False
    return True


def _check_conversation(draw, dataset):
    """It can be batched, or its audio is a counted skip; clips and placeholders agree whatever the text holds."""
    conversation = draw(0)
    placeholder = dataset.tokenizer.token_to_id("<|audio|>")
    encoded = dataset.encode(conversation)
    assert (encoded.input_ids == placeholder).sum() == len(conversation.list_cuts())
    assert not encoded.loss_mask[encoded.input_ids == placeholder].any()
    try:
        batch = dataset[[conversation]]
    except BadRow as error:
        assert error.reason in REMEDIES
    else:
        assert len(batch["audios"]) == len(conversation.list_cuts()) and batch["audios"].isfinite().all()


@fuzz
@given(data=st.data())
def test_files_of_rows(data, folder, rows, dataset):
    """Whole files, damaged anywhere, plain and gzip, through the index."""
    data_type = data.draw(st.sampled_from(["multimodal_conversation", "nemo_sft_jsonl"]))
    content = b"\n".join(data.draw(st.lists(lines(rows[data_type]), max_size=4)))
    packed = data.draw(st.booleans())
    path = folder / ("file.jsonl.gz" if packed else "file.jsonl")
    path.write_bytes(data.draw(damaged(gzip.compress(content, mtime=0) if packed else content)))
    key = "paths" if data_type == "nemo_sft_jsonl" else "manifest_filepath"
    reading = Reading("<|audio|>", 0.08, max_bad_share=1.0, max_total=512, encoder=dataset)
    try:
        source = open_source({"type": data_type, key: str(path)}, "mixed", reading)
    except VTBError:
        return
    for index in range(len(source)):
        size, conversation = source.size(index), source.draw(index, 0)
        assert size.total <= 512 and size.supervised == dataset.encode(conversation).loss_mask.sum() > 0


@fuzz
@given(data=st.data())
def test_tars(data, folder):
    path = folder / "clips.tar"
    path.write_bytes(data.draw(tars((folder / "clip.wav").read_bytes())))
    try:
        index = TarIndex(path, by_stem=data.draw(st.booleans()))
    except VTBError:
        return
    for name in ("a.wav", "b.wav", "a", "é.wav", "d/e.wav"):
        if (member := index.find(name)) is not None:
            assert member.offset + member.size <= path.stat().st_size
            _check_clip(lambda member=member, name=name: member.recording(name))


@fuzz
@given(data=st.data())
def test_headers_of_recordings(data, folder):
    source = folder / data.draw(st.sampled_from(["clip.wav", "clip.flac", "clip.ogg"]))
    path = folder / f"damaged{source.suffix}"
    path.write_bytes(data.draw(damaged(source.read_bytes(), within=data.draw(st.sampled_from([48, 300, 100_000])))))
    _check_clip(lambda: AudioFolder(folder).recording(path.name))


def _check_clip(open_recording):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            recording = open_recording()
            assert recording.duration > 0
            if recording.duration < 60:
                heard = signal(recording.to_cut(), 16000, "clip")
                assert len(heard) and heard.isfinite().all()
        except BadRow as error:
            assert error.reason in REMEDIES


@fuzz
@given(data=st.data())
def test_banks_of_spoken_sentences(data, folder):
    row = {"text": "Hi there.", "audio_filepath": "clip.wav", "duration": _SECONDS, "voice": "v"}
    path = folder / "bank.jsonl"
    path.write_bytes(b"\n".join(data.draw(st.lists(lines([row]), min_size=1, max_size=3))))
    try:
        bank = SpeechBank([path], max_bad_share=1.0)
    except VTBError:
        return
    for spoken in bank.find("hi there"):
        try:
            assert bank.cut(spoken).duration > 0
        except BadRow as error:
            assert error.reason in REMEDIES
