"""Augmentation on the fly: the same for the same seed, row and epoch; within the budget; off unless asked for."""

import json

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import OmegaConf

from nemo_vtb.data.audio.augment_audio import Effect, apply_effects, augmented
from nemo_vtb.data.augmentation import read_augment
from nemo_vtb.data.datamodule import build_blend
from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.loader import BlendLoader
from nemo_vtb.errors import VTBError

RATE = 16_000
FRAME = 0.08
BUDGET = 240
ALL = {
    "speed": {"prob": 0.7, "factors": [0.8, 0.9, 1.1, 1.25]},
    "reverb": {"prob": 0.5},
    "noise": {"prob": 0.5, "path": "noise", "snr": [5, 15]},
    "volume": {"prob": 0.5, "gain_db": [-6, 6]},
    "codec": {"prob": 0.5, "codecs": ["opus", "mp3", "vorbis", "gsm"], "level": [0.2, 0.9]},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Conversations of one clip and of several, at three sampling rates, and a folder of noise."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    (tmp_path / "noise").mkdir()
    soundfile.write(tmp_path / "noise" / "n.wav", 0.1 * random.standard_normal(8000), 8000)
    one, several = [], []
    for number, rate in enumerate([8000, 16000, 22050] * 4):
        samples = 0.3 * np.sin(np.arange(int(rate * (0.5 + 0.31 * number))) / 9)
        soundfile.write(tmp_path / f"c{number}.wav", samples, rate)
        # Fields of the rows that are called as what is drawn.
        own = {"speed": "fast", "effects": ["reverb"]}
        one.append({"id": f"o{number}", "audio_filepath": f"c{number}.wav", "text": f"clip {number}", "custom": own})
        clips = [{"from": "User", "type": "audio", "value": f"c{n}.wav"} for n in (number % 5, 0)]
        several.append({"id": f"s{number}", "conversations": [*clips, {"from": "Assistant", "value": "yes"}]})
    for name, rows in (("asr", one), ("mixed", several)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def loader_of(folder, tokenizer):
    dataset = VTBDataset(tokenizer, "chatml", "<|audio|>")

    def make(augment=None, kind_augment=None, workers=0, seed=0, longest=30.0):
        asr = {"share": 0.5, "input_cfg": [{"type": "nemo", "manifest_filepath": "asr.jsonl"}]}
        mixed = {"share": 0.5, "input_cfg": [{"type": "multimodal_conversation", "manifest_filepath": "mixed.jsonl"}]}
        section = {
            "prompt_format": "chatml", "audio_locator_tag": "<|audio|>", "token_equivalent_duration": FRAME,
            "batch_tokens": BUDGET, "seed": seed, "max_duration": longest,
            "blend": {"unit": "total_tokens", "kinds": {"asr": asr | (kind_augment or {}), "mixed": mixed}},
        }  # fmt: skip
        cfg = OmegaConf.create(section | ({"augment": augment} if augment else {}))
        return BlendLoader(build_blend(cfg, dataset), dataset, BUDGET, num_workers=workers)

    return make


def take(loader, count):
    batches = iter(loader)
    return [next(batches) for _ in range(count)]


def frames(batch):
    return sum(-int(-(length / RATE) // FRAME) - 1 for length in batch["audio_lens"].tolist())


def positions(batch):
    return sum(len(encoded.input_ids) for encoded in batch["encoded"]) + frames(batch)


def drawn_for(batches):
    return [augmented(conversation) for batch in batches for conversation in batch["conversations"]]


def test_no_batch_is_over_its_budget_and_every_effect_occurs(loader_of):
    plain, batches = take(loader_of(), 30), take(loader_of(ALL), 30)
    assert all(positions(batch) <= BUDGET for batch in batches)
    assert set(drawn_for(plain)) == {None}
    effects = {effect.name for one in drawn_for(batches) for of in one.effects for effect in of}
    assert effects == {"reverb", "noise", "volume", "codec"}
    assert {one.speed for one in drawn_for(batches)} == {0.8, 0.9, 1.0, 1.1, 1.25}
    assert all(batch["audios"].isfinite().all() for batch in batches)
    mean = np.mean([positions(batch) for batch in batches])
    assert mean > 0.9 * np.mean([positions(batch) for batch in plain])


def test_a_row_may_have_fields_that_are_called_as_what_is_drawn(folder, tiny_llm, capsys):
    from nemo_vtb.cli import main

    source = f"[{{type: nemo, manifest_filepath: {folder / 'asr.jsonl'}}}]"
    arguments = ["preview", "--config-name=quickstart", f"model.pretrained_llm={tiny_llm}", "--kind=asr"]
    assert main([*arguments, f"data.train_ds.blend.kinds.asr.input_cfg={source}"]) == 0
    out = capsys.readouterr().out
    assert "== asr: o0" in out and "augmented" not in out


def test_what_a_row_says_of_speed_and_effects_stays(loader_of):
    for loader in (loader_of(), loader_of(ALL)):
        [source] = loader.blend.sources["asr"]
        kept = source.draw(0, 0).custom
        assert (kept["speed"], kept["effects"]) == ("fast", ["reverb"])
        assert loader._dataset[[source.draw(0, 0)]]["audios"].isfinite().all()


def test_lengths_of_the_index_are_those_that_are_drawn(loader_of):
    loader = loader_of({"speed": {"prob": 1.0, "factors": [0.8, 1.25]}})
    dataset = loader._dataset
    for kind, slack in (("asr", 2), ("mixed", 4)):
        [source] = loader.blend.sources[kind]
        for row in range(len(source)):
            text = len(dataset[[source.draw(row, 0)]]["encoded"][0].input_ids)
            for epoch in range(3):
                total, supervised, seconds = source.sizes(np.array([row]), epoch)[0]
                batch = dataset[[source.draw(row, epoch)]]
                heard = batch["audio_lens"].sum().item() / RATE
                assert 0 <= total - text - frames(batch) <= slack
                assert seconds == pytest.approx(heard, abs=0.01) and supervised > 0


def test_the_same_seed_row_and_epoch_sound_the_same_and_others_do_not(loader_of):
    first, again, other = (loader_of(ALL, seed=seed) for seed in (0, 0, 1))
    sources = [loader.blend.sources["asr"][0] for loader in (first, again, other)]
    for epoch in range(2):
        clips = [[first._dataset.load(source.draw(row, epoch)).signals[0] for row in range(6)] for source in sources]
        assert all(torch.equal(one, two) for one, two in zip(*clips[:2], strict=True))
        assert not all(
            one.shape == two.shape and torch.equal(one, two) for one, two in zip(clips[0], clips[2], strict=True)
        )
    names = [{first._dataset[[sources[0].draw(2, epoch)]]["audio_ids"][0] for epoch in range(6)}]
    assert len(names[0]) > 3  # what is kept of one clip by its name is not kept for another


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_hears_what_the_other_would_have_heard(loader_of, workers):
    whole = take(loader_of(ALL), 12)
    before = loader_of(ALL)
    take(before, 5)
    after = loader_of(ALL, workers=workers)
    after.load_state_dict(before.state_dict())
    for batch, expected in zip(take(after, 7), whole[5:], strict=True):
        assert batch["audio_ids"] == expected["audio_ids"]
        assert torch.equal(batch["audios"], expected["audios"])


def test_a_kind_has_its_own_or_none(loader_of):
    for own in ({"augment": None}, {"augment": {"volume": {"prob": 1.0, "gain_db": 3}}}):
        [asr], [mixed] = (loader_of(ALL, own).blend.sources[kind] for kind in ("asr", "mixed"))
        assert mixed.augmentation.settings.keys() == ALL.keys()
        assert (asr.augmentation and asr.augmentation.settings.keys()) == (own["augment"] and {"volume"})


def test_clips_are_not_slowed_beyond_the_longest(loader_of):
    loader = loader_of({"speed": {"prob": 1.0, "factors": [0.8]}}, longest=4.0)
    for kind, [source] in loader.blend.sources.items():
        drawn = [source.draw(row, 0) for row in range(len(source))]
        assert all(cut.duration <= 4.0 for one in drawn for cut in one.list_cuts())
        assert {augmented(one).speed for one in drawn} == ({0.8, 1.0} if kind == "asr" else {0.8})


def test_effects_do_what_they_say(folder):
    clip = torch.from_numpy((0.3 * np.sin(np.arange(RATE) / 9)).astype("float32"))
    louder = apply_effects(clip, RATE, (Effect("volume", 6.0),))
    assert (louder / clip)[1:].median() == pytest.approx(10 ** (6 / 20), rel=1e-4)
    noisy = apply_effects(clip, RATE, (Effect("noise", 10.0, str(folder / "noise" / "n.wav"), 5),))
    ratio = clip.square().mean() / (noisy - clip).square().mean()
    assert 10 * ratio.log10() == pytest.approx(10.0, abs=0.5)
    for effect in (Effect("reverb", seed=3), *(Effect("codec", 0.5, name) for name in ("opus", "mp3", "vorbis"))):
        changed = apply_effects(clip, RATE, (effect,))
        assert changed.shape == clip.shape and changed.isfinite().all() and not torch.equal(changed, clip)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"sped": {}}, "did you mean 'speed'"),
        ({"speed": {"factor": [1]}}, "did you mean 'factors'"),
        ({"speed": {"factors": [9]}}, r"augment\.speed\.factors must be from 0\.5 to 2"),
        ({"speed": {"factors": []}, "volume": {"prob": 2}}, "nothing to draw from"),
        ({"volume": {"prob": 2}}, r"volume\.prob must be from 0 to 1"),
        ({"noise": {"prob": 1}}, r"missing config key augment\.noise\.path"),
        ({"noise": {"path": "nowhere"}}, "holds no recording"),
        ({"codec": {"codecs": ["aac"]}}, "aac is none of opus"),
        ({"volume": {"gain_db": "loud"}}, "must be a number or two|must be a number"),
    ],
)
def test_what_cannot_be_done_is_refused(section, message):
    with pytest.raises(VTBError, match=message):
        read_augment(section, "augment")


def test_preview_says_what_is_done(tiny_llm, capsys):
    from nemo_vtb.cli import main

    arguments = ["preview", "--config-name=quickstart", f"model.pretrained_llm={tiny_llm}", "--kind=asr"]
    augment = "{speed: {prob: 1.0, factors: [0.9]}, volume: {prob: 1.0, gain_db: 3}}"
    assert main([*arguments, f"+data.train_ds.augment={augment}"]) == 0
    assert "augmented: speed 0.9; volume +3 dB" in capsys.readouterr().out
    assert main([*arguments, "+data.train_ds.augment={volum: {prob: 1.0}}"]) == 2
    assert "did you mean 'volume'" in capsys.readouterr().err


def test_frames_of_clips_that_change_are_not_kept(tiny_llm):
    from nemo_vtb.config import compose
    from nemo_vtb.training import check_config

    changes = ["model.encoder_cache=true", "+data.train_ds.blend.kinds.asr.augment={volume: {prob: 1.0}}"]
    overrides = [f"model.pretrained_llm={tiny_llm}", "trainer.max_steps=1"]
    check_config(compose("quickstart", [*overrides, changes[1], "model.encoder_cache=false"]))
    with pytest.raises(VTBError, match=r"model\.encoder_cache keeps .* data\.train_ds\.augment changes that"):
        check_config(compose("quickstart", [*overrides, *changes]))
