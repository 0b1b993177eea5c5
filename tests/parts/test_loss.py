import weakref

import pytest
import torch
from torch.nn.functional import cross_entropy

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.loss import by_kind, check_backend, fused_losses, supervised_losses

_SIZE, _VOCABULARY, _CAP = 16, 300, 2.0


@pytest.fixture
def head() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(_SIZE, _VOCABULARY, bias=False)


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states, targets and a weight per position, as kinds or the global mean would bring them."""
    torch.manual_seed(1)
    return torch.randn(37, _SIZE) * 3, torch.randint(_VOCABULARY, (37,)), torch.rand(37)


def _capped(head: torch.nn.Linear):
    return lambda hidden: torch.tanh(head(hidden) / _CAP) * _CAP


@pytest.mark.parametrize("chunk", [1, 8, 37, 100])
@pytest.mark.parametrize("trains", [False, True], ids=["frozen head", "trained head"])
def test_chunks_give_the_loss_and_gradients_of_all_logits_at_once(head, case, chunk: int, trains: bool):
    hidden, targets, weights = case
    head.requires_grad_(trains)
    results = []
    for chunked in (True, False):
        head.zero_grad()
        leaf = hidden.clone().requires_grad_()
        if chunked:
            losses, hits = supervised_losses(leaf, targets, _capped(head), chunk, trains)
            assert not hits.requires_grad and hits.dtype == torch.bool
        else:
            logits = _capped(head)(leaf)
            losses, hits = cross_entropy(logits, targets, reduction="none"), logits.argmax(-1) == targets
        (losses * weights).sum().backward()
        results.append((losses.detach(), hits, leaf.grad, head.weight.grad if trains else torch.zeros(1)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found.float(), expected.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("trains", [False, True], ids=["frozen head", "trained head"])
def test_no_logits_wait_for_the_backward_pass(head, case, trains: bool):
    hidden, targets, _ = case
    head.requires_grad_(trains)
    saved: list[weakref.ref] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(weakref.ref(tensor))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        losses, _ = supervised_losses(hidden.requires_grad_(), targets, head, 8, trains)
    alive = [tensor for tensor in (reference() for reference in saved) if tensor is not None]
    assert losses.requires_grad and alive
    assert not [tensor.shape for tensor in alive if _VOCABULARY in tensor.shape and tensor is not head.weight]


def test_without_gradient_nothing_is_differentiated(head, case):
    hidden, targets, _ = case
    with torch.no_grad():
        losses, _ = supervised_losses(hidden, targets, head, 8)
    torch.testing.assert_close(losses, cross_entropy(head(hidden), targets, reduction="none").detach())


def test_by_kind_sums_and_counts_what_occurs():
    values = torch.tensor([1.0, 2.0, 4.0, 8.0])
    found = by_kind(values, torch.tensor([0, 0, 2, 2]), ["asr", "text", "ast"])
    assert {kind: (float(total), count) for kind, (total, count) in found.items()} == {"asr": (3, 2), "ast": (12, 2)}


@pytest.mark.parametrize(
    ("backend", "package"), [("cut_cross_entropy", "cut_cross_entropy"), ("liger", "liger_kernel")]
)
def test_an_absent_backend_is_refused_by_key_and_package(backend: str, package: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(VTBError, match=rf"model\.loss_backend={backend} needs .*pip install"):
        check_backend(backend)
    check_backend("chunked")


def test_cut_cross_entropy_is_the_same(head, case):
    pytest.importorskip("cut_cross_entropy")
    hidden, targets, weights = case
    leaf = hidden.clone().requires_grad_()
    losses = fused_losses("cut_cross_entropy", leaf, head.weight.detach(), targets, _CAP)
    (losses * weights).sum().backward()
    same = hidden.clone().requires_grad_()
    expected, _ = supervised_losses(same, targets, _capped(head.requires_grad_(False)), 8, False)
    (expected * weights).sum().backward()
    torch.testing.assert_close(losses, expected, rtol=0.0, atol=1e-5)
    torch.testing.assert_close(leaf.grad, same.grad, rtol=0.0, atol=1e-5)
