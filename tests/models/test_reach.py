"""Ids, positions and lengths that an LLM has no room for: refused by name, or said."""

from typing import Any

import pytest
import torch

from nemo_vtb.errors import VTBError

SHORT = [("user", "Say one."), ("assistant", "One.")]
LONG = [("user", "word " * 60), ("assistant", "fine " * 10)]
LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0] * 8,
    "long_factor": [4.0] * 8,
    "rope_theta": 10000.0,
    "original_max_position_embeddings": 128,
}


def losses(model: Any, *chats: Any) -> torch.Tensor:
    from support.tiny import batch

    made = batch(model, list(chats))
    with torch.no_grad():
        return model.compute_losses(made, *model.encode_clips(made))[0]


@pytest.mark.parametrize("name", ["gpt2", "opt", "gptj"])
def test_a_conversation_longer_than_a_table_of_positions_is_refused_by_name(name: str, build_family: Any):
    model, _ = build_family(name, {"max_position_embeddings": 100})
    assert losses(model, SHORT).isfinite().all()
    with pytest.raises(
        VTBError, match=r"conversation number 1 takes .* positions, and the LLM .* has 100: leave longer"
    ):
        losses(model, SHORT, LONG)
    with pytest.raises(VTBError, match=r"a prompt has .* positions, and the LLM 100 for prompt and answer"):
        model.generate([[{"role": "user", "content": "word " * 60}]])
    # An answer ends where the positions do.
    assert model.generate([[{"role": "user", "content": "hi"}]], max_new_tokens=500).shape[1] < 100


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("llama", {"max_position_embeddings": 100}, "was made for 100 (max_position_embeddings)"),
        (
            "phi3",
            {"rope_parameters": LONGROPE, "original_max_position_embeddings": 128},
            "as soon as one conversation of a batch has more than 128",
        ),
        (
            "llama",
            {
                "rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4},
                "max_position_embeddings": 99,
            },
            "as soon as one conversation of a batch has more than 99",
        ),
    ],
)
def test_lengths_that_change_what_positions_mean_are_said_once(
    name: str, fields: dict[str, Any], said: str, build_family: Any, warned: pytest.LogCaptureFixture
):
    model, _ = build_family(name, fields)
    warned.clear()
    losses(model, SHORT, SHORT)
    assert not warned.messages
    for _ in range(2):
        losses(model, SHORT, LONG)
    [heard] = warned.messages
    assert said in heard


def test_a_token_without_an_embedding_is_refused_when_the_model_is_built(build_family: Any):
    from support.tiny import tokenizer

    with pytest.raises(VTBError, match=r"the tokenizer writes .*<\|im_start\|>.* as .*, and the embedding table of"):
        build_family("llama", {"vocab_size": len(tokenizer()) - 2})


def test_a_token_without_an_embedding_is_refused_where_somebody_writes_it(build_family: Any):
    from support.tiny import tokenizer

    # Large enough for the format, and not for a token that nobody but a prompt names.
    model, _ = build_family("llama", {"vocab_size": len(tokenizer())})
    ids = torch.tensor([[*range(5), len(tokenizer()) + 3]])
    with pytest.raises(VTBError, match="the embedding table of"):
        model.generate(ids)
    assert losses(model, SHORT).isfinite().all()


@pytest.mark.parametrize(
    ("tag", "said"),
    [("a", "which the tokenizer has in ordinary words"), ("<|im_end|>", "which is the tokenizer's eos_token"),
     ("<|sound|> ", "with blanks around it")],
)  # fmt: skip
def test_a_placeholder_that_stands_in_other_places_is_refused(tag: str, said: str, build_family: Any):
    with pytest.raises(VTBError, match=said):
        build_family("llama", audio_locator_tag=tag)
