"""The loader on real clips: batches, workers, ranks, what is dropped, and going on where a state was saved."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from omegaconf import OmegaConf

from nemo_vtb.data.batching import HeldOutBatches
from nemo_vtb.data.datamodule import VTBDataModule
from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.loader import BlendLoader
from nemo_vtb.data.sources.source import read_source
from nemo_vtb.errors import VTBError


@pytest.fixture
def kinds(clips, tmp_path):
    """Twelve clips and six texts, with a copy of every clip that a test may ruin."""
    rows = []
    for number in range(12):
        clip = clips[number % len(clips)]
        shutil.copy(clip.path, tmp_path / f"a{number}.ogg")
        rows.append({"id": f"a{number}", "audio_filepath": f"a{number}.ogg", "text": clip.text})
    (tmp_path / "asr.jsonl").write_text("\n".join(map(json.dumps, rows)))
    turns = [{"from": "User", "value": "hi"}, {"from": "Assistant", "value": "hello"}]
    rows = [{"id": f"t{i}", "conversations": turns} for i in range(6)]
    (tmp_path / "text.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {
        "asr": {"share": 0.6, "input_cfg": [{"type": "nemo", "manifest_filepath": str(tmp_path / "asr.jsonl")}]},
        "text": {"share": 0.4, "input_cfg": [{"type": "nemo_sft_jsonl", "paths": str(tmp_path / "text.jsonl")}]},
    }


@pytest.fixture
def section(kinds):
    return {
        "prompt_format": "chatml",
        "audio_locator_tag": "<|audio|>",
        "token_equivalent_duration": 0.08,
        "batch_tokens": 96,
        "blend": {"kinds": kinds},
    }


@pytest.fixture
def loader_of(tokenizer, section):
    def make(**overrides):
        cfg = OmegaConf.create({"train_ds": {**section, **overrides}})
        return VTBDataModule(cfg, tokenizer, VTBDataset(tokenizer)).train_dataloader()

    return make


def ids(batches):
    return [[conversation.id for conversation in batch["conversations"]] for batch in batches]


def take(loader, count):
    iterator = iter(loader)
    return [next(iterator) for _ in range(count)]


def on_rank(loader, rank, ranks):
    return BlendLoader(loader.blend, loader._dataset, 96, rank, ranks)


def test_batches_hold_both_kinds_and_transcripts(loader_of):
    batch = take(loader_of(), 1)[0]
    assert set(batch["kinds"]) == {"asr", "text"}
    assert len(batch["audios"]) == len(batch["transcripts"]) == batch["kinds"].count("asr")


def test_the_number_of_workers_changes_nothing(loader_of):
    expected = take(loader_of(), 7)
    for workers in (1, 3):
        batches = take(loader_of(num_workers=workers), 7)
        assert ids(batches) == ids(expected)
        assert [b["data_state"] for b in batches] == [b["data_state"] for b in expected]


@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 0), (1, 3)])
def test_resume_goes_on_with_the_next_batch(loader_of, before, after):
    expected = ids(take(loader_of(), 7))
    first = loader_of(num_workers=before)
    assert ids(take(first, 3)) == expected[:3]
    second = loader_of(num_workers=after)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert ids(take(second, 4)) == expected[3:]


def test_ranks_share_the_walk_and_the_state(loader_of):
    first, second = (on_rank(loader_of(), rank, 2) for rank in (0, 1))
    batches = take(first, 3), take(second, 3)
    drawn = [name for pair in zip(*map(ids, batches), strict=True) for batch in pair for name in batch]
    assert first.state_dict() == second.state_dict()
    for kind, rows in (("t", 6), ("a", 12)):
        first_epoch = [name for name in drawn if name[0] == kind][:rows]
        assert len(set(first_epoch)) == len(first_epoch) > 5


def test_another_number_of_ranks_goes_on_without_repeats(loader_of):
    two = [on_rank(loader_of(), rank, 2) for rank in (0, 1)]
    drawn = [name for loader in two for batch in ids(take(loader, 4)) for name in batch]
    alone = loader_of()
    alone.load_state_dict(two[0].state_dict())
    drawn += [name for batch in ids(take(alone, 4)) for name in batch]
    clips = [name for name in drawn if name[0] == "a"]
    assert len(clips) >= 12 and sorted(set(clips)) == sorted(f"a{i}" for i in range(12))
    counts = [clips.count(f"a{i}") for i in range(12)]
    assert max(counts) - min(counts) <= 1


def test_changed_data_are_refused_by_name(loader_of, kinds):
    loader = loader_of()
    state = loader.state_dict()
    path = kinds["text"]["input_cfg"][0]["paths"]
    with open(path, "a") as file:
        file.write('\n{"conversations": [{"from": "User", "value": "x"}, {"from": "Assistant", "value": "y"}]}')
    with pytest.raises(
        VTBError, match=r"kind text have changed .* entry 1 was '.*: 6 rows, .*' and is '.*: 7 rows, .*'"
    ):
        loader_of().load_state_dict(state)
    del state["fingerprint"]["text"]
    with pytest.raises(VTBError, match=r"trained on the kinds asr, data\.train_ds\.blend has asr, text"):
        loader.load_state_dict(state)


def test_another_seed_or_version_is_refused(loader_of):
    state = loader_of().state_dict()
    with pytest.raises(VTBError, match=r"data\.train_ds\.seed is 5, the checkpoint was trained with 0"):
        loader_of(seed=5).load_state_dict(state)
    del state["owed"]
    with pytest.raises(VTBError, match="another version of nemo_vtb"):
        loader_of().load_state_dict(state)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_clip_lost_since_is_left_out_and_counted_and_nothing_else_moves(loader_of, kinds, tmp_path, workers):
    expected = take(loader_of(max_bad_share=0.2), 12)
    loader = loader_of(max_bad_share=0.2, num_workers=workers)
    (tmp_path / "a3.ogg").unlink()
    was = soundfile.info(tmp_path / "a5.ogg")
    nothing = np.full(was.frames, np.nan, np.float32)
    soundfile.write(tmp_path / "nan.wav", nothing, was.samplerate, subtype="FLOAT")
    (tmp_path / "nan.wav").rename(tmp_path / "a5.ogg")
    batches = take(loader, 12)
    assert ids(batches) == [[name for name in batch if name not in ("a3", "a5")] for batch in ids(expected)]
    assert [b["data_state"] for b in batches] == [b["data_state"] for b in expected]
    assert loader.dropped["asr", "missing audio"] >= 1 and loader.dropped["asr", "not finite"] >= 1
    assert any("asr.jsonl:4: no audio file" in d.message for b in batches for d in b["dropped"])


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_lost_clips_stop_with_one_clear_message(loader_of, tmp_path, workers):
    strict, lenient = loader_of(num_workers=workers), loader_of(num_workers=workers, max_bad_share=0.1)
    for number in range(12):
        (tmp_path / f"a{number}.ogg").unlink()
    with pytest.raises(VTBError, match=r"^\S*asr\.jsonl:\d+: no audio file .*max_bad_share") as error:
        take(strict, 1)
    assert "Traceback" not in str(error.value)
    with pytest.raises(VTBError, match=r"2 of 12 conversations could not be loaded, max_bad_share is 0\.1"):
        take(lenient, 4)


def test_a_batch_all_of_which_is_lost_teaches_nothing(loader_of, tmp_path, kinds):
    del kinds["text"]
    loader = loader_of(max_bad_share=1.0)
    for number in range(12):
        (tmp_path / f"a{number}.ogg").unlink()
    batch = take(loader, 1)[0]
    assert not batch["loss_mask"].any() and batch["kinds"] == ["asr"] and batch["dropped"]


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_held_out_batches_are_as_many_on_every_rank_and_hold_everything_once(tokenizer, kinds, ranks):
    dataset = VTBDataset(tokenizer, "chatml", "<|audio|>")
    [entry] = kinds["asr"]["input_cfg"]
    source = read_source(entry, "asr", "<|audio|>", 0.08, encoder=dataset)
    batches = HeldOutBatches([source], dataset, 400, ranks)
    assert len(batches) % ranks == 0
    scored = [b for b in map(batches.__getitem__, range(len(batches))) if b["loss_mask"].any()]
    assert sorted(name for batch in ids(scored) for name in batch) == sorted(f"a{i}" for i in range(12))
    for number in range(len(scored), len(batches)):
        # The shape of a real one, so that sharded encoders run on every rank.
        assert len(batches[number]["audios"]) == 1 and not batches[number]["loss_mask"].any()


def test_lightning_does_not_split_held_out_data_again(tokenizer, section, kinds):
    from torch.utils.data import DistributedSampler

    held_out = {key: value for key, value in section.items() if key != "blend"}
    cfg = OmegaConf.create({"train_ds": section, "validation_ds": {**held_out, "kinds": kinds}})
    loaders = VTBDataModule(cfg, tokenizer, VTBDataset(tokenizer)).val_dataloader().flattened
    assert len(loaders) == 2 and all(isinstance(loader.sampler, DistributedSampler) for loader in loaders)


def test_sections_that_are_null_are_as_good_as_absent(tokenizer, section):
    module = VTBDataModule(
        OmegaConf.create({"train_ds": section, "validation_ds": None}), tokenizer, VTBDataset(tokenizer)
    )
    assert module.val_dataloader() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_token": 3}, r"data\.train_ds\.batch_token; did you mean 'batch_tokens'"),
        ({"audio_locator_tag": None}, r"missing config key data\.train_ds\.audio_locator_tag"),
        ({"token_equivalent_duration": "???"}, r"missing config key data\.train_ds\.token_equivalent_duration"),
        ({"prompt_format": None}, r"missing config key data\.train_ds\.prompt_format"),
        ({"indexed": False}, r"data\.train_ds\.indexed=false cannot be had with a blend"),
        ({"blend": {"kinds": {}}}, r"missing config key data\.train_ds\.blend\.kinds"),
        (
            {"blend": {"kinds": {"asr": {"share": 1}}}},
            r"missing config key data\.train_ds\.blend\.kinds\.asr\.input_cfg",
        ),
        (
            {"blend": {"kinds": {"asr": {"input_cfg": []}}}},
            r"missing config key data\.train_ds\.blend\.kinds\.asr\.share",
        ),
    ],
)
def test_what_is_missing_or_unknown_is_named(loader_of, change, message):
    with pytest.raises(VTBError, match=message):
        loader_of(**change)


def test_the_switches_of_later_nemo_are_taken(loader_of):
    assert take(loader_of(indexed=True, use_stateful_dataloader=True), 1)


def test_clips_in_memory_are_told_apart_by_what_they_hold(tokenizer, clips):
    from lhotse import Recording
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation
    from nemo.collections.common.data.lhotse.text_adapters import AudioTurn, TextTurn

    def in_memory(clip):
        cut = Recording.from_bytes(clip.path.read_bytes(), "utt").to_cut()
        turns = [AudioTurn(cut, "user", "<|audio|>"), TextTurn("x", "assistant")]
        return NeMoMultimodalConversation(id="c", turns=turns)

    batch = VTBDataset(tokenizer, "chatml")[[in_memory(clip) for clip in (clips[0], clips[1], clips[0])]]
    first, second, again = batch["audio_ids"]
    assert first == again != second


def test_unreadable_audio_names_the_clip(tokenizer, kinds, tmp_path):
    source = read_source(kinds["asr"]["input_cfg"][0], "asr", "<|audio|>", 0.08)
    conversation = source.draw(0, 0)
    (tmp_path / "a0.ogg").write_bytes(b"OggS nothing else")
    with pytest.raises(BadRow, match=r"audio .*a0\.ogg.* cannot be read"):
        VTBDataset(tokenizer, "chatml")[[conversation]]
