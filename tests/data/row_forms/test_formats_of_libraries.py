"""A file of each format, made by the library that it comes from, trained on and previewed."""

import io
import json
import shutil
import sys
import tarfile

import pytest
import soundfile
from omegaconf import OmegaConf

from nemo_vtb.cli import main
from nemo_vtb.data.files.rows import BadRows
from nemo_vtb.data.sources.source import Reading, open_source
from nemo_vtb.errors import VTBError

datasets = pytest.importorskip("datasets")
READING = Reading("<|audio|>", 0.08)


def messages(*parts):
    return [{"role": "user", "content": list(parts)}, {"role": "assistant", "content": "yes"}]


@pytest.fixture
def wavs(clips, tmp_path):
    """Two recordings as WAV."""
    paths = []
    for number, clip in enumerate(clips[:2]):
        samples, rate = soundfile.read(clip.path)
        soundfile.write(tmp_path / f"{number}.wav", samples, rate)
        paths.append(tmp_path / f"{number}.wav")
    return paths


@pytest.fixture
def speech(clips):
    """A dataset of Hugging Face with an Audio column."""
    rows = {"audio": [str(clip.path) for clip in clips], "sentence": [clip.text for clip in clips], "lang": ["en"] * 4}
    return datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(decode=False))


def embedded(dataset, column="audio"):
    """The dataset with its recordings inside, as it is shared."""
    from datasets.table import embed_table_storage

    return datasets.Dataset(embed_table_storage(dataset.with_format("arrow")[:])).cast_column(
        column, datasets.Audio(decode=False)
    )


@pytest.fixture
def chats(wavs):
    """A dataset of Hugging Face with messages and an Audio column."""
    asked = [{"role": "user", "content": "<audio>What is said?"}, {"role": "assistant", "content": "yes"}]
    rows = {"messages": [asked, asked], "audios": [[str(wav)] for wav in wavs]}
    column = datasets.Sequence(datasets.Audio(decode=False))
    return datasets.Dataset.from_dict(rows).cast_column("audios", column)


def web_dataset(folder, wavs):
    (folder / "0").mkdir(parents=True)
    with tarfile.open(folder / "0" / "shard-0.tar", "w") as tar:
        for number, wav in enumerate(wavs):
            turns = [{"from": "human", "value": "<sound>\nWhat?"}, {"from": "gpt", "value": "yes"}]
            row = json.dumps({"sound": "gone/from/disk.wav", "conversations": turns}).encode()
            for name, data in ((f"{number}.json", row), (f"{number}.wav", wav.read_bytes())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    (folder / "wids-meta.json").write_text(json.dumps({"shardlist": [{"url": "0/shard-0.tar", "nsamples": 2}]}))
    return folder


def test_each_format_is_trained_on_and_previewed(
    slim_cfg, tmp_path, wavs, speech, chats, conversation, jsonl, monkeypatch, capsys
):
    import base64

    from nemo.collections.common.data.lhotse.text_adapters import (
        NeMoMultimodalConversationShareGPTWebdatasetAdapter,
        NeMoMultimodalConversationTarWriter,
    )
    from transformers.audio_utils import load_audio

    embedded(speech).to_parquet(str(tmp_path / "speech.parquet"))
    embedded(speech).save_to_disk(str(tmp_path / "speech"))
    chats.save_to_disk(str(tmp_path / "chats"))
    typed = [{"type": "audio", "path": str(wavs[0])}, {"type": "audio", "url": str(wavs[1])}]
    for part in typed:  # Transformers reads the parts as we do
        assert load_audio(part.get("path") or part["url"], sampling_rate=16000).size
    coded = {"data": base64.b64encode(wavs[0].read_bytes()).decode(), "format": "wav"}
    rows = [
        {"messages": messages(part, {"type": "text", "text": "What?"})}
        for part in (*typed, {"type": "input_audio", "input_audio": coded})
    ]
    datasets.Dataset.from_list([{"messages": json.dumps(row["messages"])} for row in rows]).to_json(
        str(tmp_path / "o.jsonl")
    )
    (tmp_path / "array.json").write_text(json.dumps(rows, indent=1))
    folder = web_dataset(tmp_path / "web", wavs)
    theirs = NeMoMultimodalConversationShareGPTWebdatasetAdapter(
        str(folder), "<|audio|>", token_equivalent_duration=0.08
    )
    with NeMoMultimodalConversationTarWriter(str(tmp_path / "nemo")) as writer:
        for number, wav in enumerate(wavs):
            writer.write(conversation(f"n{number}", ("user", wav), ("assistant", "yes")))
    entries = {
        "asr": [
            {"type": "parquet", "manifest_filepath": str(tmp_path / "speech.parquet"), "text_field": "sentence"},
            {"type": "parquet", "manifest_filepath": str(tmp_path / "speech"), "text_field": "sentence"},
        ],
        "mixed": [
            {"type": "share_gpt", "manifest_filepath": str(tmp_path / "chats")},
            {"type": "share_gpt", "manifest_filepath": str(tmp_path / "o.jsonl")},
            {"type": "share_gpt", "manifest_filepath": str(tmp_path / "array.json")},
            {"type": "share_gpt_webdataset", "data_dir": str(folder)},
            {
                "type": "multimodal_conversation",
                "manifest_filepath": str(tmp_path / "nemo/manifest_0.jsonl"),
                "tarred_audio_filepaths": str(tmp_path / "nemo/audio_0.tar"),
            },
        ],
    }
    # As many conversations as were written, the web dataset's as NeMo reads them.
    sizes = {kind: [len(open_source(entry, kind, READING)) for entry in of] for kind, of in entries.items()}
    assert sizes == {"asr": [4, 4], "mixed": [2, 3, 3, 2, 2]}
    web = open_source(entries["mixed"][3], "mixed", READING)
    for number, their in enumerate(theirs):
        ours = web.draw(number, 0)
        assert [turn.role for turn in ours.turns] == [turn.role for turn in their.turns] and ours.id == their.id
        assert (ours.list_cuts()[0].load_audio() == their.list_cuts()[0].load_audio()).all()
    model = slim_cfg()
    common = {"prompt_format": "chatml", "audio_locator_tag": "<|audio|>", "token_equivalent_duration": 0.08}
    kinds = {kind: {"share": 0.5, "input_cfg": of} for kind, of in entries.items()}
    switched_off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    config = {
        "model": model,
        "data": {"train_ds": {**common, "batch_tokens": 1024, "blend": {"kinds": kinds}}},
        "trainer": {
            "accelerator": "cpu",
            "max_steps": 2,
            "use_distributed_sampler": False,
            **dict.fromkeys(switched_off, False),
        },
    }
    (tmp_path / "mine.yaml").write_text(OmegaConf.to_yaml(config))
    monkeypatch.chdir(tmp_path)
    named = ["--config-name=mine", f"--config-dir={tmp_path}"]
    assert main(["train", *named]) == 0 and (tmp_path / "runs" / "train" / "last.ckpt").is_file()
    capsys.readouterr()
    assert main(["preview", *named, "--count", "20"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("♪") == shown.count("\n== ") + 1 == 20


@pytest.mark.parametrize("form", ["parquet", "folder", "one group a row"])
def test_recordings_in_tables_sound_as_they_are(speech, clips, tmp_path, form):
    table = embedded(speech)
    path = tmp_path / ("d" if form == "folder" else "d.parquet")
    if form == "folder":
        table.save_to_disk(str(path), num_shards=3)
    else:
        table.to_parquet(str(path), batch_size=1 if form == "one group a row" else None)
    source = open_source({"type": "parquet", "manifest_filepath": str(path), "text_field": "sentence"}, "asr", READING)
    for number in (2, 0, 3, 1):
        (cut,) = source.draw(number, 0).list_cuts()
        heard, rate = soundfile.read(clips[number].path)
        assert cut.sampling_rate == rate and abs(cut.load_audio()[0] - heard).max() < 1e-4
    assert source.draw(1, 0).turns[-1].value.lower().startswith(clips[1].text.lower()[:3])


def test_recordings_beside_a_table_are_named_by_it(speech, tmp_path):
    datasets.Dataset.from_dict({"audio": speech.with_format(None)["audio"], "text": ["a"] * 4}).to_parquet(
        str(tmp_path / "t.parquet")
    )
    source = open_source({"type": "parquet", "manifest_filepath": str(tmp_path / "t.parquet")}, "asr", READING)
    assert len(source) == 4 and source.where(3).endswith("t.parquet, row 4")


def test_a_dict_of_splits_asks_for_one_of_them(speech, tmp_path):
    datasets.DatasetDict({"train": speech, "test": speech}).save_to_disk(str(tmp_path / "d"))
    entry = {"type": "parquet", "manifest_filepath": str(tmp_path / "d"), "text_field": "sentence"}
    with pytest.raises(VTBError, match="holds the splits test, train: name one of them"):
        open_source(entry, "asr", READING)
    assert len(open_source({**entry, "manifest_filepath": str(tmp_path / "d/train")}, "asr", READING)) == 4


def test_damaged_files_are_refused_in_a_line(tmp_path, read):
    for name, data in (("a.parquet", b"PAR1nothing"), ("a.arrow", b"x" * 40), ("a.json", b'[{"messages": ')):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(VTBError, match=f"{name} cannot be read as"):
            open_source({"type": "share_gpt", "manifest_filepath": str(tmp_path / name)}, "mixed", READING)
    (tmp_path / "empty").mkdir()
    with pytest.raises(VTBError, match="is a folder without tables"):
        open_source({"type": "share_gpt", "manifest_filepath": str(tmp_path / "empty")}, "mixed", READING)


def test_without_pyarrow_the_message_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(VTBError, match=r"needs pyarrow: pip install 'nemo-vtb\[tables\]'"):
        open_source({"type": "share_gpt", "manifest_filepath": str(tmp_path / "a.parquet")}, "mixed", READING)


def test_an_array_of_rows_that_are_not_all_good(tmp_path, read):
    good = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]}
    path = tmp_path / "a.json"
    path.write_text(json.dumps([good, 3, {"messages": []}, good]))
    source = open_source(
        {"type": "share_gpt", "manifest_filepath": str(path)}, "text", Reading("<|audio|>", 0.08, max_bad_share=1.0)
    )
    assert len(source) == 2 and dict(source.bad.reasons) == {"broken JSON": 1, "missing field": 1}
    assert "a.json, row 2: " in source.bad.first["broken JSON"]
    lines = tmp_path / "manifest.json"  # as NeMo calls files of lines
    lines.write_text(json.dumps(good) + "\n")
    bad = BadRows()
    assert len(read("text", bad, type="share_gpt", manifest_filepath=str(lines))) == 1
    shutil.rmtree(tmp_path / ".vtb_index")


@pytest.mark.parametrize("key", ["messages", "conversations"])
@pytest.mark.parametrize("form", ["parquet", "jsonl", "text"])
def test_a_list_for_each_field_is_read_as_messages(tmp_path, key, form):
    """As a `Sequence` of several features was stored by `datasets` before version 4."""
    import pyarrow
    from pyarrow import parquet

    names = ("role", "content") if key == "messages" else ("from", "value")
    columns = dict(zip(names, (["user", "assistant"], ["Name a colour.", "Green."]), strict=True))
    if form == "parquet":
        path = tmp_path / "chats.parquet"
        parquet.write_table(pyarrow.Table.from_pylist([{key: columns}]), path)
    else:
        path = tmp_path / "chats.jsonl"
        path.write_text(json.dumps({key: columns if form == "jsonl" else json.dumps(columns)}) + "\n")
    source = open_source({"type": "share_gpt", "manifest_filepath": str(path)}, "text", READING)
    assert [(turn.role, turn.value) for turn in source.draw(0, 0).turns] == [
        ("user", "Name a colour."),
        ("assistant", "Green."),
    ]


def test_columns_of_different_lengths_are_no_messages(jsonl):
    path = jsonl({"messages": {"role": ["user", "assistant"], "content": ["Name a colour."]}})
    with pytest.raises(VTBError, match="different lengths: role 2, content 1"):
        open_source({"type": "share_gpt", "manifest_filepath": path}, "text", READING)
