"""The index on real files: lengths, bad rows, caching, and what it costs."""

import gzip
import json
import os
import signal

import numpy as np
import pytest

from nemo_vtb.data.conversations.size import Size, measure
from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.sources import index_build
from nemo_vtb.data.sources.formats import RowFile
from nemo_vtb.data.sources.index import open_index
from nemo_vtb.data.sources.index_build import ROW
from nemo_vtb.data.sources.source import Reading, open_source, read_source, read_sources
from nemo_vtb.errors import VTBError


def chat(number, words=3):
    turns = [{"from": "User", "value": f"number {number}"}, {"from": "Assistant", "value": "word " * words}]
    return {"id": f"t{number}", "conversations": turns}


def open_texts(*paths, key="k", **counts):
    """An index whose rows are plain lists; a row that says so is bad or unwanted."""

    def parse(row, where):
        counts.setdefault("parsed", []).append(where)
        if row.get("bad"):
            raise BadRow("missing field", row["bad"])
        return None if row.get("skip") else lambda epoch: row["x"]

    return open_index([RowFile(path, parse) for path in paths], lambda x: Size(len(x), 1, 0.5), key, "test")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("NEMO_VTB_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_lengths_are_those_of_the_batch(jsonl, two_clips, tokenizer):
    dataset = VTBDataset(tokenizer, "chatml", "<|audio|>")
    rows = [{"id": f"u{n}", "audio_filepath": str(c.path), "text": c.text} for n, c in enumerate(two_clips)]
    entry = {"type": "nemo", "manifest_filepath": jsonl(*rows)}
    source = read_source(entry, "asr", "<|audio|>", 0.08, encoder=dataset)
    for number, clip in enumerate(two_clips):
        size = source.size(number)
        assert size[:2] == measure(source.draw(number, 0), dataset, 0.08)[:2]
        assert size.audio_seconds == pytest.approx(clip.duration, abs=0.02)
        encoded = dataset[[source.draw(number, 0)]]["encoded"][0]
        assert size.supervised == encoded.loss_mask.sum()
        assert size.total == len(encoded.input_ids) - 1 + -int(-size.audio_seconds // 0.08)
    assert source.sizes(np.arange(2), 3).tolist() == [list(source.size(row)) for row in range(2)]


def test_rows_are_found_whatever_the_lines_look_like(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [
        b'\xef\xbb\xbf{"x": "first"}\r\n',
        b"\n",
        b'{"skip": 1}\n',
        '{"x": "näxt\u2028line"}\n'.encode(),
        b'{"x": "last"}',
    ]
    path.write_bytes(b"".join(lines))
    index = open_texts(path)
    assert [index.draw(row)(0) for row in range(3)] == ["first", "näxt\u2028line", "last"]
    assert [index.where(row) for row in range(3)] == [f"{path}:{line}" for line in (1, 4, 5)]


def test_many_chunks_processes_and_files_keep_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr(index_build, "_CHUNK_BYTES", 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    paths = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    for path in paths:
        path.write_text("".join(json.dumps({"x": f"{path.stem}{n}"}) + "\n" for n in range(30)))
    index = open_texts(*paths)
    assert [index.draw(row)(0) for row in range(60)] == [f"{p.stem}{n}" for p in paths for n in range(30)]
    assert index.where(45) == f"{paths[1]}:16"


def test_a_compressed_file_reads_like_a_plain_one(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"x": "a"}\n{"x": "bb"}\n'))
    index = open_texts(path)
    assert index.draw(1)(0) == "bb" and index.where(1) == f"{path}:2"
    path.write_bytes(gzip.compress(b'{"x": "a"}\n' * 500)[:-9])
    with pytest.raises(VTBError, match="cannot be read to its end"):
        open_texts(path)


def test_it_is_made_once_and_again_when_a_file_or_the_reading_changes(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"x": "a"}\n')
    seen = {"parsed": []}
    first = open_texts(path, **seen)
    assert len(seen["parsed"]) == 1
    assert open_texts(path, **seen).contents.digest == first.contents.digest and len(seen["parsed"]) == 1
    open_texts(path, key="another", **seen)
    assert len(seen["parsed"]) == 2
    path.write_text('{"x": "b"}\n')
    os.utime(path, (1, 1))
    assert open_texts(path, **seen).contents.digest != first.contents.digest and len(seen["parsed"]) == 3
    moved = path.rename(tmp_path / "elsewhere.jsonl")
    moved.write_text('{"x": "a"}\n')
    assert open_texts(moved).contents.digest == first.contents.digest


def test_data_whose_folder_takes_nothing_keep_their_index_in_the_cache(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"x": "a"}\n')
    # Whoever runs the tests may be allowed to write anywhere, but not below a file.
    (tmp_path / ".vtb_index").write_text("taken")
    assert open_texts(path).draw(0)(0) == "a"
    assert sorted(os.listdir(tmp_path)) == [".vtb_index", "rows.jsonl"]
    seen = {"parsed": []}
    open_texts(path, **seen)
    assert not seen["parsed"]


def test_a_conversation_costs_36_bytes_and_no_object(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"x": "a"}\n' * 10)
    assert ROW.itemsize == 36
    assert type(open_texts(path).rows).__name__ == "memmap"


def test_bad_rows_are_counted_again_from_the_cache(jsonl, tokenizer):
    path = jsonl(*[chat(n) for n in range(9)], '{"id":')
    entry = {"type": "nemo_sft_jsonl", "paths": path}
    for _ in range(2):
        source = read_source(entry, "text", "<|audio|>", 0.08, max_bad_share=0.2)
        assert len(source) == source.bad.good == 9 and dict(source.bad.reasons) == {"broken JSON": 1}
        with pytest.raises(VTBError, match=r"rows\.jsonl:10: broken JSON"):
            read_source(entry, "text", "<|audio|>", 0.08)


def test_too_long_conversations_are_left_out_by_name(jsonl, tokenizer):
    dataset = VTBDataset(tokenizer, "chatml")
    entry = {"type": "nemo_sft_jsonl", "paths": jsonl(chat(0), chat(1, words=200), chat(2))}
    with pytest.raises(VTBError, match=r"rows\.jsonl:2: 2\d\d LLM positions, batch_tokens allows 100"):
        read_source(entry, "text", "<|audio|>", 0.08, max_total=100, encoder=dataset)
    source = read_source(entry, "text", "<|audio|>", 0.08, 30.0, 0.5, max_total=100, encoder=dataset)
    assert [source.draw(row, 0).id for row in range(len(source))] == ["t0", "t2"]
    assert source.size(1).total < 100 and dict(source.bad.reasons) == {"too long": 1}


def test_what_teaches_nothing_is_a_bad_row(jsonl, tokenizer):
    class Nothing(VTBDataset):
        def encode(self, conversation):
            encoded = super().encode(conversation)
            encoded.loss_mask[:] = False
            return encoded

    with pytest.raises(VTBError, match="no token of the conversation would be learnt"):
        read_source(
            {"type": "nemo_sft_jsonl", "paths": jsonl(chat(0))},
            "text",
            "<|audio|>",
            0.08,
            encoder=Nothing(tokenizer, "chatml"),
        )


def test_weights_and_temperature_of_groups_within_groups(jsonl):
    def leaf(name, rows, **more):
        return {
            "type": "nemo_sft_jsonl",
            "paths": jsonl(*[chat(n) for n in range(rows)], name=f"{name}.jsonl"),
            "name": name,
            **more,
        }

    def weights(entries, temperature=1.0):
        found = read_sources(entries, "text", Reading("<|audio|>", 0.08), temperature)
        return {source.name: pytest.approx(source.weight) for source in found}

    plain = [leaf("a", 1), leaf("b", 4)]
    assert weights(plain) == {"a": 0.2, "b": 0.8}
    assert weights(plain, 0.5) == {"a": 1 / 3, "b": 2 / 3}
    nested = [{"type": "group", "weight": 3, "input_cfg": plain}, leaf("c", 2, weight=1)]
    assert weights(nested) == {"a": 0.75 * 0.2, "b": 0.75 * 0.8, "c": 0.25}
    assert weights(nested, [1.0, 0.5]) == {"a": 0.25, "b": 0.5, "c": 0.25}
    for entries, message in [
        ([leaf("a", 1, weight=1), leaf("b", 1)], "all entries of a level a weight, or none"),
        ([leaf("a", 1, weight=0)], "weights must be above 0"),
        ([], "input_cfg is empty"),
    ]:
        with pytest.raises(VTBError, match=message):
            weights(entries)
    with pytest.raises(VTBError, match="fewer entries than there are levels"):
        weights(nested, [1.0])


def test_a_worker_that_is_killed_stops_the_index_with_a_message(tmp_path, monkeypatch):
    monkeypatch.setattr(index_build, "_CHUNK_BYTES", 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    path = tmp_path / "rows.jsonl"
    path.write_text('{"x": "a"}\n' * 50)
    kill = RowFile(path, lambda row, where: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(VTBError, match="a process that read rows was killed"):
        open_index([kill], None, "k", "test")


def test_what_no_row_is_to_blame_for_stops_the_index(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"x": "a"}\n')

    def refuse(row, where):
        raise VTBError("the tar is refused")

    with pytest.raises(VTBError, match="the tar is refused"):
        open_index([RowFile(path, refuse)], None, "k", "test")


@pytest.mark.parametrize("name", ["m.jsonl", "m.json"])
def test_rows_that_are_written_anew_while_they_are_read_are_not_learnt(tmp_path, name):
    def write(words, more=()):
        rows = [
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": word}]} for word in words
        ]
        lines = [json.dumps(row) for row in (*rows, *more)]
        (tmp_path / name).write_text("\n".join(lines) + "\n" if name == "m.jsonl" else f"[{', '.join(lines)}]")

    def drawn():
        return [source.draw(row, 0).turns[-1].value for row in range(3)]

    write(["one", "two", "six"])
    source = open_source(
        {"type": "share_gpt", "manifest_filepath": f"{tmp_path}/{name}"}, "text", Reading("<|audio|>", 0.08)
    )
    assert drawn() == ["one", "two", "six"]
    os.utime(tmp_path / name, (1, 1))  # the same rows, copied once more
    assert drawn() == ["one", "two", "six"]
    write(["one", "two", "six"], more=[{"broken": True}])  # rows that follow are none of this run's
    assert drawn() == ["one", "two", "six"]
    write(["six", "two", "one"])
    os.utime(tmp_path / name, (2, 2))
    for change in (lambda: None, (tmp_path / name).unlink):
        change()
        with pytest.raises(BadRow, match=rf"{name} (holds other rows|cannot be read)") as error:
            source.draw(0, 0)
        assert error.value.reason == "changed file"
