"""What a file is that cannot be read as rows: said in a line, with the remedy that fits."""

import gzip
import io
import json
import tarfile

import numpy as np
import pytest
import soundfile

from nemo_vtb.cli import main

ROW = json.dumps({"audio_filepath": "a.wav", "text": "Où est-il allé ? True, None."}, ensure_ascii=False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ((ROW + "\n").encode("latin-1"), ("m.jsonl:1: broken JSON", "0xf9", "iconv -f LATIN1 -t UTF-8")),
        (
            f"{ROW},\n{ROW},\n".encode(),
            ("m.jsonl:1: broken JSON: Extra data at column", "','", "one UTF-8 JSON object"),
        ),
        (ROW[:-4].encode(), ("m.jsonl:1: broken JSON: Unterminated string", "one UTF-8 JSON object per line")),
        (f"\n{ROW}{ROW}\n".encode(), ("m.jsonl:2: broken JSON: Extra data", "one UTF-8 JSON object per line")),
        (f"{ROW}\r{ROW}\r".encode(), ("end in CR alone", "tr '\\r' '\\n'")),
        (b"{'id': 1, 'label': True}\n", ("Python's", "json.dumps")),
        (b'{"audio_filepath": "a.wav", "text": "a\tb"}\n', ("m.jsonl:1: broken JSON: Invalid control character",)),
        (b"path,sentence,lang\na.wav,hi,en\n", ("a table", "read_csv(FILE, sep=',')")),
        (b"path\tsentence\na.wav\thi\n", ("a table", "read_csv(FILE, sep='\\t')")),
    ],
)
def test_a_file_of_broken_lines_names_the_first_and_the_remedy(tmp_path, capsys, content, said):
    (tmp_path / "m.jsonl").write_bytes(content)
    assert main(["data", "lint", str(tmp_path / "m.jsonl")]) == 2
    err = capsys.readouterr().err
    assert all(part in err for part in said), err
    assert err.count("\n") == 1 and ("table" in err) == ("a table" in said)


def test_a_packed_tar_is_no_file_of_rows(tmp_path, capsys):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.wav"), io.BytesIO())
    assert main(["data", "lint", str(tmp_path / "x.tar.gz")]) == 2
    err = capsys.readouterr().err
    assert "is, unpacked, a tar archive: unpack it" in err and "PaxHeader" not in err
    (tmp_path / "u.jsonl.gz").write_bytes(gzip.compress(ROW.encode("utf-16")))
    assert main(["data", "lint", str(tmp_path / "u.jsonl.gz")]) == 2
    assert "UTF-16" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_recording_is_said_to_be_one(tmp_path, capsys, suffix):
    soundfile.write(tmp_path / f"a.{suffix}", np.zeros(16_000), 16_000)
    assert main(["data", "lint", str(tmp_path / f"a.{suffix}")]) == 2
    assert "a recording: name the file of rows" in capsys.readouterr().err


@pytest.mark.parametrize("content", ['["a.wav", "b.wav"]', f"[[{ROW}], [{ROW}]]"])
def test_an_array_of_anything_else_than_rows(tmp_path, capsys, content):
    (tmp_path / "m.json").write_text(content, encoding="utf-8")
    assert main(["data", "lint", str(tmp_path / "m.json")]) == 2
    assert "not one of objects with named fields" in capsys.readouterr().err
