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
        found = compare(
            Path(case["llm"]), ranks, case.get("sequence_parallel", False), getattr(torch, case.get("dtype", "float32"))
        )
        if torch.distributed.get_rank() == 0:
            (folder / f"{case['name']}.json").write_text(json.dumps(found))


def compare(folder: Path, size: int, sequence_parallel: bool, dtype: torch.dtype) -> dict[str, float]:
    """Distances from Hugging Face's model: logits, losses, LoRA's gradients, answers, and what leaks."""
    from transformers import AutoModelForCausalLM, GenerationConfig

    from nemo_vtb.modules.megatron.backbone import MegatronBackbone
    from nemo_vtb.modules.proof import prove

    ours = owner(megatron(folder, size, sequence_parallel, dtype), {"r": RANK, "lora_alpha": 8})
    backbone = MegatronBackbone(ours)
    backbone.install_gate()
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    config, body = theirs.config, theirs.model
    drawn = torch.Generator().manual_seed(1)
    ids = token_ids(folder, config, drawn)
    # As large as embeddings are.
    spread = body.embed_tokens(ids).std().item()
    frames = (torch.randn(5, config.hidden_size, generator=drawn) * spread).to(dtype)

    def mixed(embeds: Tensor) -> Tensor:
        embeds = embeds.detach().clone()
        embeds[0, 3:8] = frames
        return embeds

    found: dict[str, float] = {}
    with torch.no_grad():
        embeds = mixed(backbone.embed(ids))
        found["embeddings"] = far(mixed(body.embed_tokens(ids)), embeds)
        logits = theirs(inputs_embeds=embeds, position_ids=POSITIONS, use_cache=False).logits
        with backbone.without_lora():
            hidden = backbone.hidden_states(embeds, POSITIONS)
            found["logits"] = far(logits, backbone.project(hidden))
            alone = backbone.hidden_states(embeds[:1, 11:], POSITIONS[:1, 11:])
            found["leak"] = far(hidden[:1, 11:], alone)
            found["proof"] = float(prove(backbone).packing != "rows")
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
    found |= learnt(ours, backbone, theirs, embeds, ids, hidden)
    found |= answered(backbone, theirs, embeds, GenerationConfig)
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


def learnt(ours: Any, backbone: Any, theirs: Any, embeds: Tensor, ids: Tensor, untouched: Tensor) -> dict[str, float]:
    """Losses, hits, divergences and gradients against PEFT on Hugging Face's model with the exported adapter."""
    from nemo_vtb.modules.megatron.convert import to_hugging_face

    wrapped = reference(ours, theirs)
    double = embeds.dtype == torch.float64
    if double:
        # Losses are float32 whatever the model is: in double precision they are taken from whole logits.
        for module in (ours, wrapped):
            module.double()
    targets = ids.flatten()[AT + 1]
    results = []
    for side in ("ours", "theirs"):
        given = embeds.clone().requires_grad_()
        if side == "ours":
            hidden = backbone.hidden_states(given, POSITIONS).flatten(0, 1)[AT]
            losses, hits = backbone.losses(hidden, targets)
            kl = backbone.divergences(hidden, untouched.flatten(0, 1)[AT])
            if double:
                losses = torch.nn.functional.cross_entropy(backbone.project(hidden), targets, reduction="none")
                kl = losses * 0
        else:
            out = wrapped(inputs_embeds=given, position_ids=POSITIONS, use_cache=False).logits.flatten(0, 1)[AT]
            losses = torch.nn.functional.cross_entropy(out if double else out.float(), targets, reduction="none")
            hits = out.argmax(-1) == targets
            with torch.no_grad(), wrapped.disable_adapter():
                base = wrapped(inputs_embeds=given, position_ids=POSITIONS, use_cache=False).logits
            base = base.flatten(0, 1)[AT].log_softmax(-1)
            kl = losses * 0 if double else (base.exp() * (base - out.log_softmax(-1))).sum(-1)
        (losses.mean() + 0.3 * kl.mean()).backward()
        results.append(SimpleNamespace(losses=losses.detach(), hits=hits, kl=kl.detach(), given=given.grad))
    mine, other = results
    from nemo_vtb.modules.megatron.state import whole_state

    gradients = whole_state({n: p.grad for n, p in ours.named_parameters() if p.grad is not None})
    as_theirs = to_hugging_face(gradients, theirs.config)
    own = {n.replace(".default", ""): p.grad for n, p in wrapped.named_parameters() if p.grad is not None}
    worst = largest = 0.0
    for name, gradient in as_theirs.items():
        key = name.removeprefix("llm.").replace(".default", "")
        expected = own[key]
        if ".lora_A." in key:
            expected = sum(own[key.replace(sibling(key), one)] for one in siblings(key))
        worst = max(worst, (gradient - expected).abs().max().item())
        largest = max(largest, expected.abs().max().item())
    ours.zero_grad()
    return {
        "losses": far(other.losses, mine.losses),
        "hits": float((mine.hits != other.hits).sum()),
        "kl": (other.kl - mine.kl).abs().max().item(),
        "gradients": worst / largest,
        "count": float(len(as_theirs) - len(own)),
        "given": far(other.given, mine.given),
    }


def reference(ours: Any, theirs: Any) -> Any:
    """Hugging Face's model with PEFT's LoRA of what ours has."""
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    from nemo_vtb.modules.megatron.convert import to_hugging_face
    from nemo_vtb.modules.megatron.state import whole_state

    whole = whole_state({n: p.detach() for n, p in ours.named_parameters() if ".lora_" in n})
    state = to_hugging_face(whole, theirs.config)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    wrapped = get_peft_model(theirs, LoraConfig(r=RANK, lora_alpha=8, target_modules=names, task_type="CAUSAL_LM"))
    plain = {n.removeprefix("llm.").replace(".default", ""): v for n, v in state.items()}
    outcome = set_peft_model_state_dict(wrapped, plain)
    assert not outcome.unexpected_keys
    return wrapped


def answered(backbone: Any, theirs: Any, embeds: Tensor, kind: Any) -> dict[str, float]:
    """Greedy, drawn and beam-searched answers to padded prompts, with a cache."""
    wrapped = theirs
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[0, :3] = 0
    prompts = embeds[:, :9] * mask[..., None]
    wrong = 0.0
    for options in ({}, {"do_sample": True}, {"num_beams": 3}):
        config = kind(max_new_tokens=8, eos_token_id=1, pad_token_id=0, **options)
        # Out of step, as ranks are not to be.
        torch.manual_seed(5 + torch.distributed.get_rank())
        mine = backbone.generate(prompts, mask, config)
        torch.manual_seed(5)
        own = wrapped.generate(inputs_embeds=prompts, attention_mask=mask, generation_config=config)
        wrong += float(mine.shape != own.shape or not torch.equal(mine, own))
    return {"answers": wrong}


def siblings(name: str) -> tuple[str, ...]:
    one = sibling(name)
    return next((group for group in (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")) if one in group), (one,))


def sibling(name: str) -> str:
    return name.split(".lora_")[0].rpartition(".")[2]


def far(one: Tensor, other: Tensor) -> float:
    """The largest difference, of the largest value."""
    return (one - other).abs().max().item() / one.abs().max().item()
