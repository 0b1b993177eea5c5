"""NeMo names a clip by its file's stem and finds audio by that name: two ``utt.ogg`` of a batch share one audio."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
import torch


@pytest.fixture(scope="module")
def manifest(clips: list[SimpleNamespace], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two conversations about two recordings that are both called utt.ogg."""
    folder = tmp_path_factory.mktemp("collision")
    rows = []
    for number, clip in enumerate(clips[:2]):
        path = folder / f"speaker{number}" / "utt.ogg"
        path.parent.mkdir()
        shutil.copy(clip.path, path)
        turns = [
            {"from": "User", "type": "audio", "value": str(path), "duration": soundfile.info(path).duration},
            {"from": "Assistant", "type": "text", "value": clip.text},
        ]
        rows.append({"id": f"c{number}", "conversations": turns})
    file = folder / "manifest.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


def _by_nemo(manifest: Path, tokenizer: Any) -> list[Any]:
    from nemo.collections.common.data.lhotse.text_adapters import NeMoMultimodalConversationJsonlAdapter
    from nemo.collections.common.prompts import PromptFormatter

    formatter = PromptFormatter.resolve("qwen")(tokenizer)
    adapter = NeMoMultimodalConversationJsonlAdapter(str(manifest), "<|audio|>", token_equivalent_duration=0.08)
    return [conversation.apply_prompt_format(formatter) for conversation in adapter]


def _assert_own_audio(batch: dict[str, Any], clips: list[SimpleNamespace]) -> None:
    assert len(set(batch["audio_ids"])) == 2
    for row, length, clip in zip(batch["audios"], batch["audio_lens"], clips, strict=False):
        expected, rate = soundfile.read(clip.path, dtype="float32")
        assert int(length) == pytest.approx(len(expected) * 16000 / rate, abs=1)
        if rate == 16000:
            torch.testing.assert_close(row[:length], torch.from_numpy(expected))
    first, second = batch["audios"]
    assert not torch.equal(first, second)


def test_stock_gives_both_rows_one_audio(manifest: Path, tokenizer: Any):
    from lhotse import CutSet
    from nemo.collections.speechlm2.data import SALMDataset

    batch = SALMDataset(tokenizer)[CutSet(_by_nemo(manifest, tokenizer))]
    first, second = batch["audios"]
    assert torch.equal(first, second) and batch["audio_lens"][0] == batch["audio_lens"][1]


def test_our_reader_keeps_them_apart(manifest: Path, tokenizer: Any, clips: list[SimpleNamespace]):
    from nemo_vtb.data.dataset import VTBDataset
    from nemo_vtb.data.sources.source import read_source

    source = read_source({"manifest_filepath": str(manifest)}, "asr", "<|audio|>", 0.08)
    _assert_own_audio(VTBDataset(tokenizer, "qwen")[[source.draw(0, 0), source.draw(1, 0)]], clips)


def test_our_dataset_keeps_apart_what_nemo_read(manifest: Path, tokenizer: Any, clips: list[SimpleNamespace]):
    from nemo_vtb.data.dataset import VTBDataset

    _assert_own_audio(VTBDataset(tokenizer, "qwen")[_by_nemo(manifest, tokenizer)], clips)


def test_a_clip_that_occurs_twice_is_one_clip(manifest: Path, tokenizer: Any):
    from nemo_vtb.data.dataset import VTBDataset
    from nemo_vtb.data.sources.source import read_source

    source = read_source({"manifest_filepath": str(manifest)}, "asr", "<|audio|>", 0.08)
    batch = VTBDataset(tokenizer, "qwen")[[source.draw(0, 0), source.draw(0, 1)]]
    assert len(set(batch["audio_ids"])) == 1 and torch.equal(*batch["audios"])
