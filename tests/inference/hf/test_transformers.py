"""Folders of ``vtb export --to hf`` in Transformers' own calls: the answers are those of ``vtb``."""

import ast
import copy
import importlib.util
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from nemo_vtb import registry
from nemo_vtb.errors import VTBError
from nemo_vtb.inference.chat import ChatSession
from nemo_vtb.inference.export import export
from nemo_vtb.inference.hf.folder import named_section


@pytest.fixture(scope="module")
def checkpoint(gated: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    saved = {"state_dict": gated.state_dict(), "hyper_parameters": {"cfg": dict(gated.hparams.cfg)}, "global_step": 5}
    gated.on_save_checkpoint(saved)
    # The LLM's weights of this fixture are in no file.
    saved["state_dict"] = gated.state_dict()
    saved["hyper_parameters"]["cfg"]["pretrained_weights"] = False
    # As the configs that people train with have it.
    saved["hyper_parameters"]["cfg"]["attn_implementation"] = "auto"
    path = tmp_path_factory.mktemp("gated") / "last.ckpt"
    torch.save(saved, path)
    return path


@pytest.fixture(scope="module")
def folder(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "hf"
    export(str(checkpoint), "hf", str(out), "float32")
    return out


@pytest.fixture(scope="module")
def loaded(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForMultimodalLM, AutoProcessor

    import nemo_vtb.hf  # noqa: F401

    model = AutoModelForMultimodalLM.from_pretrained(folder, dtype="float32")
    return AutoProcessor.from_pretrained(folder), model


def test_a_folder_that_says_how_its_maker_paid_attention_loads(folder: Path, tmp_path: Path):
    """``attn_implementation: auto``, which Transformers does not know: earlier exports have it in config.json."""
    from transformers import AutoConfig

    import nemo_vtb.hf  # noqa: F401

    written = json.loads((folder / "config.json").read_text())
    assert "attn_implementation" not in written
    (tmp_path / "config.json").write_text(json.dumps({**written, "attn_implementation": "auto"}))
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert loaded._attn_implementation != "auto" and loaded.section()["pretrained_llm"] == written["pretrained_llm"]


def test_what_cannot_be_asked_is_refused_in_a_line(loaded: tuple[Any, Any], folder: Path, clips: list[Any]):
    from nemo_vtb.inference.hf.model import VoiceTextBlenderForConditionalGeneration as Model

    processor, model = loaded
    inputs = processor.apply_chat_template([[{"role": "user", "content": "Hello."}]], tokenize=True)
    most = model.config.text_config.max_position_embeddings
    long = inputs["input_ids"].repeat(1, most // inputs["input_ids"].shape[1] + 1)
    for wrong, words in (
        (lambda: model.generate(long), f"and the LLM {most:,} for prompt and answer"),
        (lambda: model.generate(**inputs, audio_values=torch.zeros(1, 1600)), "audio_values and audio_lengths"),
        (lambda: processor([]), "no prompt"),
        (lambda: processor(None), "no prompt"),
        (lambda: processor.apply_chat_template([]), "no conversation"),
        (lambda: processor.apply_chat_template({"role": "user", "content": "Hello."}), "no conversation"),
    ):
        with pytest.raises(VTBError, match=words):
            wrong()
    if not torch.cuda.is_available():
        with pytest.raises(VTBError, match="PyTorch finds no GPU here"):
            Model.from_pretrained(folder, device_map="cuda")


def talks_of(clips: list[Any]) -> list[list[dict[str, Any]]]:
    heard = [{"type": "audio", "path": str(clip.path)} for clip in clips]
    return [
        [{"role": "user", "content": [{"type": "text", "text": "What is said here?"}, heard[0]]}],
        [{"role": "user", "content": "What is said <|im_end|> in <|audio|>?"}],
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [heard[1], {"type": "text", "text": "And here?"}, heard[2]]},
            {"role": "assistant", "content": "Nothing."},
            {"role": "user", "content": "Are you sure?"},
        ],
    ]


def said_by_vtb(model: Any, talk: list[dict[str, Any]], tokens: int = 8) -> tuple[list[int], str]:
    session = ChatSession(model)
    messages = copy.deepcopy(talk)
    for message in messages:
        for part in message["content"] if isinstance(message["content"], list) else ():
            if "path" in part:
                part["audio"] = part.pop("path")
    from nemo_vtb.inference.session.answer import Answer
    from nemo_vtb.inference.session.messages import read_messages
    from nemo_vtb.inference.session.sampling import AnswerOptions

    answer = Answer(read_messages(messages, model.sampling_rate), AnswerOptions(max_new_tokens=tokens))
    for _ in session.decoder.write([answer]):
        pass
    answer.check()
    assert answer.prompt is not None
    return answer.prompt.keys.tolist(), model.tokenizer.tokenizer.decode(answer.tokens, skip_special_tokens=True)


def test_the_program_of_the_guide_answers_as_vtb(folder: Path, gated: Any, clips: list[Any], tmp_path: Path):
    page = (Path(__file__).parents[3] / "tutorials" / "serving.md").read_text(encoding="utf-8")
    (program,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "nemo_vtb.hf" in block)
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "hf").symlink_to(folder)
    shutil.copy(clips[0].path, tmp_path / "question.wav")
    # As the answers of ``gated`` are: in float32, and as many tokens of the pipeline as are asked above it.
    loads = 'MultimodalLM.from_pretrained("exported/hf"'
    program = program.replace(loads, f'{loads}, dtype="float32"').replace(
        "return_full", "max_new_tokens=64, return_full"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr[-2000:]
    *_, answers, piped = ran.stdout.strip().splitlines()
    heard = [{"type": "text", "text": "What is said here?"}, {"type": "audio", "path": str(clips[0].path)}]
    talks = [[{"role": "user", "content": content}] for content in (heard, "What is the capital of France?")]
    wanted = [said_by_vtb(gated, talk, 64)[1] for talk in talks]
    assert ast.literal_eval(answers) == wanted and len(set(wanted)) > 1
    assert piped.strip() == wanted[0].strip()


def test_the_prompt_is_the_one_of_vtb(loaded: tuple[Any, Any], gated: Any, clips: list[Any]):
    processor, _ = loaded
    for talk in talks_of(clips):
        ids = processor.apply_chat_template(talk, tokenize=True)["input_ids"][0].tolist()
        keys = said_by_vtb(gated, talk)[0]
        assert [-1 if token == processor.audio_token_id else token for token in ids] == [max(key, -1) for key in keys]


def test_a_written_prompt_meets_the_untouched_llm(loaded: tuple[Any, Any], clips: list[Any]):
    processor, model = loaded
    spoken, written, _ = (processor.apply_chat_template(talk, tokenize=True) for talk in talks_of(clips))
    together = processor.apply_chat_template(talks_of(clips)[:2], tokenize=True)
    length = written["input_ids"].shape[1]
    with model.blender.backbone.without_lora():
        untouched, unheard = model(**written).logits, model(**spoken).logits
    assert torch.equal(model(**written).logits, untouched)
    assert (model(**together).logits[1, -length:] - untouched[0]).abs().max() < 1e-4
    assert (model(**spoken).logits - unheard).abs().max() > 0.01


def test_long_clips_are_heard_and_what_does_not_fit_is_said(loaded: tuple[Any, Any], tmp_path: Path):
    processor, model = loaded
    long = np.random.default_rng(0).normal(0, 0.1, 31 * 16000 + 17).astype(np.float32)
    soundfile.write(tmp_path / "long clip.wav", long, 16000)
    parts = [{"type": "audio", "url": str(tmp_path / "long clip.wav")}]
    inputs = processor.apply_chat_template([{"role": "user", "content": parts}], tokenize=True)
    assert model.generate(**inputs, max_new_tokens=1).shape[1] == inputs["input_ids"].shape[1] + 1
    same = processor(text="<|audio|>", audio=long)
    assert int((same["input_ids"] == processor.audio_token_id).sum()) == processor.frames(len(long))
    with pytest.raises(VTBError, match="2 audio placeholders for 1 clips"):
        processor(text="<|audio|><|audio|>", audio=[long])
    with pytest.raises(VTBError, match="placeholders for 0 frames"):
        model.generate(input_ids=same["input_ids"])
    with pytest.raises(VTBError, match=r"vtb export .* --to hf"):
        model.save_pretrained(tmp_path)
    with pytest.raises(VTBError, match="dtype is float16; it is float32, bfloat16 or auto"):
        type(model).from_pretrained("nowhere", config=model.config, dtype=torch.float16)


def test_the_folder_names_nothing_that_only_we_know(gated: Any, folder: Path, smollm2: Path):
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "voice_text_blender" and config["llm_config"]["model_type"] == "llama"
    assert Path(config["pretrained_llm"]) == folder / "llm_backbone"
    changed = copy.copy(gated)
    changed.cfg = copy.deepcopy(gated.cfg)
    changed.cfg.pretrained_llm = str(smollm2)
    assert named_section(changed)["pretrained_llm"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert named_section(changed, {"pretrained_llm": "org/llm"})["pretrained_llm"] == "org/llm"


def test_vllm_is_given_lora_beside_the_weights(gated: Any, folder: Path):
    """vLLM itself is not here: ``examples/vllm_check.py`` serves such a folder with it."""
    about = json.loads((folder / "lora/adapter_config.json").read_text())
    tensors = load_file(folder / "lora/adapter_model.safetensors")
    state = gated.llm.state_dict()
    learnt = {name.replace(".default.", "."): state[name] for name in state if ".lora_" in name}
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        name: tuple(tensor.shape) for name, tensor in learnt.items()
    }
    assert all(torch.equal(tensors[name], learnt[name]) for name in learnt)
    assert about["base_model_name_or_path"] == json.loads((folder / "config.json").read_text())["pretrained_llm"]
    assert {path.name for path in (folder / "lora").iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    (line,) = [line for line in (folder / "README.md").read_text().splitlines() if "vllm serve" in line]
    words = shlex.split(line, comments=True)
    assert words[:4] == ["VLLM_PLUGINS=nemo_vtb", "vllm", "serve", "FOLDER"]
    given = dict(itertools.pairwise(words))
    assert json.loads(given["--default-mm-loras"]) == {"audio": "FOLDER/lora"}
    # The smallest that vLLM knows and that holds it; the second slot stays empty.
    assert about["r"] <= int(given["--max-lora-rank"]) == 8 and given["--max-loras"] == "2"
    assert given["--dtype"] == "float32" and given["--chat-template-content-format"] == "openai"


def test_what_vllm_loads_by_name_is_there():
    named = [registry._VLLM_MODEL.replace(":", "."), *registry._VLLM_GATE]
    named += [
        f"{registry._NEMO_VLLM}.model.{registry._NEMO_VLLM_MODEL}",
        f"{registry._NEMO_VLLM}.config.NeMoSpeechLMConfig",
    ]
    for module, _, name in (target.rpartition(".") for target in named):
        found = importlib.util.find_spec(module)
        assert found is not None and found.origin is not None
        tree = ast.parse(Path(found.origin).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def test_what_would_change_nothing_is_refused(loaded: tuple[Any, Any], folder: Path):
    from nemo_vtb.inference.hf.model import VoiceTextBlenderForConditionalGeneration

    processor, model = loaded
    inputs = processor("Hello.")
    with pytest.raises(VTBError, match="no labels"):
        model(**inputs, labels=inputs["input_ids"])
    talk = [{"role": "user", "content": "Hello."}]
    done = {"padding": True, "padding_side": "left", "sampling_rate": processor.sampling_rate, "images": None}
    asked = processor.apply_chat_template(talk, tokenize=True, truncation=False, processor_kwargs=done)
    assert asked["input_ids"].equal(processor.apply_chat_template(talk, tokenize=True)["input_ids"])
    with pytest.raises(VTBError, match="nothing is cut off"):
        processor("Hello.", truncation=True)
    with pytest.raises(VTBError, match="text: half a surrogate pair"):
        processor("Nice \ud83d")
    for options, words in (({"max_length": 5}, "max_length is 5"), ({"images": [1]}, "images is no option")):
        with pytest.raises(VTBError, match=words):
            processor.apply_chat_template(talk, tokenize=True, processor_kwargs=options)
    with pytest.raises(VTBError, match="sampling_rate is 8000"):
        processor.apply_chat_template(talk, tokenize=True, sampling_rate=8000)
    with pytest.raises(VTBError, match="not loaded with load_in_8bit"):
        VoiceTextBlenderForConditionalGeneration.from_pretrained(folder, load_in_8bit=True)


def test_attention_is_what_was_asked_for(loaded: tuple[Any, Any], folder: Path):
    from transformers import AutoModelForMultimodalLM

    from nemo_vtb.inference.hf.model import VoiceTextBlenderForConditionalGeneration

    processor, model = loaded
    assert model.blender.backbone.attention == "sdpa"
    for kind in (AutoModelForMultimodalLM, VoiceTextBlenderForConditionalGeneration):
        eager = kind.from_pretrained(folder, attn_implementation="eager")
        assert eager.blender.backbone.attention == eager.config._attn_implementation == "eager"
        inputs = processor("Hello.")
        torch.testing.assert_close(eager(**inputs).logits, model(**inputs).logits)
