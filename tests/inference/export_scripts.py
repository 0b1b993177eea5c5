"""Scripts of the shape of NeMo's to_hf.py, salm_eval.py and salm_generate.py, written for the test."""

from dataclasses import dataclass

import torch
from lhotse import CutSet, Recording, SupervisionSegment
from nemo.collections.common.data.lhotse.cutset import cut_to_conversation
from nemo.collections.common.data.lhotse.dataloader import tokenize_with_prompt
from nemo.collections.speechlm2 import SALM, SALMDataset
from nemo.core.config import hydra_runner
from nemo.utils.model_utils import import_class_by_path
from omegaconf import OmegaConf
from transformers import AutoTokenizer, GenerationConfig


@dataclass
class Settings:
    task: str
    class_path: str = ""
    ckpt_path: str = ""
    ckpt_config: str = ""
    output_dir: str = ""
    pretrained_name: str = ""
    inputs: str = ""
    dtype: str = "bfloat16"


def to_hf(cfg):
    model_cfg = OmegaConf.to_container(OmegaConf.load(cfg.ckpt_config), resolve=True)["model"]
    model_cfg["torch_dtype"] = cfg.dtype
    model_cfg["init_configure_model"] = True
    model = import_class_by_path(cfg.class_path)(model_cfg)
    model.load_state_dict(torch.load(cfg.ckpt_path, map_location="cpu", weights_only=True)["state_dict"])
    model = model.to(getattr(torch, cfg.dtype))
    model_cfg["pretrained_weights"] = False
    config = OmegaConf.to_container(model.cfg) | {"dtype": cfg.dtype, "torch_dtype": cfg.dtype}
    model.save_pretrained(cfg.output_dir, config=config)
    model.llm.config.save_pretrained(f"{cfg.output_dir}/llm_backbone")
    tokenizer = AutoTokenizer.from_pretrained(model_cfg["pretrained_llm"])
    tokenizer.add_special_tokens({"additional_special_tokens": [model_cfg["audio_locator_tag"]]})
    tokenizer.save_pretrained(cfg.output_dir)


def evaluate(cfg):
    model = SALM.from_pretrained(cfg.pretrained_name).eval().to(getattr(torch, cfg.dtype))
    import soundfile

    audio = torch.from_numpy(soundfile.read(cfg.inputs, dtype="float32")[0])[None]
    answers = model.generate(
        prompts=[[{"role": "user", "content": model.audio_locator_tag}]],
        audios=audio,
        audio_lens=torch.tensor([audio.shape[1]]),
        generation_config=GenerationConfig(
            max_new_tokens=5,
            bos_token_id=model.text_bos_id,
            eos_token_id=[model.text_eos_id],
            pad_token_id=model.text_pad_id,
        ),
    )
    print("ANSWERED", type(model).__name__, answers[0].tolist(), model.token_equivalent_duration)


def generate(cfg):
    model = SALM.from_pretrained(cfg.pretrained_name).eval().to(getattr(torch, cfg.dtype))
    tags = {"audio_locator_tag": model.audio_locator_tag, "token_equivalent_duration": model.token_equivalent_duration}
    cut = Recording.from_file(cfg.inputs).to_cut()
    cut.supervisions = [SupervisionSegment("s", cut.recording_id, 0, cut.duration, text="unknown")]
    conversation = cut_to_conversation(cut, **tags)
    conversation.turns = [turn for turn in conversation.turns if turn.role != "assistant"]
    conversation = tokenize_with_prompt(conversation, tokenizer=model.tokenizer, prompt_format=model.cfg.prompt_format)
    batch = SALMDataset(model.tokenizer)[CutSet([conversation])]
    settings = {
        "bos_token_id": model.text_bos_id,
        "eos_token_id": [model.text_eos_id],
        "pad_token_id": model.text_pad_id,
    }
    answers = model.generate(
        prompts=batch["input_ids"],
        audios=batch["audios"],
        audio_lens=batch["audio_lens"],
        generation_config=GenerationConfig(max_new_tokens=5, **settings),
    )
    print("ANSWERED", type(model).__name__, answers[0].tolist(), model.token_equivalent_duration)


@hydra_runner(config_name="Settings", schema=Settings)
def main(cfg: Settings):
    {"to_hf": to_hf, "evaluate": evaluate, "generate": generate}[cfg.task](cfg)


if __name__ == "__main__":
    main()
