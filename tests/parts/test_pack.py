from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.backbone import HFBackbone
from nemo_vtb.parts.pack import fill_rows, plan_packing
from nemo_vtb.parts.prompts.turn_mask import EncodedConversation

_PLACEHOLDER = 127
_FRAMES = [3, 1, 5]
_FAMILIES = {
    "llama": {},
    "gemma": {"head_dim": 8},
    # Caps low enough, and a window short enough, to matter here.
    "gemma2": {
        "head_dim": 16,
        "query_pre_attn_scalar": 1,
        "sliding_window": 4,
        "attn_logit_softcapping": 0.5,
        "final_logit_softcapping": 1.0,
    },
    "gemma3_text": {
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "qwen2": {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
    "qwen3": {"head_dim": 8},
}


def _encoded(*ids: int, supervised: int = 2) -> EncodedConversation:
    mask = np.zeros(len(ids), dtype=bool)
    mask[-supervised:] = True
    return EncodedConversation(np.array(ids, dtype=np.int64), mask)


@pytest.fixture(scope="module")
def conversations() -> list[EncodedConversation]:
    """Lengths of 5, 9, 11 and 3 positions; the second and third hold the clips."""
    return [
        _encoded(11, 12, 13, 14, 15),
        _encoded(21, _PLACEHOLDER, 22, 23, 24, 25, 26, supervised=3),
        _encoded(31, _PLACEHOLDER, 32, _PLACEHOLDER, 33, 34, 35),
        _encoded(41, 42, 43, supervised=1),
    ]


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(sum(_FRAMES), 32)


@pytest.fixture(scope="module", params=_FAMILIES)
def llm(request: pytest.FixtureRequest) -> Any:
    return _build(request.param)


def _build(family: str, attention: dict[str, str] | None = None, **changed: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        family,
        vocab_size=128,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.1,
        **{**_FAMILIES[family], **changed},
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, **(attention or {})).eval()


def _embed_alone(
    llm: Any, conversations: list[EncodedConversation], frames: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Embeddings ``(1, T, H)`` and supervised places of each conversation, put together one token at a time."""
    clips = iter(frames.split(_FRAMES))
    alone = []
    for conversation in conversations:
        pieces, supervised = [], []
        for token, learned in zip(conversation.input_ids, conversation.loss_mask, strict=True):
            piece = next(clips) if token == _PLACEHOLDER else llm.get_input_embeddings()(torch.tensor([token]))
            pieces.append(piece)
            supervised += [bool(learned)] * len(piece)
        alone.append((torch.cat(pieces)[None], torch.tensor(supervised)))
    return alone


@pytest.mark.parametrize("row_tokens", [0, 12], ids=["one row", "several rows"])
@torch.no_grad()
def test_packed_conversations_are_as_if_alone(
    llm: Any, conversations: list[EncodedConversation], frames: torch.Tensor, row_tokens: int
):
    alone = _embed_alone(llm, conversations, frames)
    expected = [llm(inputs_embeds=embeds, use_cache=False).logits[0] for embeds, _ in alone]
    expected_targets = torch.cat(
        [logits[:-1][supervised[1:]] for logits, (_, supervised) in zip(expected, alone, strict=True)]
    )

    backbone = _backbone(llm)
    layout = plan_packing(conversations, _FRAMES, _PLACEHOLDER, row_tokens)
    assert (layout.rows == 1) == (row_tokens == 0)
    embeds = fill_rows(layout, backbone.embed(torch.from_numpy(layout.token_ids)), frames)
    hidden = backbone.hidden_states(embeds, torch.from_numpy(layout.position_ids)).flatten(0, 1)

    logits = backbone.project(hidden.index_select(0, torch.from_numpy(layout.predict_from)))
    assert expected_targets.abs().max() > 0.1
    assert (logits - expected_targets).abs().max() <= 1e-5

    # Every position, not only those that carry loss: they are found by their embeddings' own order.
    starts = np.flatnonzero(layout.position_ids.ravel() == 0)
    found = 0
    for (own, _), logits_alone in zip(alone, expected, strict=True):
        length = own.shape[1]
        start = next(s for s in starts if torch.equal(embeds.flatten(0, 1)[s : s + length], own[0]))
        whole = backbone.project(hidden[start : start + length])
        assert (whole - logits_alone).abs().max() <= 1e-5
        found += length
    assert found == layout.lengths.sum()


def _backbone(llm: Any) -> HFBackbone:
    return HFBackbone(SimpleNamespace(llm=llm, embed_tokens=llm.get_input_embeddings()))


def _hidden(llm: Any, conversations: list[EncodedConversation], frames: torch.Tensor, row_tokens: int = 0) -> Any:
    """Hidden states of all positions but padding."""
    backbone = _backbone(llm)
    layout = plan_packing(conversations, _FRAMES, _PLACEHOLDER, row_tokens)
    embeds = fill_rows(layout, backbone.embed(torch.from_numpy(layout.token_ids)), frames)
    lengths = layout.lengths[layout.order]
    hidden = backbone.hidden_states(embeds, torch.from_numpy(layout.position_ids), lengths=lengths)
    used = np.sort(np.concatenate([layout.token_to, layout.frame_to]))
    return hidden.flatten(0, 1)[torch.from_numpy(used)]


@torch.no_grad()
def test_neighbours_in_a_row_would_show(llm: Any, conversations: list[EncodedConversation], frames: torch.Tensor):
    backbone = _backbone(llm)
    layout = plan_packing(conversations, _FRAMES, _PLACEHOLDER)
    embeds = fill_rows(layout, backbone.embed(torch.from_numpy(layout.token_ids)), frames)
    apart = backbone.hidden_states(embeds, torch.from_numpy(layout.position_ids))
    together = backbone.hidden_states(embeds, torch.arange(layout.row_length)[None])
    assert (apart - together).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("family", "setting"),
    [
        ("gemma2", {"attn_logit_softcapping": None}),
        ("gemma2", {"sliding_window": 64}),
        ("gemma3_text", {"sliding_window": 64}),
        ("qwen2", {"use_sliding_window": False}),
    ],
)
@torch.no_grad()
def test_caps_and_windows_matter_at_these_sizes(
    family: str, setting: dict[str, Any], conversations: list[EncodedConversation], frames: torch.Tensor
):
    with_it, without = _build(family), _build(family, **setting)
    difference = _hidden(with_it, conversations, frames) - _hidden(without, conversations, frames)
    assert difference.abs().max() > 1e-3


@pytest.mark.parametrize("row_tokens", [0, 12], ids=["one row", "several rows"])
@torch.no_grad()
def test_flex_attention_is_the_same(
    llm: Any, conversations: list[EncodedConversation], frames: torch.Tensor, row_tokens: int
):
    flex = _build(llm.config.model_type, {"attn_implementation": "flex_attention"})
    # Not compiled: the masks and caps are what is tested, not the kernel.
    with torch.compiler.set_stance("force_eager"):
        found = _hidden(flex, conversations, frames, row_tokens)
    assert (found - _hidden(llm, conversations, frames, row_tokens)).abs().max() <= 1e-5


@torch.no_grad()
def test_flash_attention_is_told_the_borders(
    conversations: list[EncodedConversation], frames: torch.Tensor, monkeypatch: pytest.MonkeyPatch
):
    """FlashAttention's kernel needs a GPU; what it is given is run here piece by piece."""
    from torch.nn.functional import scaled_dot_product_attention
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def by_borders(module: Any, query: Any, key: Any, value: Any, mask: Any, **given: Any) -> tuple[Any, None]:
        assert mask is None and given["max_length_q"] == 11
        borders = given["cu_seq_lens_q"].tolist()
        assert borders == given["cu_seq_lens_k"].tolist() and query.shape[0] == 1
        pieces = [
            scaled_dot_product_attention(*(x[:, :, a:b] for x in (query, key, value)), is_causal=True, enable_gqa=True)
            for a, b in pairwise(borders)
        ]
        return torch.cat(pieces, 2).transpose(1, 2), None

    llm = _build("llama")
    expected = _hidden(llm, conversations, frames)
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._local_mapping, "flash_attention_2", by_borders)
    llm.config._attn_implementation = "flash_attention_2"
    assert _backbone(llm).one_row
    assert (_hidden(llm, conversations, frames) - expected).abs().max() <= 1e-5


def test_targets_are_the_supervised_tokens_and_their_owners(conversations: list[EncodedConversation]):
    layout = plan_packing(conversations, _FRAMES, _PLACEHOLDER, row_tokens=12)
    assert layout.targets.tolist() == [14, 15, 24, 25, 26, 34, 35, 43]
    assert layout.target_owner.tolist() == [0, 0, 1, 1, 1, 2, 2, 3]
    assert layout.lengths.tolist() == [5, 9, 11, 3]
    used = np.concatenate([layout.token_to, layout.frame_to])
    assert len(set(used.tolist())) == len(used) == layout.lengths.sum()
    assert len(layout.frame_to) == sum(_FRAMES) and _PLACEHOLDER not in layout.token_ids


def test_padding_share_counts_what_is_neither_token_nor_frame(conversations: list[EncodedConversation]):
    assert plan_packing(conversations, _FRAMES, _PLACEHOLDER).padding_share == 0.0
    layout = plan_packing(conversations, _FRAMES, _PLACEHOLDER, row_tokens=12)
    # Longest first into the emptiest of three rows: 11, 9 and 5 + 3.
    assert (layout.rows, layout.row_length) == (3, 11)
    assert layout.padding_share == pytest.approx(1 - 28 / 33)
    rows = fill_rows(layout, torch.ones(len(layout.token_ids), 2), torch.ones(sum(_FRAMES), 2))
    assert float((rows == 0).all(-1).float().mean()) == pytest.approx(layout.padding_share)


def test_a_row_is_as_long_as_its_longest_conversation_needs():
    layout = plan_packing([_encoded(*range(1, 21)), _encoded(1, 2, 3)], [], _PLACEHOLDER, row_tokens=8)
    assert (layout.rows, layout.row_length) == (2, 20)


def test_rows_are_as_many_as_waste_least():
    conversations = [_encoded(*range(1, 48 + number % 5)) for number in range(32)]
    layout = plan_packing(conversations, [], _PLACEHOLDER, row_tokens=256)
    assert layout.row_length <= 256 and layout.padding_share < 0.03  # seven rows would leave 8 % of theirs empty
    taken = sorted(
        (int(start), int(start + length)) for start, length in zip(layout.starts, layout.lengths, strict=True)
    )
    assert all(end <= start for (_, end), (start, _) in pairwise(taken))
    assert all(start // layout.row_length == (end - 1) // layout.row_length for start, end in taken)


def test_too_few_clips_name_the_sample(conversations: list[EncodedConversation]):
    names = ["first", "second", "third", "fourth"]
    with pytest.raises(VTBError, match=r"third has 2 audio placeholders but only 1 clips"):
        plan_packing(conversations, _FRAMES[:-1], _PLACEHOLDER, names=names)
    with pytest.raises(VTBError, match=r"number 2 has 2 audio placeholders"):
        plan_packing(conversations, _FRAMES[:-1], _PLACEHOLDER)


def test_a_clip_without_a_placeholder_is_an_error(conversations: list[EncodedConversation]):
    with pytest.raises(VTBError, match="4 clips but 3 audio placeholders"):
        plan_packing(conversations, [*_FRAMES, 2], _PLACEHOLDER)


def test_a_first_token_is_never_a_target():
    layout = plan_packing([_encoded(1, 2, supervised=2), _encoded(3, 4, supervised=2)], [], _PLACEHOLDER)
    assert layout.targets.tolist() == [2, 4] and (layout.predict_from >= 0).all()


def test_gradients_reach_tokens_and_frames(conversations: list[EncodedConversation], frames: torch.Tensor):
    layout = plan_packing(conversations, _FRAMES, _PLACEHOLDER, row_tokens=12)
    tokens = torch.randn(len(layout.token_ids), 32, requires_grad=True)
    heard = frames.clone().requires_grad_()
    fill_rows(layout, tokens, heard).sum().backward()
    assert bool((tokens.grad == 1).all()) and bool((heard.grad == 1).all())
