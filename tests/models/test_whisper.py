"""Whisper's encoder at the clip's true length: the features of Hugging Face, whatever a clip is batched with."""

import pytest
import soundfile
import torch

from nemo_vtb.modules.adapter import ConformerAdapter
from nemo_vtb.modules.whisper import WhisperEncoder, WhisperFeatures


@pytest.fixture(scope="module")
def audio(clips):
    signals = [torch.from_numpy(soundfile.read(clip.path, dtype="float32")[0]) for clip in (clips[0], clips[3])]
    lengths = torch.tensor([len(signal) for signal in signals])
    return torch.nn.utils.rnn.pad_sequence(signals, batch_first=True), lengths


def test_features_equal_hugging_face(audio):
    from transformers import WhisperFeatureExtractor

    signals, lengths = audio
    ours, frames = WhisperFeatures(80)(signals, lengths)
    for row in range(2):
        signal = signals[row, : lengths[row]].numpy()
        theirs = WhisperFeatureExtractor(80)(signal, sampling_rate=16000, return_tensors="pt").input_features[0]
        inner = int(frames[row]) - 3
        torch.testing.assert_close(ours[row, :, :inner], theirs[:, :inner], atol=2e-3, rtol=0)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    from transformers import WhisperConfig

    folder = tmp_path_factory.mktemp("whisper")
    sizes = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 4}
    WhisperConfig(**sizes, decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64).save_pretrained(folder)
    torch.manual_seed(0)
    return WhisperEncoder(str(folder), pretrained_weights=False).eval()


def test_a_clip_does_not_see_its_batch(audio, encoder):
    signals, lengths = audio
    features = WhisperFeatures(80)
    adapter = ConformerAdapter(32, 16, d_model=32, n_heads=4, subsampling_factor=4, dropout=0.0, dropout_att=0.0).eval()

    def run(signal, length):
        return adapter(*encoder(*features(signal, length)))

    with torch.no_grad():
        together, counts = run(signals, lengths)
        alone, count = run(signals[:1, : lengths[0]], lengths[:1])
    assert counts[0] == count[0]
    torch.testing.assert_close(together[0, :, : counts[0]], alone[0, :, : count[0]], atol=1e-4, rtol=1e-4)
