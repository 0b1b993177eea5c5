"""What packing, loss and the gate rely on, tried out on the LLM at hand before anything is learnt.

Families differ in ways that no config states: whether position ids keep packed conversations apart, what happens
between table and layers and behind the head. A few conversations of random tokens say it, through the same calls that
training makes. What counts as equal is measured too: rounding is how far a conversation's states move when words follow
it, which a causal LLM cannot hear; other words there, in sums of the same shape, do not move them at all.
"""

import inspect
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.llm.parts import body_of, family, text_config
from nemo_vtb.modules.lora.untouched import adapters_off
from nemo_vtb.parts.eval_mode import evaluating

if TYPE_CHECKING:
    from nemo_vtb.modules.backbone import HFBackbone

_LENGTH = 9
# Of the size of hidden states: what is no difference at all.
_EXACT = 1e-5
# Times the rounding that was measured: another order of sums; a wrong mask, position or factor is far above. In half
# precision what was measured is itself a good part of what a wrong one makes.
_ROUNDING = {torch.float32: 20.0}
_HALF_ROUNDING = 4.0
_FLOOR = 2e-4
# Likewise in steps of the precision, where the rounding that was measured happens to be none (bfloat16).
_STEPS = 8
# Sums of the same shape agree to the bit, but for kernels that add up in no fixed order, which stay below this.
_HEARS = 0.05
# What tells in a family's source that it takes segment boundaries.
_SEGMENTS = ("seq_idx", "cu_seq_lens_q")
# Attention over blocks of so many positions of a row, wherever conversations begin: too long to try out.
_BLOCKS = ("attention_chunk_size", "index_topk", "index_block_size", "index_topk_blocks", "compress_rates")
_WEIGHT_SAMPLES = 256


@dataclass(frozen=True)
class Proof:
    """What was found.

    Attributes:
        packing: ``rows``: many conversations a row, kept apart by position ids; ``segments``: by segment boundaries,
            in one row; ``apart``: one conversation a row, because the LLM would hear its neighbours.
        head: ``config``: head, factor and cap; ``llm``: the LLM's own forward pass does more.
        pads: Whether prompts of a batch may be padded when it is asked; else each is asked alone.
        seconds: What finding out took.
    """

    packing: str
    head: str
    pads: bool
    seconds: float


@torch.no_grad()
def prove(backbone: "HFBackbone") -> Proof:
    """Tries out an LLM and sets its backbone to what works.

    Args:
        backbone: Its ``packing``, ``embed_factor`` and head are set.

    Raises:
        VTBError: Names the family and what fails.
    """
    began = time.perf_counter()
    llm = backbone.causal_lm
    with evaluating(llm), adapters_off(llm), _untouched_randomness():
        trial = _Trial(backbone)
        trial.choose_embedding()
        packing = trial.choose_packing()
        head = trial.choose_head()
        backbone.caches = trial.caches()
        # Whose cache is its own is asked alone too: what padding does to that is not known.
        backbone.pads = backbone.caches and trial.bears_padding()
    return Proof(packing, head, backbone.pads, time.perf_counter() - began)


class _Trial:
    def __init__(self, backbone: "HFBackbone") -> None:
        self._backbone, self._llm = backbone, backbone.causal_lm
        table = backbone.table
        drawn = torch.Generator().manual_seed(0)
        most = min(table.num_embeddings, getattr(text_config(self._llm), "vocab_size", None) or table.num_embeddings)
        # Low ids are often padding and other ids that a model treats in its own way.
        least = min(16, most // 2)
        # Three conversations, and another in place of the first.
        ids = torch.randint(least, most, (4, _LENGTH), generator=drawn).to(backbone.device)
        *self._ids, self._other = ids
        self._own, self._logits = self._of_llm(ids[:3])
        self._size = self._own.float().pow(2).mean().sqrt().item()
        self._noise = 0.0

    def choose_embedding(self) -> None:
        """Finds the factor between table and layers that applies to ids alone (Falcon-H1)."""
        config = text_config(self._llm)
        factors = [1.0, *(getattr(config, name, None) or 1.0 for name in ("embedding_multiplier", "embed_scale"))]
        self._backbone.packing = "apart"
        for factor in dict.fromkeys(factors):
            self._backbone.embed_factor = factor
            found, failed = self._tried([[ids] for ids in self._ids])
            if found and self._same(found):
                break
        else:
            self._refuse(
                failed or "embeddings in place of token ids give other hidden states than the ids themselves", failed
            )
        followed, failed = self._tried([[ids, self._other] for ids in self._ids])
        otherwise, failed_too = self._tried([[ids, ids] for ids in self._ids])
        if error := failed or failed_too:
            self._refuse(error, error)
        self._noise = max(self._far(longer, alone) for longer, alone in zip(followed[::2], found, strict=True))
        heard = max(self._far(one, other) for one, other in zip(followed[::2], otherwise[::2], strict=True))
        if heard > self._unheard:
            self._refuse("what a conversation's words mean to it depends on words that follow: it is no causal LLM")

    def choose_packing(self) -> str:
        """Takes the first way of laying conversations out that keeps them apart."""
        config = text_config(self._llm)
        ways = ["rows"]
        if any(word in inspect.getsource(sys.modules[type(self._llm).__module__]) for word in _SEGMENTS):
            ways.append("segments")
        if any(getattr(config, name, None) for name in _BLOCKS):
            ways = []
        for way in ways:
            self._backbone.packing = way
            if self._keeps_apart():
                return way
        self._backbone.packing = "apart"
        return "apart"

    def _keeps_apart(self) -> bool:
        first, second, third = self._ids
        if self._backbone.one_row:
            found, failed = self._tried([[first, second, third]])
            changed = self._tried([[self._other, second, third]])[0]
        else:
            both, failed = self._tried([[first, second], [third], [self._other, second]])
            found, changed = both[:3], both[3:]
        if failed or not changed or self._far(found[1], changed[1]) > self._unheard:
            return False
        return self._same(found)

    def choose_head(self) -> str:
        """Compares our logits with the LLM's own."""
        head = self._backbone.head
        for by_llm in (False, True):
            head.by_llm = by_llm
            try:
                logits = self._backbone.project(self._own.flatten(0, 1))
            except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
                continue
            if _distance(logits, self._logits.flatten(0, 1), None) <= self._least:
                return "llm" if by_llm else "config"
        return self._refuse("the logits of its head are not those of its own forward pass")

    def caches(self) -> bool:
        """Whether a cache of Transformers stands for what was said before."""
        return self._same_in_steps(self._ids[0], _LENGTH)

    def bears_padding(self) -> bool:
        """Whether a prompt behind padding is understood as it is alone, its first word and those after it."""
        ids = self._ids[0].clone()
        ids[: -_LENGTH + 4] = self._backbone.per_layer.pad
        return self._same_in_steps(ids, _LENGTH - 4)

    def _same_in_steps(self, ids: Tensor, seen: int) -> bool:
        """Compares the last state of ``ids``, of which ``seen`` are no padding, with and without steps and padding."""
        from transformers import DynamicCache

        mask = torch.zeros_like(ids)
        mask[-seen:] = 1
        try:
            cache = DynamicCache(config=self._llm.config)
            for start, end in ((0, len(ids) - 2), (len(ids) - 2, len(ids) - 1), (len(ids) - 1, len(ids))):
                stepwise = self._asked(ids[start:end], mask[:end], cache)
            return self._far(stepwise, self._asked(ids[-seen:], mask[-seen:], None)) <= self._most
        except Exception:  # families have caches of their own, or take no mask
            return False

    def _asked(self, ids: Tensor, mask: Tensor, cache: Any) -> Tensor:
        embeds = self._backbone.embed(ids) * mask[-len(ids) :, None]
        return self._backbone.next_hidden_states(embeds[None], mask[None], cache, ids[None])

    @property
    def _most(self) -> float:
        return max(self._least, _ROUNDING.get(self._own.dtype, _HALF_ROUNDING) * self._noise)

    @property
    def _least(self) -> float:
        return max(_FLOOR, _STEPS * torch.finfo(self._own.dtype).eps)

    @property
    def _unheard(self) -> float:
        return max(_EXACT, min(self._noise, _HEARS))

    def _same(self, found: Sequence[Tensor]) -> bool:
        return all(self._far(states, own) <= self._most for states, own in zip(found, self._own, strict=True))

    def _far(self, states: Tensor, others: Tensor) -> float:
        return _distance(states, others, self._size)

    def _of_llm(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The LLM's own hidden states ``(B, n, H)`` and logits ``(B, n, vocabulary)``."""
        kept: list[Tensor] = []
        hook = body_of(self._llm).register_forward_hook(lambda _, args, output: kept.append(output[0]))
        try:
            logits = self._backbone.whole(lambda: self._llm(input_ids=ids, use_cache=False).logits)
        except Exception as error:
            self._refuse(error, error)
        finally:
            hook.remove()
        if not kept:
            self._refuse("its forward pass does not run the text model that has its table")
        return kept[-1], logits

    def _tried(self, rows: Sequence[Sequence[Tensor]]) -> tuple[list[Tensor], Exception | None]:
        """Hidden states of conversations laid out in rows, as training runs them, or what went wrong."""
        try:
            return self._run(rows), None
        except Exception as error:
            return [], error

    def _run(self, rows: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        lengths = [[len(ids) for ids in row] for row in rows]
        longest = max(map(sum, lengths))
        apart = self._backbone.packing == "apart"
        positions: np.ndarray = np.zeros((len(rows), longest), dtype=np.int64)
        ids = torch.full((len(rows), longest), self._backbone.per_layer.pad, device=self._backbone.device)
        used = torch.zeros(len(rows), longest, dtype=torch.bool, device=ids.device)
        for number, row in enumerate(rows):
            flat = torch.cat(list(row))
            ids[number, : len(flat)] = flat
            used[number, : len(flat)] = True
            starts = np.arange(longest) if apart else np.concatenate([np.arange(len(part)) for part in row])
            positions[number, : len(starts)] = starts
        embeds = self._backbone.embed(ids.reshape(-1)).reshape(*ids.shape, -1) * used[..., None]
        hidden = self._backbone.hidden_states(
            embeds,
            torch.from_numpy(positions).to(ids.device),
            lengths=np.array([length for row in lengths for length in row]),
            ids=ids,
        )
        found = []
        for states, row in zip(hidden, lengths, strict=True):
            found += list(states[: sum(row)].split(row))
        return found

    def _refuse(self, what: str | Exception, cause: Exception | None = None) -> Any:
        if isinstance(what, Exception):
            first = (str(what).splitlines() or [""])[0]
            what = f"its forward pass ends in {type(what).__name__}: {first}"
        raise VTBError(
            f"the LLM {family(self._llm)} cannot be trained here: {what}; this was tried out when the model was built "
            "(model.prove=false leaves it out)"
        ) from cause


def check_lora_off(backbone: "HFBackbone", before: Mapping[str, Tensor], gated: bool) -> str | None:
    """Says why LoRA switched off is not the untouched LLM, or returns None where it is.

    Args:
        backbone: Of a model whose LoRA was just made.
        before: From ``weight_samples``, taken before.
        gated: Whether the gate is installed, which is then tried out too.
    """
    after = weight_samples(backbone.causal_lm)
    changed = [name for name, values in before.items() if name in after and not torch.equal(after[name], values)]
    if changed:
        return f"making LoRA changed {len(changed)} of the LLM's own weights, e.g. {changed[0]}"
    return _gate_leaks(backbone) if gated else None


@torch.no_grad()
def _gate_leaks(backbone: "HFBackbone") -> str | None:
    ids = torch.arange(16, 24, device=backbone.device)[None] % backbone.table.num_embeddings
    positions = torch.arange(ids.shape[1], device=ids.device)[None]
    gate = torch.zeros(*ids.shape, 1, device=ids.device)
    embeds = backbone.embed(ids.reshape(-1))[None]
    with evaluating(backbone.causal_lm), _drawn_lora(backbone.causal_lm), _untouched_randomness():
        gated = backbone.hidden_states(embeds, positions, gate, ids=ids)
        with backbone.without_lora():
            own = backbone.hidden_states(embeds, positions, ids=ids)
    if torch.equal(gated, own):
        return None
    return "LoRA behind a gate of 0 still changes hidden states"


def weight_samples(llm: nn.Module) -> dict[str, Tensor]:
    """A few values of each of the LLM's own parameters, by name without PEFT's additions."""
    kept = {}
    for name, parameter in llm.named_parameters():
        if ".lora_" not in name and not parameter.is_meta:
            picked = []
            for stored in _stored(parameter.detach()):
                flat = stored.reshape(-1)
                picked.append(flat[:: max(1, flat.numel() // _WEIGHT_SAMPLES)][:_WEIGHT_SAMPLES])
            kept[name.replace(".base_layer.", ".")] = torch.cat(picked) if len(picked) > 1 else picked[0].clone()
    return kept


def _stored(values: Tensor) -> list[Tensor]:
    """The plain tensors of which a quantised one consists (torchao): it cannot be reshaped itself."""
    if not is_traceable_wrapper_subclass(values):
        return [values]
    return [part for name in values.__tensor_flatten__()[0] for part in _stored(getattr(values, name))]


@contextmanager
def _drawn_lora(llm: nn.Module) -> Iterator[None]:
    """LoRA whose up-projections are not zero, as after training."""
    ups = [parameter for name, parameter in llm.named_parameters() if ".lora_B." in name]
    before = [parameter.detach().clone() for parameter in ups]
    drawn = torch.Generator().manual_seed(0)
    try:
        for parameter in ups:
            parameter.data.copy_(torch.randn(parameter.shape, generator=drawn))
        yield
    finally:
        for parameter, values in zip(ups, before, strict=True):
            parameter.data.copy_(values)


@contextmanager
def _untouched_randomness() -> Iterator[None]:
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []):
        yield


def _distance(ours: Tensor, theirs: Tensor, size: float | None) -> float:
    """Size of the difference, as a share of the size of ``theirs``; infinite where something is not finite.

    Sizes are roots of mean squares of single states; the state that is farthest off counts.
    """
    ours, theirs = ours.float(), theirs.float()
    size = theirs.pow(2).mean().sqrt().item() if size is None else size
    found = (ours - theirs).pow(2).mean(-1).max().sqrt().item() / max(size, 1e-12)
    return found if np.isfinite(found) else float("inf")
