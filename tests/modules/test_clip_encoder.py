"""Clips in sub-batches of like length, and the dummy clip of a batch that has none."""

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.encode import sub_batches


def test_sub_batches_hold_every_clip_once_within_the_limit():
    seconds = [1.0, 30.0, 2.0, 29.0, 1.5, 12.0, 26.0]
    groups = sub_batches(seconds, 60.0)
    assert sorted(i for group in groups for i in group) == list(range(7))
    assert all(len(g) * max(seconds[i] for i in g) <= 60.0 for g in groups)
    assert [sorted(g) for g in groups] == [[1, 3], [6], [5], [0, 2, 4]]


def test_a_clip_beyond_the_limit_stands_alone():
    assert sub_batches([100.0, 90.0], 10.0) == [[0], [1]]
    assert sub_batches([3.0], 10.0) == [[0]]


def test_like_clips_stay_together():
    assert sub_batches([5.0] * 8, 600.0) == [list(range(8))]


def _cost(seconds: list[float], groups: list[list[int]]) -> float:
    return sum(len(group) * max(seconds[i] for i in group) + 4.0 for group in groups)


def test_grouping_costs_least_of_all_groupings():
    rng = np.random.default_rng(0)
    for _ in range(20):
        seconds = sorted(rng.uniform(0.5, 20, 6).tolist(), reverse=True)
        found = sub_batches(seconds, 600.0)
        every = []
        for cuts in range(32):
            groups, start = [], 0
            for end in range(1, 7):
                if end == 6 or cuts >> (end - 1) & 1:
                    groups.append(list(range(start, end)))
                    start = end
            every.append(_cost(seconds, groups))
        assert _cost(seconds, found) == pytest.approx(min(every))


@pytest.fixture(scope="module")
def audio(clips: list[SimpleNamespace]) -> dict[str, torch.Tensor]:
    """Three clips, the second ten times as long as the others, so that it is encoded on its own."""
    signals = [torch.from_numpy(soundfile.read(clip.path, dtype="float32")[0]) for clip in clips[:3]]
    signals[1] = signals[1].repeat(10)
    lengths = torch.tensor([len(signal) for signal in signals])
    return {"audios": torch.nn.utils.rnn.pad_sequence(signals, batch_first=True), "audio_lens": lengths}


def _model(cfg: dict[str, Any]) -> Any:
    from nemo_vtb import VoiceTextBlender

    torch.manual_seed(0)
    return VoiceTextBlender(cfg)


def test_sub_batches_do_not_change_the_frames(tiny_cfg: Callable, audio: dict[str, torch.Tensor]):
    model = _model(tiny_cfg("vtb")).eval()
    calls: list[int] = []
    model.perception.encoder.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append(len(kwargs["audio_signal"])), with_kwargs=True
    )
    with torch.no_grad():
        frames, counts = model.encode_clips(audio)
        alone = [model.encode_clips({k: v[i : i + 1] for k, v in audio.items()}) for i in range(3)]
    assert calls[:2] == [1, 2] and counts == [alone[i][1][0] for i in range(3)]
    # A clip's last frame looks at the padding behind it.
    for found, (expected, _) in zip(frames.split(counts), alone, strict=True):
        torch.testing.assert_close(found[:-1], expected[: len(found) - 1], rtol=0.0, atol=2e-3)


def test_a_batch_norm_that_learns_sees_the_whole_batch(tiny_cfg: Callable, audio: dict[str, torch.Tensor]):
    model = _model(tiny_cfg("vtb")).train()
    calls: list[int] = []
    model.perception.encoder.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append(len(kwargs["audio_signal"])), with_kwargs=True
    )
    model.encode_clips(audio)
    assert calls == [3]


def test_the_dummy_clip_changes_no_bit(tiny_cfg: Callable, tokenizer: Any, conversation: Callable):
    """Against the same step with the speech encoder left out altogether."""
    from nemo_vtb.data.dataset import VTBDataset

    cfg = tiny_cfg()
    cfg["perception"]["preprocessor"]["dither"] = 1e-5
    cfg["perception"]["encoder"]["dropout"] = cfg["perception"]["modality_adapter"]["dropout"] = 0.1
    cfg["lora"]["lora_dropout"] = 0.1
    cfg["perception"]["spec_augment"] = {
        "_target_": "nemo.collections.asr.modules.SpectrogramAugmentation",
        "freq_masks": 2,
        "time_masks": 2,
        "freq_width": 27,
        "time_width": 0.05,
    }
    model = _model(cfg).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    text = conversation("t", ("user", "Say hello."), ("assistant", "Hello!"))
    batch = VTBDataset(tokenizer, "qwen")[[text]]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}

    def step(encode: Callable) -> tuple[torch.Tensor, dict[str, Any], tuple[Any, ...]]:
        model.zero_grad(set_to_none=True)
        for seed in (torch.manual_seed, random.seed, np.random.seed):
            seed(7)
        model.clip_encoder = encode
        loss = model.training_step(batch, 0)["loss"]
        loss.backward()
        states = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1])
        return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}, states

    encoder = model.clip_encoder
    loss, gradients, states = step(encoder)
    bare_loss, bare_gradients, bare_states = step(lambda batch: (None, []))
    assert torch.equal(loss, bare_loss) and torch.equal(states[0], bare_states[0])
    assert states[1] == bare_states[1] and np.array_equal(states[2], bare_states[2])
    for name, gradient in gradients.items():
        if name.startswith("perception."):
            assert bare_gradients[name] is None and gradient is not None and not gradient.any(), name
        else:
            assert torch.equal(gradient, bare_gradients[name]), name
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())


@pytest.mark.parametrize("trouble", ["trains", "augments"])
def test_frames_that_would_be_wrong_are_not_cached(tiny_cfg: Callable, trouble: str):
    cfg = tiny_cfg("vtb", encoder_cache=True)
    if trouble == "augments":
        cfg["freeze_params"] = [*cfg["freeze_params"], r"^perception\.encoder\..+$"]
        cfg["perception"]["spec_augment"] = {
            "_target_": "nemo.collections.asr.modules.SpectrogramAugmentation",
            "freq_masks": 1,
        }
    with pytest.raises(VTBError, match=r"model\.encoder_cache"):
        _model(cfg)


def test_no_encoder_waits_for_other_ranks_to_know_its_length(tiny_cfg: Callable):
    model = _model(tiny_cfg())
    assert model.perception.encoder.sync_max_audio_length is False
    assert model.perception.modality_adapter.sync_max_audio_length is False


@pytest.fixture(scope="module")
def whisper_model(slim_cfg: Callable[..., dict[str, Any]]) -> Any:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

    torch.manual_seed(2)
    return VoiceTextBlender(slim_cfg()).eval()


def test_a_clip_beyond_whisper_is_heard_in_equal_pieces_among_others(whisper_model: Any) -> None:
    noise = torch.randn(2, 70 * 16_000, generator=torch.Generator().manual_seed(0)) / 10
    lengths = torch.tensor([70 * 16_000, 16_000])
    with torch.no_grad():
        frames, counts = whisper_model.encode_clips({"audios": noise, "audio_lens": lengths})
        pieces = torch.stack(torch.tensor_split(noise[0], 3)[1:])
        apart, own = whisper_model.encode_clips({"audios": pieces, "audio_lens": torch.tensor([pieces.shape[1]] * 2)})
        short, few = whisper_model.encode_clips({"audios": noise[1:, :16_000], "audio_lens": lengths[1:]})
    assert abs(counts[0] - 70 * 12.5) <= 3 and counts[1:] == few
    torch.testing.assert_close(frames[counts[0] - sum(own) : counts[0]], apart)
    torch.testing.assert_close(frames[counts[0] :], short)


def test_in_training_such_a_clip_is_refused_as_before(whisper_model: Any) -> None:
    clip = {"audios": torch.zeros(1, 31 * 16_000), "audio_lens": torch.tensor([31 * 16_000])}
    whisper_model.perception.train()
    try:
        with pytest.raises(VTBError, match="encoder_chunk_size_seconds"):
            whisper_model.encode_clips(clip)
    finally:
        whisper_model.perception.eval()


def test_generate_hears_paths_of_any_container_and_arrays(whisper_model: Any, clips: list, tmp_path: Any) -> None:
    samples, rate = soundfile.read(clips[0].path, dtype="float32")
    stereo = tmp_path / "two channels.flac"
    soundfile.write(stereo, np.stack([samples, samples], 1), rate, subtype="PCM_24")
    tag = whisper_model.audio_locator_tag
    answers = [
        whisper_model.generate([[{"role": "user", "content": tag, "audio": audio}]], max_new_tokens=4).tolist()
        for audio in (str(clips[0].path), [stereo], [(samples, rate)])
    ]
    assert answers[0] == answers[1] == answers[2]
    with pytest.raises(VTBError, match=r"no recording at gone\.wav"):
        whisper_model.generate([[{"role": "user", "content": tag, "audio": "gone.wav"}]], max_new_tokens=1)
