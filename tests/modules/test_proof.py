"""What is proved of an LLM when a model is built, and what is done where the proof fails."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nemo_vtb.errors import VTBError


def losses(model: Any, chats: list[Any]) -> tuple[torch.Tensor, torch.Tensor, Any]:
    from support.tiny import batch

    made = batch(model, chats)
    with torch.no_grad():
        values, _, layout, _ = model.compute_losses(made, *model.encode_clips(made))
    return values, torch.from_numpy(layout.target_owner), layout


def hugging_face(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.mark.parametrize("name", ["granite", "cohere", "gemma2", "falcon_h1"])
def test_the_loss_is_that_of_the_llms_own_logits(name: str, build_family: Any):
    from support.tiny import CHATS, batch

    model, folder = build_family(name)
    llm = hugging_face(folder)
    ours, owners, _ = losses(model, CHATS)
    for number, encoded in enumerate(batch(model, CHATS)["encoded"]):
        ids = torch.from_numpy(encoded.input_ids)[None]
        with torch.no_grad():
            logits = llm(input_ids=ids).logits[0]
        own = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="none")
        wanted = own[torch.from_numpy(encoded.loss_mask)[1:]]
        torch.testing.assert_close(ours[owners == number], wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["qwen3_5_text", "lfm2", "granitemoehybrid", "gpt_oss"])
def test_an_llm_that_hears_its_neighbours_gets_a_row_for_each_conversation(name: str, build_family: Any):
    from support.tiny import CHATS

    model, _ = build_family(name)
    assert model.proof.packing == "apart"
    together, owners, layout = losses(model, CHATS)
    assert layout.rows == len(CHATS) and layout.conversations_per_row == 1.0
    for number, chat in enumerate(CHATS):
        alone, _, _ = losses(model, [chat])
        torch.testing.assert_close(together[owners == number], alone, atol=1e-4, rtol=1e-4)
    # Packed all the same, it would show.
    model.backbone.packing = "rows"
    packed, owners, _ = losses(model, CHATS)
    assert (
        max(float((packed[owners == n] - losses(model, [chat])[0]).abs().max()) for n, chat in enumerate(CHATS)) > 1e-3
    )


def test_what_is_found_is_said_once(build_family: Any, monkeypatch: Any):
    from nemo.utils import logging
    from support.tiny import CHATS, batch

    said: list[str] = []
    monkeypatch.setattr(logging, "warning", said.append)
    monkeypatch.setattr(logging, "info", said.append)
    model, _ = build_family("lfm2")
    model.train()
    for _ in range(2):
        model.training_step(batch(model, CHATS), 0)
    assert sum("packed conversations would hear each other in the LLM Lfm2ForCausalLM" in line for line in said) == 1
    assert sum("was tried out in" in line for line in said) == 1


def test_blocks_of_a_row_that_are_too_long_to_try_out_are_not_packed_either(build_family: Any):
    """Llama 4 attends within chunks of a row, wherever a conversation begins."""
    model, _ = build_family("llama4_text", {"attention_chunk_size": 8192})
    assert model.proof.packing == "apart"


def test_exact_families_are_packed_as_before(build_family: Any):
    from support.tiny import CHATS

    model, _ = build_family("llama")
    assert (model.proof.packing, model.proof.head, model.proof.pads) == ("rows", "config", True)
    assert losses(model, CHATS)[2].conversations_per_row > 1


def test_what_is_no_causal_llm_is_refused_by_name(build_family: Any):
    with pytest.raises(VTBError, match=r"BertLMHeadModel \(bert\) cannot be trained here: .* it is no causal LLM"):
        build_family("bert")
    with pytest.raises(VTBError, match="of type 't5', in which Transformers knows no causal LLM"):
        build_family("t5")
    with pytest.raises(VTBError, match="of type 'bart', an encoder with a decoder"):
        build_family("bart")


def test_rounding_of_half_precision_is_no_leak_and_a_leak_is_no_rounding(smollm2: Path, build_family: Any):
    from transformers import AutoModelForCausalLM

    from nemo_vtb.modules.backbone import HFBackbone
    from nemo_vtb.modules.proof import prove

    _, leaks = build_family("lfm2")
    for folder, packing in ((smollm2, "rows"), (leaks, "apart")):
        llm = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="sdpa").eval()
        owner = SimpleNamespace(llm=llm, embed_tokens=llm.get_input_embeddings(), device=llm.device)
        assert prove(HFBackbone(owner)).packing == packing


def test_the_proof_can_be_left_out(build_family: Any):
    model, _ = build_family("lfm2", prove=False)
    assert model.proof is None and model.backbone.packing == "rows"


def test_a_head_that_does_more_than_its_config_says_is_run_by_the_llm_itself(build_family: Any, monkeypatch: Any):
    from support.tiny import CHATS
    from transformers import LlamaForCausalLM

    own = LlamaForCausalLM.forward

    def doubled(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = own(self, *args, **kwargs)
        output.logits = output.logits * 2 + 1
        return output

    monkeypatch.setattr(LlamaForCausalLM, "forward", doubled)
    model, _ = build_family("llama")
    assert model.proof.head == "llm"
    ours = losses(model, CHATS)[0]
    model.backbone.head.by_llm = False
    assert (ours - losses(model, CHATS)[0]).abs().max() > 1e-2
    model.backbone.head.by_llm = True
    model.train()
    from support.tiny import batch

    model.training_step(batch(model, CHATS), 0)["loss"].backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if "lora_B" in name)


def test_lora_off_that_is_another_llm_is_refused_where_something_needs_the_untouched_one(
    build_family: Any, monkeypatch: Any
):
    from nemo_vtb.modules import build

    own = build.adapt_llm

    def spoilt(llm: Any, *settings: Any) -> Any:
        wrapped = own(llm, *settings)
        with torch.no_grad():
            wrapped.base_model.model.model.layers[0].mlp.up_proj.base_layer.weight.mul_(1.5)
        return wrapped

    monkeypatch.setattr(build, "adapt_llm", spoilt)
    with pytest.raises(VTBError, match=r"model\.text_kl needs the untouched LLM, but LoRA switched off is not"):
        build_family("llama", text_kl=1.0)
    model, _ = build_family("llama")
    with pytest.raises(VTBError, match=r"making LoRA changed 1 of the LLM's own weights, e\.g\. .*up_proj"):
        model.backbone.lora_scale = 0
    with pytest.raises(VTBError, match="the untouched LLM is asked"), model.backbone.without_lora():
        pass


def test_the_router_loss_is_the_one_transformers_adds(build_family: Any):
    from support.tiny import CHATS, batch

    model, folder = build_family("qwen3_moe")
    encoded = batch(model, CHATS[:1])["encoded"][0]
    ids = torch.from_numpy(encoded.input_ids)[None]
    labels = torch.where(torch.from_numpy(encoded.loss_mask)[None], ids, -100)
    with torch.no_grad():
        wanted = hugging_face(folder)(input_ids=ids, labels=labels).loss
        loss, _, stats = model._joint_loss(batch(model, CHATS[:1]))
    assert stats["loss_router"] > 0
    torch.testing.assert_close(loss, wanted, atol=1e-4, rtol=1e-4)


def test_all_linear_takes_experts_in_and_leaves_out_what_lora_cannot_adapt(build_family: Any):
    model, _ = build_family("qwen3_moe")
    assert any("experts" in name and ".lora_" in name for name in model.trainable_names)
    gated, _ = build_family("qwen3_moe", text_lora="audio_gated")
    assert not any("experts" in name for name in gated.trainable_names)
    hybrid, _ = build_family("falcon_h1")
    assert not any("mamba.out_proj" in name for name in hybrid.trainable_names)
    assert any("mamba.in_proj" in name for name in hybrid.trainable_names)
    routed, _ = build_family("llama4_text")
    assert not any(".router." in name for name in routed.trainable_names)


def test_what_lora_cannot_adapt_is_left_out_beside_what_is_excluded_and_refused_where_it_is_named(build_family: Any):
    model, _ = build_family("falcon_h1", lora={"exclude_modules": r".*gate_proj"})
    adapted = {name.split(".lora_")[0].rpartition(".")[2] for name in model.trainable_names if ".lora_" in name}
    assert "in_proj" in adapted and not {"gate_proj", "out_proj"} & adapted
    with pytest.raises(VTBError, match=r"target_modules names mamba\.out_proj, which LoRA cannot adapt"):
        build_family("falcon_h1", lora={"target_modules": ["q_proj", "out_proj"]})


def test_weights_that_stand_in_several_places_are_not_adapted(build_family: Any):
    model, _ = build_family("zamba2")
    names = [name for name in model.trainable_names if name.startswith("llm.")]
    assert names and not any("shared_transformer" in name for name in names)
    with pytest.raises(VTBError, match=r"target_modules names shared_transformer.*q_proj, which LoRA cannot adapt"):
        build_family("zamba2", lora={"target_modules": ["q_proj"]})


def test_a_larger_model_that_leaves_the_factor_of_its_llm_out_is_kept_to(build_family: Any):
    """Aya Vision does not multiply by Cohere's ``logit_scale``."""
    model, _ = build_family("aya_vision")
    assert (type(model.backbone.causal_lm).__name__, model.proof.head) == ("AyaVisionForConditionalGeneration", "llm")
    assert not any("vision_tower" in name for name, _ in model.named_parameters())


def test_an_llm_that_takes_ids_alone_and_has_no_cache_answers_as_by_itself(build_family: Any):
    model, folder = build_family("openai-gpt")
    ids = torch.arange(20, 29)[None]
    options = {"do_sample": False, "max_new_tokens": 5, "min_new_tokens": 5}
    own = hugging_face(folder).generate(input_ids=ids, **options)[:, ids.shape[1] :]
    from transformers import GenerationConfig

    embeds = model.backbone.embed(ids[0])[None]
    config = GenerationConfig(**options, pad_token_id=0, eos_token_id=2)
    assert model.backbone.generate(embeds, torch.ones_like(ids), config).tolist() == own.tolist()


def test_the_text_model_of_a_larger_one_is_all_that_is_kept(build_family: Any):
    model, _ = build_family("gemma3")
    assert type(model.backbone.causal_lm).__name__ == "Gemma3ForCausalLM"
    assert not any("vision" in name for name, _ in model.named_parameters())
    inner, _ = build_family("qwen3_vl")
    assert not any("visual" in name for name, _ in inner.named_parameters())
    assert inner.cfg.perception.output_dim == 64


def test_one_llm_hears_padding_and_is_asked_prompt_by_prompt(build_family: Any):
    model, _ = build_family("rwkv")
    assert not model.proof.pads
    turns = [[{"role": "user", "content": text}] for text in ("Hi.", "What is the colour of the grass?")]
    options = {"max_new_tokens": 5, "min_new_tokens": 5}
    together = model.generate(turns, **options).tolist()
    assert together == [model.generate([asked], **options)[0].tolist() for asked in turns]


def test_state_names_and_files_are_those_of_before(build_family: Any):
    model, _ = build_family("llama")
    names = set(model.state_dict())
    assert "embed_tokens.weight" in names and "llm.base_model.model.lm_head.weight" in names
    assert not any("model.embed_tokens" in name for name in names)
    assert model.llm.get_input_embeddings() is model.embed_tokens
