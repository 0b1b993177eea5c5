"""What a quickstart will take is worked out from its arithmetic and the machine's rate."""

from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from nemo_vtb.models.voice_text_blender import VoiceTextBlender
from nemo_vtb.parts.machine.hardware import Machine
from nemo_vtb.quickstart.forecast import forecast

_RUN = OmegaConf.create({"trainer": {"max_steps": 90}, "data": {"train_ds": {"batch_tokens": 1536}}})


def test_it_is_arithmetic_over_rate(slim_cfg):
    model = VoiceTextBlender(slim_cfg())
    machine = Machine("cpu", "a processor", cores=2, rates={"float32": 100.0, "bfloat16": 25.0})
    two = forecast(model, _RUN, 300, machine, 2, "32-true")
    one = forecast(model, _RUN, 300, machine, 1, "32-true")
    assert two.training == pytest.approx(one.training / 2) and two.asking == pytest.approx(one.asking / 2)
    assert forecast(model, _RUN, 300, machine, 2, "bf16-mixed").training == pytest.approx(4 * two.training)
    assert forecast(model, _RUN, 600, machine, 2, "32-true").asking == pytest.approx(2 * two.asking)
    assert str(two).startswith("about 1 minute from here (90 steps are") and "100 GFLOP/s a core, 2 cores" in str(two)


def test_what_the_adapter_alone_hears_costs_the_adapter_alone(slim_cfg):
    model = VoiceTextBlender(slim_cfg())
    machine = Machine("cpu", "a processor", cores=2, rates={"float32": 100.0})
    blend = {"unit": "total_tokens", "kinds": {"asr": {"share": 1}, "align": {"share": 3}}}
    run = OmegaConf.merge(_RUN, {"data": {"train_ds": {"blend": blend}}})
    whole, quarter = (forecast(model, cfg, 300, machine, 1, "32-true").training for cfg in (_RUN, run))
    adapter = sum(weight.numel() for weight in model.perception.modality_adapter.parameters())
    weights = list(model.backbone.body.parameters())
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    cost = 4 * (sum(weight.numel() for weight in weights) - trained) + 6 * trained
    assert quarter == pytest.approx(whole / 4 + whole * 3 / 4 * 6 * adapter / cost)


def test_nothing_is_said_where_the_rate_is_not_known(slim_cfg):
    machine = Machine("cuda", "a GPU")
    assert forecast(VoiceTextBlender(slim_cfg()), _RUN, 300, machine, 2, "bf16-mixed") is None
    assert forecast(VoiceTextBlender(slim_cfg()), _RUN, 300, replace(machine, device="cpu"), 2, "32-true") is None
