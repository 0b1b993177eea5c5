"""Recordings in tars, against NeMo's and Lhotse's own readers, writers and samples."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from nemo_vtb.data.audio.tars import TarIndex
from nemo_vtb.data.files.rows import BadRow, BadRows
from nemo_vtb.errors import VTBError


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def samples(draws: list) -> list[np.ndarray]:
    return [cut.load_audio() for draw in draws for cut in draw(0).list_cuts()]


def assert_same_audio(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def shards(tmp_path, clips):
    """Two NeMo shards of two clips each; the first clip of each shard is cut into two spans, as NeMo names them."""
    for shard in range(2):
        pair = clips[2 * shard : 2 * shard + 2]
        rows = []
        for number, clip in enumerate(pair):
            row = {"audio_filepath": f"c{number}.ogg", "duration": clip.duration, "text": clip.text, "shard_id": shard}
            if number == 0:
                half = round(clip.duration / 2, 3)
                rows += [
                    {**row, "audio_filepath": "c0-sub1.ogg", "offset": 0.0, "duration": half, "text": "first half"},
                    {**row, "audio_filepath": "c0-sub2.ogg", "offset": half, "duration": half, "text": "second half"},
                ]
            else:
                rows.append(row)
        (tmp_path / f"manifest_{shard}.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
        tar_of(tmp_path / f"audio_{shard}.tar", {f"c{n}.ogg": clip.path.read_bytes() for n, clip in enumerate(pair)})
    return tmp_path


def test_tarred_shards_hold_what_nemo_reads_from_them(shards, read):
    from nemo.collections.common.data.lhotse.nemo_adapters import LazyNeMoTarredIterator

    paths = {
        "manifest_filepath": f"{shards}/manifest__OP_0..1_CL_.json",
        "tarred_audio_filepaths": f"{shards}/audio__OP_0..1_CL_.tar",
    }
    draws = read("asr", type="nemo_tarred", **paths)
    theirs = list(LazyNeMoTarredIterator(paths["manifest_filepath"], paths["tarred_audio_filepaths"]))
    assert [draw(0).list_cuts()[0].duration for draw in draws] == pytest.approx([c.duration for c in theirs], abs=0.01)
    for ours, cut in zip(samples(draws), theirs, strict=True):
        expected = cut.load_audio()
        length = min(ours.shape[1], expected.shape[1])
        assert abs(ours.shape[1] - expected.shape[1]) <= 2
        # NeMo writes spans anew as 16 bit wav, ours reads them from where they are.
        np.testing.assert_allclose(ours[:, :length], expected[:, :length], atol=1e-4)


def test_one_manifest_for_all_shards_and_buckets_of_shards(shards, read):
    rows = "".join((shards / f"manifest_{n}.json").read_text() for n in range(2))
    (shards / "all.json").write_text(rows)
    sharded = read("asr", type="nemo_tarred", manifest_filepath=f"{shards}/all.json",
                   tarred_audio_filepaths=f"{shards}/audio_{{0..1}}.tar")  # fmt: skip
    buckets = read("asr", type="nemo_tarred", manifest_filepath=[[f"{shards}/manifest_{n}.json"] for n in range(2)],
                   tarred_audio_filepaths=[[f"{shards}/audio_0.tar"], [f"{shards}/audio_1.tar"]])  # fmt: skip
    assert_same_audio(samples(sharded), samples(buckets))
    assert [draw(0).turns[1].text for draw in sharded] == [draw(0).turns[1].text for draw in buckets]
    with pytest.raises(VTBError, match="shard numbers differ"):
        read("asr", type="nemo_tarred", manifest_filepath=f"{shards}/manifest_{{0..1}}.json",
             tarred_audio_filepaths=[f"{shards}/audio_1.tar", f"{shards}/audio_0.tar"])  # fmt: skip


def test_conversations_written_by_nemo_into_tars(tmp_path, two_clips, conversation, read, said):
    from nemo.collections.common.data.lhotse.text_adapters import (
        NeMoMultimodalConversationJsonlAdapter,
        NeMoMultimodalConversationTarWriter,
    )

    first, second = two_clips
    with NeMoMultimodalConversationTarWriter(str(tmp_path), shard_size=10) as writer:
        writer.write(
            conversation("a", ("user", "Compare"), ("user", first.path), ("user", second.path), ("assistant", "x"))
        )
        writer.write(conversation("b", ("user", second.path), ("assistant", "y")))
    paths = {
        "manifest_filepath": str(next(tmp_path.glob("*.jsonl"))),
        "tarred_audio_filepaths": str(next(tmp_path.glob("*.tar"))),
    }
    draws = read("mixed", type="multimodal_conversation", **paths)
    theirs = list(NeMoMultimodalConversationJsonlAdapter(**paths, audio_locator_tag="<|audio|>"))
    assert [said(draw(0)) for draw in draws] == [said(c) for c in theirs]
    assert_same_audio(samples(draws), [cut.load_audio() for c in theirs for cut in c.list_cuts()])


@pytest.mark.parametrize("audio_format", ["wav", "flac"])
def test_shar_written_by_lhotse(tmp_path, clips, read, said, audio_format):
    from lhotse import CutSet, Recording, SupervisionSegment
    from lhotse.shar import SharWriter

    cuts = []
    for number, clip in enumerate(clips):
        cut = Recording.from_file(clip.path).to_cut().with_id(f"folder/clip.{number}")
        cut.supervisions = [
            SupervisionSegment(cut.id, cut.recording_id, 0, cut.duration, text=clip.text, language="en")
        ]
        cut.custom = {"question": "How many?", "answer": str(number)}
        cuts.append(cut.truncate(offset=0.1, preserve_id=True) if number == 3 else cut)
    with SharWriter(tmp_path, fields={"recording": audio_format}, shard_size=3) as writer:
        for cut in cuts:
            writer.write(cut)
    theirs = list(CutSet.from_shar(in_dir=tmp_path))
    folder = read("asr", type="lhotse_shar", shar_path=str(tmp_path))
    assert_same_audio(samples(folder), [cut.load_audio() for cut in theirs])
    assert [draw(0).turns[1].text for draw in folder] == [clip.text for clip in clips]
    fields = {
        "cuts": f"{tmp_path}/cuts.{{000000..000001}}.jsonl.gz",
        "recording": f"{tmp_path}/recording.{{000000..000001}}.tar",
    }
    questions = read("sqa", type="sqa_as_conversation", shar_path=fields)
    assert_same_audio(samples(questions), samples(folder))
    assert [said(d(0)) for d in questions][1] == [("user", "♪"), ("user", "How many?"), ("assistant", "1")]


def test_members_are_read_without_unpacking_and_survive_a_worker(shards, read):
    import pickle

    draws = read("asr", type="nemo_tarred", manifest_filepath=f"{shards}/manifest_0.json",
                 tarred_audio_filepaths=f"{shards}/audio_0.tar")  # fmt: skip
    conversation = pickle.loads(pickle.dumps(draws[0](0)))  # noqa: S301
    np.testing.assert_array_equal(conversation.list_cuts()[0].load_audio(), samples(draws)[0])
    assert sorted(path.name for path in shards.iterdir()) == [
        "audio_0.tar",
        "audio_1.tar",
        "manifest_0.json",
        "manifest_1.json",
    ]


def test_a_missing_member_is_a_bad_row(shards, read):
    bad = BadRows(1.0)
    rows = (shards / "manifest_0.json").read_text().replace("c1.ogg", "gone.ogg")
    (shards / "manifest_0.json").write_text(rows)
    draws = read("asr", bad, type="nemo_tarred", manifest_filepath=f"{shards}/manifest_0.json",
                 tarred_audio_filepaths=f"{shards}/audio_0.tar")  # fmt: skip
    assert len(draws) == 2 and dict(bad.reasons) == {"missing audio": 1}


@pytest.mark.parametrize("name", ["../evil.wav", "a/../../evil.wav", "/etc/evil.wav"])
def test_a_tar_that_points_outside_is_refused(tmp_path, name):
    with pytest.raises(VTBError, match="points outside the archive"):
        TarIndex(tar_of(tmp_path / "t.tar", {"good.wav": b"x", name: b"x"}))


def test_a_tar_with_a_link_is_refused(tmp_path):
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        info = tarfile.TarInfo("a.wav")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(VTBError, match="a link or a device"):
        TarIndex(tmp_path / "t.tar")


def test_a_compressed_tar_and_a_tar_with_two_members_of_one_name_are_refused(tmp_path):
    plain = tar_of(tmp_path / "t.tar", {"a.wav": b"x"})
    (tmp_path / "t.tar.gz").write_bytes(gzip.compress(plain.read_bytes()))
    with pytest.raises(VTBError, match="no uncompressed tar"):
        TarIndex(tmp_path / "t.tar.gz")
    with tarfile.open(plain, "w") as tar:
        for name, data in (("a.wav", b"1"), ("b.wav", b"2"), ("./a.wav", b"3")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(VTBError, match="different members under one name, at bytes 512 and 2560"):
        TarIndex(plain)


def test_a_tar_cut_short_gives_what_is_whole(tmp_path):
    members = {f"{n}.wav": bytes([n]) * 3000 for n in range(4)}
    whole = tar_of(tmp_path / "t.tar", members).read_bytes()
    (tmp_path / "t.tar").write_bytes(whole[:9000])
    index = TarIndex(tmp_path / "t.tar")
    assert len(index) == 2 and "cut short" in index.damage
    assert index.find("1.wav").read() == members["1.wav"] and index.find("2.wav") is None


def test_a_damaged_header_is_told_from_the_end(tmp_path):
    whole = bytearray(tar_of(tmp_path / "t.tar", {f"{n}.wav": b"x" * 100 for n in range(4)}).read_bytes())
    assert TarIndex(tmp_path / "t.tar").damage is None
    whole[2 * 1024 : 2 * 1024 + 20] = b"!" * 20
    (tmp_path / "t.tar").write_bytes(whole)
    index = TarIndex(tmp_path / "t.tar")
    assert len(index) == 2 and index.damage == "damaged at byte 2048"
    from nemo_vtb.data.audio.audio_stores import AudioTar

    with pytest.raises(BadRow, match=r"no member 3\.wav .*damaged at byte 2048"):
        AudioTar(tmp_path / "t.tar").recording("3.wav")


def test_a_row_of_another_shard_is_not_taken_from_the_only_tar(shards, read):
    rows = (shards / "manifest_1.json").read_text()
    (shards / "all.json").write_text(rows + rows.replace(', "shard_id": 1', "").replace('"c', '"./c'))
    bad = BadRows(1.0)
    tarred = {"type": "nemo_tarred", "manifest_filepath": f"{shards}/all.json"}
    draws = read("asr", bad, tarred_audio_filepaths=f"{shards}/audio_0.tar", **tarred)
    assert len(draws) == 3 and dict(bad.reasons) == {"missing audio": 3} and "shard_id 1" in bad.first["missing audio"]
    assert len(read("asr", tarred_audio_filepaths=f"{shards}/audio_1.tar", **tarred)) == 6
    # As pandas writes a column of numbers that has gaps.
    (shards / "all.json").write_text(rows.replace('"shard_id": 1', '"shard_id": 1.0'))
    assert len(read("asr", tarred_audio_filepaths=f"{shards}/audio_{{0,1}}.tar", **tarred)) == 3


def test_tars_of_one_number_need_a_manifest_each(shards, read):
    (shards / "more").mkdir()
    (shards / "more" / "audio_0.tar").write_bytes((shards / "audio_1.tar").read_bytes())
    with pytest.raises(VTBError, match=r"several tars of one number: .*more/audio_0\.tar"):
        read("asr", type="nemo_tarred", manifest_filepath=f"{shards}/manifest_0.json",
             tarred_audio_filepaths=[f"{shards}/audio_0.tar", f"{shards}/more/audio_0.tar"])  # fmt: skip


def test_shards_of_shar_are_paired_by_their_numbers(tmp_path, read):
    for name in ("cuts.000000.jsonl", "cuts.000001.jsonl", "recording.000001.tar", "recording.000002.tar"):
        (tmp_path / name).touch()
    with pytest.raises(VTBError, match=r"cuts\.000000\.jsonl is paired with .*recording\.000001\.tar: their shard"):
        read("asr", type="lhotse_shar", shar_path=str(tmp_path))
