"""``model.prompt_format: auto`` and ``model.thinking``: the tokenizer's template wherever conversations are written."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from nemo_vtb.errors import VTBError

sys.path.insert(0, str(Path(__file__).parents[1] / "parts"))
from chat_templates import byte_tokenizer, tokenizer_of_kind

CHAT = [("user", "What is it?"), ("assistant", "A cat."), ("user", "Sure?"), ("assistant", "Yes.")]


def own_ids(tokenizer: Any, turns: Any, **options: Any) -> list[int]:
    chat = [{"role": role, "content": text} for role, text in turns]
    return tokenizer.apply_chat_template(chat, return_dict=False, **options)


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes a folder with a tiny Llama and the tokenizer of a kind of template."""
    from support.tiny import llm_folder

    def make(kind: str) -> Path:
        return llm_folder(tmp_path_factory.mktemp(kind), "llama", tok=tokenizer_of_kind(kind), by=1.0)

    return make


@pytest.fixture(scope="module")
def cfg_of(folder_of: Any, tiny_whisper: Path) -> Any:
    from support.tiny import section

    return lambda kind, **more: section(folder_of(kind), tiny_whisper, **more)


def test_vtb_preview_writes_the_template_in_a_fresh_process(smollm2: Path):
    from transformers import AutoTokenizer

    arguments = ["--config-name=quickstart", "model.prompt_format=auto", "--kind=text", "--count=1"]
    command = [sys.executable, "-m", "nemo_vtb.cli", "preview", *arguments]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    ids = [int(line.split()[1]) for line in said if re.match(r" +\d+ +\d+ ", line)]
    text = AutoTokenizer.from_pretrained(smollm2).decode(ids)
    # What SmolLM2's template puts in front where no system turn is given; NeMo's formats do not.
    assert text.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert any(" * " in line for line in said)


def test_auto_is_what_a_section_without_a_format_has(cfg_of: Any):
    from nemo_vtb import VoiceTextBlender

    cfg = cfg_of("llama3")
    del cfg["prompt_format"]
    model = VoiceTextBlender(cfg)
    assert (model.cfg.prompt_format, model.formatter.NAME) == ("auto", "auto")


@pytest.mark.parametrize("kind", ["llama3", "mistral", "command_r", "granite"])
def test_training_asking_and_lm_eval_write_the_same_tokens(kind: str, cfg_of: Any, conversation: Any):
    from nemo.collections.common.data.prompt_fn import apply_prompt_format_fn
    from nemo.collections.common.prompts import PromptFormatter

    from nemo_vtb import VoiceTextBlender, VTBDataset
    from nemo_vtb.evaluation.lm_eval import VTBLM
    from nemo_vtb.models.answers.generate import default_generation_config
    from nemo_vtb.parts.prompts.turn_mask import encode_turns

    model = VoiceTextBlender(cfg_of(kind))
    own = tokenizer_of_kind(kind)
    wanted, asked = own_ids(own, CHAT), own_ids(own, CHAT[:-1], add_generation_prompt=True)
    made = conversation("c", *CHAT)
    dataset = VTBDataset(model.tokenizer, model.cfg.prompt_format, model.audio_locator_tag)
    assert dataset.encode(made).input_ids.tolist() == wanted
    assert encode_turns(CHAT[:-1], model.formatter, for_generation=True).input_ids.tolist() == asked
    # NeMo's own loaders and evaluation scripts find the format by its name.
    theirs = apply_prompt_format_fn(made, PromptFormatter.resolve("auto")(model.tokenizer))
    assert theirs["input_ids"].tolist() == wanted
    assert theirs["mask"].tolist() == dataset.encode(made).loss_mask.tolist()
    assert theirs["context_ids"].tolist() == asked

    harness = VTBLM.__new__(VTBLM)
    harness._formatter, harness._audio_tag = model.formatter, model.audio_locator_tag
    text = harness.apply_chat_template([{"role": role, "content": words} for role, words in CHAT[:-1]])
    assert own(text, add_special_tokens=False).input_ids == asked
    begun = harness.apply_chat_template([{"role": r, "content": w} for r, w in CHAT], add_generation_prompt=False)
    assert begun == text + "Yes."
    assert harness.chat_template(True).endswith(own.chat_template)
    assert own.eos_token_id in default_generation_config(model).eos_token_id


def test_an_answer_that_is_context_carries_no_loss(cfg_of: Any):
    from nemo_vtb import VoiceTextBlender
    from nemo_vtb.parts.prompts.turn_mask import encode_turns

    formatter = VoiceTextBlender(cfg_of("llama3")).formatter
    every, last = encode_turns(CHAT, formatter), encode_turns(CHAT, formatter, context={1})
    said = [formatter.tokenizer.ids_to_text(e.input_ids[e.loss_mask].tolist(), False) for e in (every, last)]
    assert said == ["A cat.<|eot|>Yes.<|eot|>", "Yes.<|eot|>"]


def test_a_control_token_in_somebodys_words_stays_text(cfg_of: Any, conversation: Any):
    from nemo_vtb import VoiceTextBlender, VTBDataset

    model = VoiceTextBlender(cfg_of("chatml"))
    dataset = VTBDataset(model.tokenizer, "auto", model.audio_locator_tag)
    made = conversation("c", ("user", "Say <|im_end|> twice"), ("assistant", "<|im_end|> <|im_end|>"))
    encoded = dataset.encode(made)
    end = model.tokenizer.token_to_id("<|im_end|>")
    assert encoded.input_ids.tolist().count(end) == 3  # of the template's three turns
    said = model.tokenizer.ids_to_text(encoded.input_ids[encoded.loss_mask].tolist(), remove_special_tokens=False)
    assert said == "<|im_end|> <|im_end|><|im_end|>"


def test_thinking_is_off_in_training_and_asking_and_generate_obeys(cfg_of: Any):
    from nemo_vtb import VoiceTextBlender
    from nemo_vtb.parts.prompts.turn_mask import encode_turns

    off = "<think>\n\n</think>\n\n"
    for mode, opened in (("auto", off), ("off", off), ("on", "")):
        model = VoiceTextBlender(cfg_of("qwen3", thinking=mode)).eval()
        written = encode_turns(CHAT[:1], model.formatter, for_generation=True)
        text = model.tokenizer.ids_to_text(written.input_ids.tolist(), remove_special_tokens=False)
        assert text.endswith(f"<|im_start|>assistant\n{opened}")
    seen = []
    own = model.backbone.generate
    model.backbone.generate = lambda embeds, *args, **more: seen.append(embeds.shape[1]) or own(embeds, *args, **more)
    for thinking in (None, True, False):
        model.generate([[{"role": "user", "content": "2+2?"}]], enable_thinking=thinking, max_new_tokens=1)
    assert seen[0] == seen[1] < seen[2]
    with model.backbone.without_lora():
        model.generate([[{"role": "user", "content": "2+2?"}]], max_new_tokens=1)
    assert seen[3] == seen[0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"thinking": "maybe"}, r"model\.thinking is .maybe.; it may be auto, off, on"),
        ({"thinking": "on"}, r"model\.thinking=on: .* has no switch for it"),
        ({"thinking": "off", "prompt_format": "chatml"}, r"model\.thinking=off needs model\.prompt_format=auto"),
        ({"prompt_format": "nosuch"}, r"model\.prompt_format.*nosuch.* is unknown; auto takes the tokenizer's own"),
        ({"prompt_format": "gemma"}, "prompt format 'gemma' begins with bos, which this tokenizer does not have"),
    ],
)
def test_what_cannot_be_had_is_refused_in_a_sentence(more: dict[str, str], message: str, cfg_of: Any):
    from nemo_vtb import VoiceTextBlender

    with pytest.raises(VTBError, match=message):
        VoiceTextBlender(cfg_of("chatml", **more))


def test_a_format_without_a_switch_refuses_to_think(cfg_of: Any):
    from nemo_vtb import VoiceTextBlender

    model = VoiceTextBlender(cfg_of("chatml", prompt_format="chatml")).eval()
    with pytest.raises(VTBError, match="enable_thinking=True: prompt format 'chatml' has no switch"):
        model.generate([[{"role": "user", "content": "hi"}]], enable_thinking=True)


def test_a_format_that_writes_other_tokens_than_the_template_is_warned_about_once(cfg_of: Any, monkeypatch: Any):
    from nemo.utils import logging

    from nemo_vtb.data.prompts.formats import formatter_of, tokenizer_of

    tokenizer = tokenizer_of(cfg_of("chatml"))
    said: list[str] = []
    monkeypatch.setattr(logging, "warning", said.append)
    for _ in range(2):
        formatter_of("chatml", tokenizer)
    (line,) = said
    assert "model.prompt_format=chatml writes other tokens than the chat template" in line
    assert "user" in line and "system" in line


def test_a_tokenizer_without_eos_trains_and_answers(tiny_whisper: Path, tmp_path: Path):
    from support.tiny import batch, llm_folder, section

    from nemo_vtb import VoiceTextBlender

    tokenizer = byte_tokenizer(("<|im_start|>", "<|im_end|>"), pad_token="<|im_end|>")
    llm_folder(tmp_path, "llama", tok=tokenizer)
    model = VoiceTextBlender(section(tmp_path, tiny_whisper, prompt_format="chatml"))
    model.train()
    model.training_step(batch(model, [CHAT]), 0)["loss"].backward()
    model.eval()
    assert model.generate([[{"role": "user", "content": "hi"}]], max_new_tokens=2).shape[0] == 1


def test_an_exported_tokenizer_renders_as_it_was_trained(cfg_of: Any, tmp_path: Path):
    from transformers import AutoTokenizer

    from nemo_vtb import VoiceTextBlender
    from nemo_vtb.inference.export import export
    from nemo_vtb.models.checkpoints.file import AtomicCheckpointIO

    cfg = cfg_of("qwen3", thinking="off")
    model = VoiceTextBlender(cfg)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.3)
    checkpoint = {"state_dict": model.state_dict(), "hyper_parameters": {"cfg": cfg}, "global_step": 1}
    model.on_save_checkpoint(checkpoint)
    AtomicCheckpointIO().save_checkpoint(checkpoint, tmp_path / "last.ckpt")
    export(str(tmp_path / "last.ckpt"), "hf", str(tmp_path / "hf"))
    exported = AutoTokenizer.from_pretrained(tmp_path / "hf")
    own = tokenizer_of_kind("qwen3")
    wanted = own_ids(own, CHAT[:1], add_generation_prompt=True, enable_thinking=False)
    assert own_ids(exported, CHAT[:1], add_generation_prompt=True) == wanted
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["prompt_format"] == "auto"
