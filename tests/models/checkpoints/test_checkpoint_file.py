"""What a checkpoint file holds, what it refuses, and that a kill while it is written costs nothing."""

import os
import signal
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from nemo_vtb.errors import VTBError
from nemo_vtb.models.checkpoints.file import AtomicCheckpointIO, read_checkpoint, read_progress
from nemo_vtb.models.load import load_checkpoint


@pytest.fixture(scope="module")
def saved(slim_cfg: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    from nemo_vtb import VoiceTextBlender

    torch.manual_seed(1)
    cfg = slim_cfg()
    model = VoiceTextBlender(cfg)
    checkpoint = {"state_dict": model.state_dict(), "hyper_parameters": {"cfg": cfg}, "global_step": 5}
    model.on_save_checkpoint(checkpoint)
    path = tmp_path_factory.mktemp("ckpt") / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    return path, model


def altered(path: Path, folder: Path, **changes: Any) -> Path:
    checkpoint = read_checkpoint(path)
    checkpoint["hyper_parameters"]["cfg"] = {**checkpoint["hyper_parameters"]["cfg"], **changes}
    torch.save(checkpoint, folder / "altered.ckpt")
    return folder / "altered.ckpt"


def test_no_frozen_weight_is_in_it_and_trained_ones_come_back(saved: tuple[Path, Any]):
    path, model = saved
    state = read_checkpoint(path)["state_dict"]
    assert not {name for name, p in model.named_parameters() if not p.requires_grad} & set(state)
    loaded = load_checkpoint(path).state_dict()
    assert all(torch.equal(loaded[name], model.state_dict()[name]) for name in state)


def test_a_run_s_folder_for_frames_is_not_made_where_its_checkpoint_is_read(saved: tuple[Path, Any], tmp_path: Path):
    folder = tmp_path / "frames"
    path = altered(saved[0], tmp_path, encoder_cache=str(folder))
    assert load_checkpoint(path).frame_cache is None and not folder.exists()
    folder.mkdir()
    assert load_checkpoint(path).frame_cache is not None


def test_progress_stands_beside_it(saved: tuple[Path, Any]):
    assert read_progress(saved[0].parent) == (5, -1)


def test_without_lora_a_lora_checkpoint_is_refused(saved: tuple[Path, Any], slim_cfg: Any, tmp_path: Path):
    with pytest.raises(VTBError, match=r"the config has no model\.lora"):
        load_checkpoint(altered(saved[0], tmp_path, lora=None))


def test_with_lora_a_checkpoint_without_is_refused(slim_cfg: Any, saved: tuple[Path, Any], tmp_path: Path):
    checkpoint = read_checkpoint(saved[0])
    for key in ("state_dict",):
        checkpoint[key] = {name: value for name, value in checkpoint[key].items() if "lora_" not in name}
    checkpoint["vtb"]["trained"] = [name for name in checkpoint["vtb"]["trained"] if "lora_" not in name]
    torch.save(checkpoint, tmp_path / "none.ckpt")
    with pytest.raises(VTBError, match="the checkpoint has no LoRA"):
        load_checkpoint(tmp_path / "none.ckpt")


def test_another_llm_under_the_same_config_is_refused(saved: tuple[Path, Any], tiny_llm: Path, tmp_path: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    other = AutoModelForCausalLM.from_pretrained(tiny_llm)
    with torch.no_grad():
        other.model.layers[1].mlp.up_proj.weight.mul_(1.5)
    other.save_pretrained(tmp_path / "llm")
    AutoTokenizer.from_pretrained(tiny_llm).save_pretrained(tmp_path / "llm")
    with pytest.raises(VTBError, match=r"other frozen weights of 'llm' than model\.pretrained_llm"):
        load_checkpoint(altered(saved[0], tmp_path, pretrained_llm=str(tmp_path / "llm")))


def test_the_fingerprint_does_not_depend_on_dtype_or_lora(saved: tuple[Path, Any], slim_cfg: Any):
    from nemo_vtb import VoiceTextBlender

    expected = saved[1].frozen_fingerprints["llm"]
    for changes in ({"llm_dtype": "bfloat16"}, {"lora": None}):
        assert VoiceTextBlender(slim_cfg(**changes)).frozen_fingerprints["llm"] == expected


def test_frozen_weights_that_stand_in_no_file_are_kept(tiny_cfg: Any):
    from nemo_vtb import VoiceTextBlender

    model = VoiceTextBlender(tiny_cfg("vtb", pretrained_weights=False))
    checkpoint = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    assert set(checkpoint["state_dict"]) == set(model.state_dict())


def test_a_file_that_would_run_code_is_refused(tmp_path: Path):
    class Payload:
        def __reduce__(self) -> Any:
            return os.system, ("true",)

    torch.save({"state_dict": Payload()}, tmp_path / "bad.ckpt")
    with pytest.raises(VTBError, match="could run code"):
        load_checkpoint(tmp_path / "bad.ckpt")


def test_a_truncated_file_is_one_message(saved: tuple[Path, Any], tmp_path: Path):
    (tmp_path / "cut.ckpt").write_bytes(saved[0].read_bytes()[:1000])
    with pytest.raises(VTBError, match="damaged"):
        load_checkpoint(tmp_path / "cut.ckpt")


def save_for_ever(folder: Path) -> None:
    # The pool of threads that an earlier test may have started does not live on in a forked process: it waits for ever.
    torch.set_num_threads(1)
    step = 1
    while True:
        AtomicCheckpointIO().save_checkpoint(
            {"weights": torch.full((2_000_000,), step), "global_step": step}, folder / "last.ckpt"
        )
        step += 1


def test_a_kill_at_any_moment_of_saving_leaves_a_whole_file(tmp_path: Path):
    for attempt in range(12):
        writer = get_context("fork").Process(target=save_for_ever, args=(tmp_path,))
        writer.start()
        # At another place of the write each time, from opening the file to renaming it.
        while not (tmp_path / "progress").exists():
            writer.join(0.005)
        writer.join(0.05 + 0.007 * attempt)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        checkpoint = read_checkpoint(tmp_path / "last.ckpt")
        assert (checkpoint["weights"] == checkpoint["global_step"]).all()
        assert checkpoint["global_step"] - read_progress(tmp_path)[0] in (0, 1)
        (tmp_path / "progress").unlink()
