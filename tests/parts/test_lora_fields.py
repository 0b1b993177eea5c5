"""Every field of PEFT's LoraConfig is served or refused in one sentence, before anything is loaded."""

from dataclasses import MISSING, fields

import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.lora_fields import check_lora_fields, is_shifted, not_zero_for_zero

REFUSED = [
    ({"r": 0}, "r is 0"),
    ({"r": True}, "r is True"),
    ({"r": "32"}, "r is '32'"),
    ({"lora_alpha": 0}, "lora_alpha"),
    ({"lora_alpha": "8"}, "lora_alpha"),
    ({"lora_alpha": True}, "lora_alpha is True"),
    ({"lora_alpha": float("inf")}, "lora_alpha is inf"),
    ({"lora_dropout": False}, "lora_dropout is False"),
    ({"lora_dropout": 1.0}, "lora_dropout"),
    ({"lora_dropout": -0.1}, "lora_dropout"),
    ({"bias": "some"}, "bias is 'some'"),
    ({"bias": True}, "bias is True"),
    ({"use_dora": "true"}, "use_dora is 'true'"),
    ({"use_rslora": 1}, "use_rslora is 1"),
    ({"modules_to_save": "norm"}, "modules_to_save is 'norm'"),
    ({"modules_to_save": ["model.embed_tokens"]}, "embeddings"),
    ({"target_modules": ["q_proj", "embed_tokens"]}, "embeddings"),
    ({"target_modules": []}, None),
    ({"target_modules": 3}, "target_modules is 3"),
    ({"target_modules": ""}, "target_modules is ''"),
    ({"target_modules": [""]}, "target_modules is"),
    ({"target_modules": "(q_proj"}, r"target_modules is '\(q_proj'"),
    ({"exclude_modules": "[q_proj"}, r"exclude_modules is '\[q_proj'"),
    ({"rank_pattern": {"(q_proj": 4}}, "rank_pattern is"),
    ({"target_parameters": "mlp.experts.gate_up_proj"}, "target_parameters"),
    ({"target_parameters": ["experts.w"], "lora_dropout": 0.1}, "target_parameters cannot be used with lora_dropout"),
    ({"target_parameters": ["experts.w"], "use_dora": True}, "target_parameters cannot be used with use_dora"),
    ({"target_parameters": ["experts.w"], "init_lora_weights": "pissa"}, "target_parameters cannot be used with init"),
    ({"init_lora_weights": "PiSSA"}, "init_lora_weights is 'PiSSA'"),
    ({"init_lora_weights": "pissa_niter_"}, "init_lora_weights"),
    ({"init_lora_weights": "pissa_niter_-1"}, "init_lora_weights"),
    ({"init_lora_weights": "eva"}, "eva is not supported"),
    ({"init_lora_weights": "corda"}, "corda is not supported"),
    ({"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}}, "quantization"),
    ({"init_lora_weights": "orthogonal", "r": 3}, "even rank"),
    ({"init_lora_weights": "orthogonal", "r": 4, "rank_pattern": {"q_proj": 5}}, "even rank"),
    ({"init_lora_weights": "olora", "use_dora": True}, "use_dora"),
    ({"lora_bias": True, "use_dora": True}, "lora_bias"),
    ({"lora_bias": True, "init_lora_weights": "gaussian"}, "lora_bias"),
    ({"layers_to_transform": [0], "target_modules": "all-linear"}, "layers_to_transform"),
    ({"layers_to_transform": [-1]}, "layers_to_transform"),
    ({"layers_to_transform": [True]}, "layers_to_transform"),
    ({"layers_to_transform": []}, "layers_to_transform"),
    ({"layers_pattern": "layers"}, "layers_pattern"),
    ({"rank_pattern": {"q_proj": 0}}, "rank_pattern"),
    ({"rank_pattern": ["q_proj"]}, "rank_pattern"),
    ({"rank_pattern": {1: 2}}, "rank_pattern"),
    ({"alpha_pattern": {"q_proj": "2"}}, "alpha_pattern"),
    ({"inference_mode": True}, "inference_mode"),
    ({"peft_type": "DORA"}, "peft_type"),
    ({"task_type": "SEQ_CLS"}, "task_type"),
    ({"base_model_name_or_path": "someone/else"}, "base_model_name_or_path"),
    ({"trainable_token_indices": [1]}, "trainable_token_indices"),
    ({"trainable_token_indices": {"embed_tokens": [1]}}, "trainable_token_indices"),
    ({"layer_replication": [[0, 1]]}, "layer_replication"),
    ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
    ({"use_qalora": True}, "use_qalora"),
    ({"arrow_config": {"top_k": 2}}, "arrow_config"),
    ({"megatron_config": {"a": 1}}, "megatron_config"),
    ({"ensure_weight_tying": True}, "ensure_weight_tying"),
    ({"runtime_config": {"ephemeral_gpu_offload": True}}, "runtime_config"),
    ({"rank": 8}, "unknown keys rank"),
]


@pytest.mark.parametrize(("section", "said"), REFUSED, ids=[str(section) for section, _ in REFUSED])
def test_what_is_not_served_is_refused_by_key(section: dict, said: str | None):
    if said is None:
        assert check_lora_fields(section) == section
        return
    with pytest.raises(VTBError, match=said):
        check_lora_fields(section)


@pytest.mark.parametrize(
    "section",
    [
        {"r": 1, "lora_alpha": 0.5, "lora_dropout": 0.0, "bias": "lora_only", "use_dora": True},
        {"layers_to_transform": [0, 3], "layers_pattern": "layers", "target_modules": ["q_proj"]},
        {"layers_to_transform": 0},
        {"rank_pattern": {"q_proj": 1}, "alpha_pattern": {"q_proj": 2.5}},
        {"init_lora_weights": "orthogonal"},
        {"init_lora_weights": "pissa_niter_16"},
        {"init_lora_weights": False, "lora_bias": True},
    ],
    ids=str,
)
def test_what_is_served_is_taken_as_it_stands(section: dict):
    assert check_lora_fields(section) == section


def test_a_section_of_the_encoder_may_say_what_it_leaves_alone():
    section = {"r": 4, "bias": "none", "modules_to_save": [], "target_parameters": []}
    assert check_lora_fields(section, "model.encoder_lora") == section


@pytest.mark.parametrize("section", ["r32", True, ["q_proj"]])
def test_a_section_that_is_none_is_refused(section: object):
    with pytest.raises(VTBError, match="it is a section"):
        check_lora_fields(section)


def test_a_file_that_peft_wrote_with_its_defaults_is_taken():
    from peft import LoraConfig

    written = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM").to_dict()
    written["target_modules"] = sorted(written["target_modules"])
    taken = check_lora_fields(written | {"peft_type": "LORA", "task_type": "CAUSAL_LM"})
    assert taken["r"] == 4 and "peft_type" not in taken


def test_every_field_of_peft_is_known_here():
    """A field that a later PEFT adds is refused, and named here before it is served."""
    from peft import LoraConfig

    from nemo_vtb.parts.lora_fields import REFUSED, SERVED

    known = {*SERVED, *REFUSED, "auto_mapping", "peft_version", "revision"}
    assert {field.name for field in fields(LoraConfig)} <= known
    for field in fields(LoraConfig):
        if field.name not in SERVED and field.default is not MISSING:
            assert check_lora_fields({field.name: field.default}) == {}


@pytest.mark.parametrize("key", ["bias", "modules_to_save", "target_parameters"])
def test_what_is_of_the_llm_alone_is_refused_for_the_encoder(key: str):
    value = "all" if key == "bias" else ["norm"]
    with pytest.raises(VTBError, match=f"model.encoder_lora.{key}"):
        check_lora_fields({key: value}, "model.encoder_lora")


def test_what_moves_weights_and_what_no_gate_can_hold():
    assert is_shifted({"init_lora_weights": "pissa_niter_3"}) and not is_shifted({"init_lora_weights": True})
    assert not_zero_for_zero({"use_dora": True, "bias": "all"}) == ["use_dora", "bias"]
    assert not_zero_for_zero({"bias": "none", "modules_to_save": None}) == []
