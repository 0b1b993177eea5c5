"""One rank of ``test_parity``: LLMs on megatron-core beside Hugging Face's own in the same process."""

import json
import os
import warnings
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import megatron_shim
import torch
from torch import Tensor, nn
from torch.nn import functional

LENGTH = 24
# A row of two conversations beside one of a single one; a clip's frames stand in the first.
POSITIONS = torch.tensor([[*range(11), *range(13)], list(range(LENGTH))])
AT = torch.tensor([4, 7, 12, 20, 31, 40, 46])
RANK = 4


def begin(ranks: int) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    megatron_shim.apply()
    rank = os.environ["LOCAL_RANK"]
    torch.distributed.init_process_group("gloo", rank=int(rank), world_size=ranks)


def megatron(folder: Path, size: int, sequence_parallel: bool, dtype: torch.dtype = torch.float32) -> Any:
    from transformers import AutoConfig

    from nemo_vtb.modules.megatron.build import build_megatron

    config = AutoConfig.from_pretrained(folder)
    cfg = {
        "pretrained_llm": str(folder),
        "tensor_model_parallel_size": size,
        "sequence_parallel": sequence_parallel,
    }
    return build_megatron(cfg, config, dtype)


def with_lora(llm: Any, settings: dict[str, Any]) -> Any:
    from nemo_vtb.modules.llm.parts import lent_table, take_table
    from nemo_vtb.modules.lora.install import adapt_llm
    from nemo_vtb.modules.megatron.lora import custom_modules, megatron_settings

    table = take_table(llm)
    with lent_table(llm, table):
        return table, adapt_llm(llm, megatron_settings(settings), custom_modules())


def owner(llm: Any, settings: dict[str, Any] | None) -> Any:
    """What a backbone wants of a model: ``llm`` and ``embed_tokens``."""

    class Owner(nn.Module):
        frozen_from_file = True

        def __init__(self) -> None:
            super().__init__()
            self.embed_tokens, self.llm = with_lora(llm, settings)
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(".lora_" in name)

    return Owner()


def draw_lora(module: nn.Module) -> None:
    """The same factors whatever the size: drawn whole by name, then cut."""
    from nemo_vtb.modules.megatron.state import own_state, whole_state

    state = {n: p.detach() for n, p in module.named_parameters() if ".lora_" in n}
    whole = whole_state(state)
    for name, values in whole.items():
        drawn = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        whole[name] = torch.randn(values.shape, generator=drawn) * 0.02
    for name, values in own_state(whole).items():
        state[name].copy_(values)


def run(folder: Path, cases: list[dict[str, Any]], ranks: int) -> None:
    """Runs every case and writes what was found."""
    begin(ranks)
    for case in cases:
        found = compare(ranks, **{key: value for key, value in case.items() if key != "name"})
        if is_first():
            torch.save(found.pop("each", {}), folder / f"{case['name']}.pt")
            (folder / f"{case['name']}.json").write_text(json.dumps(found))


def is_first() -> bool:
    """Whether this is the rank that has Hugging Face's model too."""
    return torch.distributed.get_rank() == 0


def compare(
    size: int, llm: str, sequence_parallel: bool = False, dtype: str = "float32", only_learns: bool = False
) -> dict[str, Any]:
    """Distances from Hugging Face's model: logits, losses, LoRA's gradients, answers, and what leaks."""
    from transformers import AutoModelForCausalLM

    from nemo_vtb.modules.megatron.backbone import MegatronBackbone

    folder, type_ = Path(llm), getattr(torch, dtype)
    ours = owner(megatron(folder, size, sequence_parallel, type_), {"r": RANK, "lora_alpha": 8})
    backbone = MegatronBackbone(ours)
    backbone.install_gate()
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=type_).eval() if is_first() else None
    config = backbone.causal_lm.config
    drawn = torch.Generator().manual_seed(1)
    ids = token_ids(folder, config, drawn)
    own = backbone.embed(ids).detach()
    # As large as embeddings are.
    frames = torch.randn(5, config.hidden_size, generator=drawn) * own.float().std()

    def mixed(embeds: Tensor) -> Tensor:
        embeds = embeds.detach().clone()
        embeds[0, 3:8] = frames.to(type_)
        return embeds

    found: dict[str, Any] = {}
    embeds = mixed(own)
    with torch.no_grad(), backbone.without_lora():
        hidden = backbone.hidden_states(embeds, POSITIONS)
        logits = backbone.project(hidden)
        if theirs is not None:
            found["embeddings"] = far(mixed(theirs.model.embed_tokens(ids)), embeds)
            found["logits"] = far(theirs(inputs_embeds=embeds, position_ids=POSITIONS, use_cache=False).logits, logits)
        alone = backbone.hidden_states(embeds[:1, 11:], POSITIONS[:1, 11:])
        found["leak"] = far(hidden[:1, 11:], alone)
    if not only_learns:
        found |= gated(ours, backbone, embeds, hidden)
    draw_lora(ours)
    wrapped = reference(ours, theirs)
    found |= learnt(ours, backbone, wrapped, embeds, ids, hidden)
    if not only_learns:
        found["answers"] = answered(backbone, wrapped, embeds)
    return found


def gated(ours: Any, backbone: Any, embeds: Tensor, hidden: Tensor) -> dict[str, float]:
    """What the trial at the build finds, and LoRA behind a gate."""
    from nemo_vtb.modules.proof import prove

    found = {"proof": float(prove(backbone).packing != "rows")}
    draw_lora(ours)
    with torch.no_grad():
        gate = torch.zeros(2, LENGTH, 1)
        found["gate"] = float((backbone.hidden_states(embeds, POSITIONS, gate) != hidden).sum())
        gate[1] = 1
        half = backbone.hidden_states(embeds, POSITIONS, gate)
        found["half gate"] = far(half[0], hidden[0]) + far(half[1], backbone.hidden_states(embeds, POSITIONS)[1])
        backbone.lora_scale = 0
        found["scale"] = float((backbone.hidden_states(embeds, POSITIONS) != hidden).sum())
        backbone.lora_scale = 1
    return found


def token_ids(folder: Path, config: Any, drawn: torch.Generator) -> Tensor:
    """Two rows: of a text where the LLM knows words, else of anything."""
    if not (folder / "tokenizer.json").is_file():
        return torch.randint(16, config.vocab_size, (2, LENGTH), generator=drawn)
    from transformers import AutoTokenizer

    text = "The north wind and the sun were disputing which was the stronger, when a traveller came along wrapped in "
    text += "a warm cloak. They agreed that the one who first made him take it off should be considered the stronger. "
    text += "Then the north wind blew as hard as he could."
    return torch.tensor(AutoTokenizer.from_pretrained(folder)(text).input_ids[: 2 * LENGTH]).view(2, LENGTH)


def learnt(ours: Any, backbone: Any, wrapped: Any, embeds: Tensor, ids: Tensor, untouched: Tensor) -> dict[str, Any]:
    """Losses, hits, divergences and gradients against PEFT on Hugging Face's model with the exported adapter.

    Gradients are compared one by one: the size of the difference as a share of the size of Hugging Face's. ``each``
    holds both sides of all of them.
    """
    from nemo_vtb.modules.megatron.convert import to_hugging_face
    from nemo_vtb.modules.megatron.state import whole_state

    double = embeds.dtype == torch.float64
    if double:
        # Losses are float32 whatever the model is: in double precision they are taken from whole logits.
        for module in filter(None, (ours, wrapped)):
            module.double()
    targets = ids.flatten()[AT + 1]
    given = embeds.clone().requires_grad_()
    hidden = backbone.hidden_states(given, POSITIONS).flatten(0, 1)[AT]
    if double:
        logits = backbone.project(hidden)
        losses, hits = functional.cross_entropy(logits, targets, reduction="none"), logits.argmax(-1) == targets
        kl = losses * 0
    else:
        losses, hits = backbone.losses(hidden, targets)
        kl = backbone.divergences(hidden, untouched.flatten(0, 1)[AT])
    (losses.mean() + 0.3 * kl.mean()).backward()
    gradients = whole_state({n: p.grad for n, p in ours.named_parameters() if p.grad is not None})
    ours.zero_grad()
    if wrapped is None:
        return {}
    expected = SimpleNamespace(given=embeds.clone().requires_grad_())
    out = wrapped(inputs_embeds=expected.given, position_ids=POSITIONS, use_cache=False).logits.flatten(0, 1)[AT]
    expected.losses = functional.cross_entropy(out if double else out.float(), targets, reduction="none")
    with torch.no_grad(), wrapped.disable_adapter():
        base = wrapped(inputs_embeds=embeds, position_ids=POSITIONS, use_cache=False).logits
    base = base.flatten(0, 1)[AT].log_softmax(-1)
    expected.kl = expected.losses * 0 if double else (base.exp() * (base - out.log_softmax(-1))).sum(-1)
    (expected.losses.mean() + 0.3 * expected.kl.mean()).backward()
    theirs = {n.replace(".default", ""): p.grad for n, p in wrapped.named_parameters() if p.grad is not None}
    each = {}
    for name, gradient in to_hugging_face(gradients, wrapped.config).items():
        key = name.removeprefix("llm.").replace(".default", "")
        copies = [key.replace(sibling(key), one) for one in siblings(key)] if ".lora_A." in key else [key]
        each[key] = gradient, sum(theirs[copy] for copy in copies)
    return {
        "losses": far(expected.losses, losses),
        "hits": float((hits != (out.argmax(-1) == targets)).sum()),
        "kl": (expected.kl - kl).abs().max().item(),
        "gradients": max(apart(own, other) for own, other in each.values()),
        "count": float(len(each) - len(theirs)),
        "given": far(expected.given.grad, given.grad),
        "each": each,
    }


def reference(ours: Any, theirs: Any) -> Any:
    """Hugging Face's model with PEFT's LoRA of what ours has; None on the ranks without it."""
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    from nemo_vtb.modules.megatron.convert import to_hugging_face
    from nemo_vtb.modules.megatron.state import whole_state

    whole = whole_state({n: p.detach() for n, p in ours.named_parameters() if ".lora_" in n})
    if theirs is None:
        return None
    state = to_hugging_face(whole, theirs.config)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    wrapped = get_peft_model(theirs, LoraConfig(r=RANK, lora_alpha=8, target_modules=names, task_type="CAUSAL_LM"))
    plain = {n.removeprefix("llm.").replace(".default", ""): v for n, v in state.items()}
    outcome = set_peft_model_state_dict(wrapped, plain)
    assert not outcome.unexpected_keys
    return wrapped


def answered(backbone: Any, wrapped: Any, embeds: Tensor) -> float:
    """How many of greedy, drawn and beam-searched answers to padded prompts differ, with a cache."""
    from transformers import GenerationConfig

    mask = torch.ones(2, 9, dtype=torch.long)
    mask[0, :3] = 0
    prompts = embeds[:, :9] * mask[..., None]
    wrong = 0.0
    for options in ({}, {"do_sample": True}, {"num_beams": 3}):
        config = GenerationConfig(max_new_tokens=6, eos_token_id=1, pad_token_id=0, **options)
        # Out of step, as ranks are not to be.
        torch.manual_seed(5 + torch.distributed.get_rank())
        mine = backbone.generate(prompts, mask, config)
        if wrapped is not None:
            torch.manual_seed(5)
            own = wrapped.generate(inputs_embeds=prompts, attention_mask=mask, generation_config=config)
            wrong += float(mine.shape != own.shape or not torch.equal(mine, own))
    return wrong


def siblings(name: str) -> tuple[str, ...]:
    one = sibling(name)
    return next((group for group in (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")) if one in group), (one,))


def sibling(name: str) -> str:
    return name.split(".lora_")[0].rpartition(".")[2]


def apart(one: Tensor, other: Tensor) -> float:
    """The size of the difference, of the size of ``other``."""
    return ((one.double() - other.double()).norm() / other.double().norm()).item()


def far(one: Tensor, other: Tensor) -> float:
    """The largest difference, of the largest value."""
    return (one - other).abs().max().item() / one.abs().max().item()
