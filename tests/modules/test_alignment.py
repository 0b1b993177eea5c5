"""Frames are told apart from the tokens of a batch, and with a memory from those of earlier ones."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from ranks import run_ranks
from torch.nn.functional import ctc_loss, normalize

from nemo_vtb.modules.alignment import EmbeddingAlignment

_EMBEDDINGS = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
_FRAMES = torch.randn(9, 8, generator=torch.Generator().manual_seed(2))


def _embed(ids):
    return _EMBEDDINGS[ids]


def _loss(alignment, *transcripts, frames=_FRAMES):
    counts = [len(frames) // len(transcripts)] * len(transcripts)
    return alignment(frames[: sum(counts)], counts, [np.array(ids) for ids in transcripts], _embed)


def _expected(alignment, ids, others, frames=_FRAMES):
    """CTC against the blank, the transcript's tokens and some others."""
    known = sorted(set(ids))
    words = torch.cat([alignment.blank[None], _embed(torch.tensor([*known, *others]))])
    scores = (alignment.temperature * normalize(frames, dim=-1) @ normalize(words, dim=-1).T).log_softmax(-1)
    targets = torch.tensor([[known.index(token) + 1 for token in ids]])
    loss = ctc_loss(scores[:, None], targets, torch.tensor([len(_FRAMES)]), torch.tensor([len(ids)]), reduction="sum")
    return alignment.weight * loss / len(ids)


def test_without_a_memory_the_tokens_of_the_batch_are_compared():
    alignment = EmbeddingAlignment(8)
    _loss(alignment, [1, 2, 3])
    torch.testing.assert_close(_loss(alignment, [7, 9, 7]), _expected(alignment, [7, 9, 7], []))
    assert list(alignment.state_dict()) == ["blank"]


def test_tokens_of_earlier_batches_are_compared_too_the_latest_first():
    alignment = EmbeddingAlignment(8, memory=5)
    _loss(alignment, [1, 2, 3])
    _loss(alignment, [4, 2], [5])
    assert alignment.remembered.tolist() == [2, 4, 5, 1, 3]
    found = _loss(alignment, [7, 9, 7])
    torch.testing.assert_close(found, _expected(alignment, [7, 9, 7], [2, 4, 5, 1, 3]))
    assert found > _expected(alignment, [7, 9, 7], [])
    assert alignment.remembered.tolist() == [7, 9, 2, 4, 5]


def test_gradients_are_those_of_all_compared_tokens():
    alignment = EmbeddingAlignment(8, memory=5, temperature=1.0)
    _loss(alignment, [1, 2, 3])
    found = []
    for loss, *of in ((_loss, [7, 9, 7]), (_expected, [7, 9, 7], [1, 2, 3])):
        frames = _FRAMES.clone().requires_grad_()
        alignment.blank.grad = None
        loss(alignment, *of, frames=frames).backward()
        found.append([frames.grad, alignment.blank.grad])
    torch.testing.assert_close(*found)


def test_a_batch_larger_than_the_memory_is_compared_whole():
    alignment = EmbeddingAlignment(8, memory=2)
    torch.testing.assert_close(_loss(alignment, [7, 9, 3, 7]), _expected(alignment, [7, 9, 3, 7], []))
    assert alignment.remembered.tolist() == [3, 7]


def test_what_is_validated_is_not_remembered():
    alignment = EmbeddingAlignment(8, memory=4)
    _loss(alignment, [1, 2])
    _loss(alignment.eval(), [3])
    assert alignment.remembered.tolist() == [1, 2, -1, -1]


def test_without_clips_the_memory_stays_and_the_blank_has_a_gradient():
    alignment = EmbeddingAlignment(8, memory=4)
    _loss(alignment, [1, 2])
    alignment(None, [], [], _embed).backward()
    assert alignment.remembered.tolist() == [1, 2, -1, -1] and not alignment.blank.grad.any()


@pytest.mark.parametrize(
    "before, after, kept", [(4, 4, [2, 1, -1, -1]), (4, 1, [2]), (1, 3, [2, -1, -1]), (0, 1, [-1])]
)
def test_a_run_goes_on_with_another_memory(before, after, kept):
    run, resumed = EmbeddingAlignment(8, memory=before), EmbeddingAlignment(8, memory=after)
    _loss(run, [1])
    _loss(run, [2])
    resumed.load_state_dict(run.state_dict())
    assert resumed.remembered.tolist() == kept and torch.equal(resumed.blank, run.blank)


def test_a_run_goes_on_without_a_memory():
    run, resumed = EmbeddingAlignment(8, memory=3), EmbeddingAlignment(8)
    resumed.load_state_dict(run.state_dict())
    assert torch.equal(resumed.blank, run.blank)


def _step_of_a_rank(folder: Path) -> None:
    torch.distributed.init_process_group("gloo", rank=int(os.environ["LOCAL_RANK"]), world_size=2)
    rank = torch.distributed.get_rank()
    alignment = EmbeddingAlignment(8, memory=3)
    for ids in ([[4, 5], [6]], [[1], []])[rank]:
        frames = _FRAMES if ids else None
        alignment(frames, [len(_FRAMES)] * bool(ids), [np.array(ids)] * bool(ids), _embed)
    torch.save(alignment.remembered, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_ranks_have_one_memory_whatever_each_hears(tmp_path):
    assert run_ranks(_step_of_a_rank, tmp_path) == [0, 0]
    assert [torch.load(tmp_path / f"{rank}.pt").tolist() for rank in (0, 1)] == [[6, 4, 5], [6, 4, 5]]
