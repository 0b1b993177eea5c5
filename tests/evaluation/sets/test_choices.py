"""Multiple choice by likelihood."""

import json

import numpy as np
import pytest
import torch

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.choose import _encoded, _packed, option_nats
from nemo_vtb.evaluation.sets.choices import Choice, choice_rows, common_start
from nemo_vtb.models.voice_text_blender import VoiceTextBlender

CHOICES = [
    Choice("a", "Which of them flies?", ["a bird", "a stone", "a very old house by the sea"], 0),
    Choice("b", "What is one and one, as a word? Think of fingers.", ["two", "three"], 0),
    Choice("c", "Say it.", ["yes", "no", "never again", "it"], 3),
]


@pytest.fixture(scope="module")
def model(tiny_cfg):
    torch.manual_seed(0)
    made = VoiceTextBlender(tiny_cfg(adapter="vtb", text_lora="audio_gated"))
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return made


def test_options_cost_what_the_llm_itself_says_they_cost(model):
    """Question by question and option by option, without batch, padding, cache or packing."""
    model.gated = False
    found = option_nats(model, CHOICES, at_once=3)
    for choice, nats in zip(CHOICES, found, strict=True):
        assert len(nats) == len(choice.options)
        for row, cost in zip(_encoded(model, choice), nats, strict=True):
            ids = torch.from_numpy(row.input_ids)
            with torch.no_grad():
                logits = model.llm(inputs_embeds=model.embed_tokens(ids)[None]).logits[0].log_softmax(-1)
            places = np.flatnonzero(row.loss_mask)
            expected = -logits[places - 1, ids[places]].sum().item()
            assert cost == pytest.approx(expected, rel=1e-4)


def test_an_option_counts_without_the_end_of_its_turn(model):
    row = _encoded(model, CHOICES[0])[0]
    assert model.tokenizer.ids_to_text(row.input_ids[row.loss_mask].tolist()) == "a bird"


def test_llms_without_a_cache_or_padding_get_the_same(model):
    model.gated = False
    with torch.no_grad():
        packed = _packed(model.eval(), [_encoded(model, choice) for choice in CHOICES])
    for one, other in zip(packed, option_nats(model, CHOICES), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_a_gated_llm_chooses_as_the_untouched_one(model):
    model.gated = False
    tuned = option_nats(model, CHOICES)
    with model.backbone.without_lora():
        base = option_nats(model, CHOICES)
    model.gated = True
    assert option_nats(model, CHOICES) == base and tuned != base


def test_the_cheapest_option_per_byte_is_chosen():
    assert CHOICES[0].chosen([6.0, 9.0, 20.0]) == 2
    assert CHOICES[0].chosen([3.0, 9.0, 27.0]) == 0
    by_total = Choice("a", "p", CHOICES[0].options, 0, by_byte=False)
    assert by_total.chosen([6.0, 5.0, 20.0]) == 1
    assert common_start([[1, 2, 3], [1, 2, 4, 5]]) == 2 and common_start([[1, 2], [1, 2, 3]]) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "x", "prompt": "p", "options": ["a"], "answer": 0}, r"rows.jsonl:2: options is \['a'\]"),
        ({"id": "x", "prompt": "p", "options": ["a", "a"], "answer": 0}, "stands there twice"),
        ({"id": "x", "prompt": "p", "options": ["a", "b"], "answer": 2}, "answer is 2; it is the place"),
        ({"id": "x", "prompt": "p", "options": ["a", "b"], "answer": "a"}, "answer is 'a'"),
        ({"prompt": "p", "options": ["a", "b"], "answer": 0}, "id or prompt is no text"),
        ({"id": "good", "prompt": "p", "options": ["a", "b"], "answer": 0}, "the id 'good' stands there twice"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused(tmp_path, row, message):
    path = tmp_path / "rows.jsonl"
    good = {"id": "good", "prompt": "p", "options": ["a", "b"], "answer": 1}
    path.write_text(f"{json.dumps(good)}\n{json.dumps(row)}\n")
    with pytest.raises(VTBError, match=message):
        choice_rows(str(path))
