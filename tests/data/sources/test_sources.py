import json
from pathlib import Path

import pytest
import soundfile
from row_reader import parsed_rows

from nemo_vtb.config import check_keys
from nemo_vtb.data.files.rows import BadRows
from nemo_vtb.data.sources.source import read_source
from nemo_vtb.errors import VTBError

CLIP = next((Path(__file__).parents[3] / "examples/corpora/spoken_commands/audio").glob("*.ogg"))
TEXT = [{"from": "User", "type": "text", "value": "hi"}, {"from": "Assistant", "type": "text", "value": "hello"}]


def write(path, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return str(path)


def read(path, kind="text", data_type="multimodal_conversation", **options):
    entry = {"type": data_type, "paths" if data_type == "nemo_sft_jsonl" else "manifest_filepath": path}
    return read_source(entry, kind, "<|audio|>", 0.08, **options)


def test_broken_json_names_file_and_line(tmp_path):
    path = write(tmp_path / "a.jsonl", {"id": "1", "conversations": TEXT}, '{"id": ')
    with pytest.raises(VTBError, match=r"a\.jsonl:2: broken JSON"):
        read(path)


def test_bad_rows_are_counted_up_to_the_limit(tmp_path):
    path = write(tmp_path / "a.jsonl", *[{"id": str(i), "conversations": TEXT} for i in range(9)], "{")
    source = read(path, max_bad_share=0.2)
    assert len(source) == 9 and dict(source.bad.reasons) == {"broken JSON": 1}
    with pytest.raises(VTBError, match="1 of 10 rows are bad"):
        read(path, max_bad_share=0.05)


def test_missing_audio_names_the_file(tmp_path):
    path = write(tmp_path / "m.jsonl", {"audio_filepath": "gone.wav", "text": "x"})
    with pytest.raises(VTBError, match=r"m\.jsonl:1: no audio file at .*gone\.wav"):
        read(path, "asr", "nemo")


def test_unreadable_audio_names_the_file(tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"not audio")
    path = write(tmp_path / "m.jsonl", {"audio_filepath": "bad.wav", "text": "x"})
    with pytest.raises(VTBError, match=r"m\.jsonl:1: .*bad\.wav cannot be read"):
        read(path, "asr", "nemo")


@pytest.mark.parametrize(("text", "clips"), [("<audio> <audio>", [str(CLIP)]), ("nothing", [str(CLIP)])])
def test_wrong_placeholder_count_is_refused(tmp_path, text, clips):
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": "x"}]
    path = write(tmp_path / "s.jsonl", {"messages": messages, "audios": clips})
    with pytest.raises(VTBError, match=r"s\.jsonl:1: .*audio"):
        read(path, "mixed", "share_gpt")


def test_no_assistant_turn_is_refused(tmp_path):
    path = write(tmp_path / "a.jsonl", {"id": "1", "conversations": TEXT[:1]})
    with pytest.raises(VTBError, match="no assistant turn"):
        read(path)


def test_a_turn_that_is_no_object_is_refused(tmp_path):
    path = write(tmp_path / "a.jsonl", {"id": "1", "conversations": ["hello"]})
    with pytest.raises(VTBError, match=r"a\.jsonl:1: a turn must be a JSON object"):
        read(path)


def test_unknown_key_and_type_are_named(tmp_path):
    with pytest.raises(VTBError, match=r"model\.row_token; did you mean 'row_tokens'"):
        check_keys({"row_token": 1}, ["row_tokens"], "model")
    with pytest.raises(VTBError, match="unknown type 'csv'"):
        read(str(tmp_path / "x"), data_type="csv")


def test_manifest_draws_another_instruction_in_another_epoch(tmp_path):
    path = write(tmp_path / "m.jsonl", {"id": "u", "audio_filepath": str(CLIP), "text": "hello"})
    source = read(path, "asr", "nemo")
    wordings = {source.draw(0, epoch).turns[0].value for epoch in range(20)}
    assert len(wordings) > 2 and source.draw(0, 3).turns[0].value == source.draw(0, 3).turns[0].value
    assert source.draw(0, 0).list_cuts()[0].duration == pytest.approx(soundfile.info(CLIP).duration, abs=0.01)


def test_empty_lines_are_no_rows(tmp_path):
    path = write(tmp_path / "a.jsonl", {"a": 1}, "", {"a": 2})
    assert list(parsed_rows(path, lambda row, where: row["a"], BadRows())) == [1, 2]
