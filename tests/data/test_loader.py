"""The loader on real clips: batches, workers, and going on where a state was saved."""

import json

import pytest
from omegaconf import OmegaConf

from nemo_vtb.errors import VTBError


@pytest.fixture(scope="module")
def loader_of(tokenizer, clips, tmp_path_factory):
    from nemo_vtb import registry
    from nemo_vtb.data.datamodule import VTBDataModule
    from nemo_vtb.data.dataset import VTBDataset

    registry.register()
    folder = tmp_path_factory.mktemp("blend")
    rows = [{"id": f"a{i}", "audio_filepath": str(clip.path), "text": clip.text} for i, clip in enumerate(clips)]
    (folder / "asr.jsonl").write_text("\n".join(map(json.dumps, rows)))
    turns = [{"from": "User", "value": "hi"}, {"from": "Assistant", "value": "hello"}]
    rows = [{"id": f"t{i}", "conversations": turns} for i in range(6)]
    (folder / "text.jsonl").write_text("\n".join(map(json.dumps, rows)))
    kinds = {
        "asr": {"share": 0.6, "input_cfg": [{"type": "nemo", "manifest_filepath": str(folder / "asr.jsonl")}]},
        "text": {"share": 0.4, "input_cfg": [{"type": "nemo_sft_jsonl", "paths": str(folder / "text.jsonl")}]},
    }

    def make(**overrides):
        section = {
            "prompt_format": "chatml",
            "audio_locator_tag": "<|audio|>",
            "token_equivalent_duration": 0.08,
            "batch_tokens": 96,
            "blend": {"kinds": kinds},
            **overrides,
        }
        cfg = OmegaConf.create({"train_ds": section})
        return VTBDataModule(cfg, tokenizer, VTBDataset(tokenizer)).train_dataloader()

    return make


def ids(batches):
    return [[conversation.id for conversation in batch["conversations"]] for batch in batches]


def take(loader, count):
    iterator = iter(loader)
    return [next(iterator) for _ in range(count)]


def test_batches_hold_both_kinds_and_transcripts(loader_of):
    batch = take(loader_of(), 1)[0]
    assert set(batch["kinds"]) == {"asr", "text"}
    assert len(batch["audios"]) == len(batch["transcripts"]) == batch["kinds"].count("asr")


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_goes_on_with_the_next_batch(loader_of, workers):
    expected = ids(take(loader_of(num_workers=workers), 7))
    first = loader_of(num_workers=workers)
    assert ids(take(first, 3)) == expected[:3]
    second = loader_of(num_workers=workers)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert ids(take(second, 4)) == expected[3:]


def test_a_state_of_other_kinds_is_refused(loader_of):
    loader = loader_of()
    state = loader.state_dict()
    del state["drawn"]["text"]
    with pytest.raises(VTBError, match="other kinds or sources"):
        loader.load_state_dict(state)


def test_unknown_blend_key_is_named(loader_of):
    with pytest.raises(VTBError, match=r"data\.train_ds\.batch_token; did you mean 'batch_tokens'"):
        loader_of(batch_token=3)
