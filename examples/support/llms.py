"""One family of LLMs: built, compared with Hugging Face, trained, asked, saved and loaded."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nemo_vtb.errors import VTBError
from support.tiny import CHATS, SPOKEN, batch, llm_folder, section

_LOSS_DIFFERS = 1e-3
_STEPS, _NEW_TOKENS = 3, 6


def try_family(model_type: str, entry: Mapping[str, Any], encoder: Path, folder: Path) -> dict[str, Any]:
    """Tries one family.

    Args:
        model_type: As Transformers names it.
        entry: Its ``fields``, see ``support.families``.
        encoder: A folder with a Whisper.
        folder: To work in.

    Returns:
        ``outcome``: ``proved``, ``refused`` (with ``why``), or ``wrong``, with what was found.
    """
    began = time.monotonic()
    row: dict[str, Any] = {"family": model_type, "known_as": entry["known_as"]}
    try:
        made = llm_folder(folder / model_type, model_type, entry["fields"], entry["without"])
        row |= _tried(section(made, encoder), made, folder)
    except VTBError as error:
        row |= {"outcome": "refused", "why": str(error)}
    except Exception as error:
        row |= {"outcome": "wrong", "why": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"}
    return row | {"seconds": round(time.monotonic() - began, 1)}


def _tried(cfg: dict[str, Any], made: Path, folder: Path) -> dict[str, Any]:
    from nemo_vtb import VoiceTextBlender
    from nemo_vtb.models.checkpoints.file import AtomicCheckpointIO
    from nemo_vtb.models.load import load_checkpoint

    torch.manual_seed(0)
    model = VoiceTextBlender(cfg).eval()
    llm = _hugging_face(made)
    found: dict[str, Any] = {"class": type(model.backbone.causal_lm).__name__}
    found |= {
        "packing": model.proof.packing,
        "pads": model.proof.pads,
        "head": model.proof.head,
        "proof_seconds": round(model.proof.seconds, 2),
    }
    found["loss_difference"] = float((_losses(model) - _own_losses(llm, model)).abs().max())
    found["answers_differ"] = _answers_differ(model, llm)
    found |= _trained(model)
    after = _losses(model)
    checkpoint = {"state_dict": model.state_dict(), "hyper_parameters": {"cfg": cfg}, "global_step": _STEPS}
    model.on_save_checkpoint(checkpoint)
    AtomicCheckpointIO().save_checkpoint(checkpoint, folder / "last.ckpt")
    found["resumed_difference"] = float((_losses(load_checkpoint(folder / "last.ckpt")) - after).abs().max())
    wrong = [
        f"loss off by {found['loss_difference']:.4f}" if found["loss_difference"] > _LOSS_DIFFERS else "",
        found["answers_differ"],
        f"no gradient: {', '.join(found['idle'])}" if found["idle"] else "",
        "does not learn" if not found["learns"] else "",
        f"loaded it is off by {found['resumed_difference']:.4f}" if found["resumed_difference"] > 1e-5 else "",
    ]
    why = "; ".join(filter(None, wrong))
    return {"outcome": "wrong" if why else "proved", "why": why, **found}


def _hugging_face(made: Path) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMultimodalLM

    config = AutoConfig.from_pretrained(made)
    auto = AutoModelForCausalLM if type(config) in AutoModelForCausalLM._model_mapping else AutoModelForMultimodalLM
    return auto.from_pretrained(made, dtype=torch.float32).eval()


@torch.no_grad()
def _losses(model: Any) -> torch.Tensor:
    """Of all supervised tokens of packed conversations, conversation by conversation."""
    made = batch(model, CHATS)
    values, _, layout, _ = model.compute_losses(made, *model.encode_clips(made))
    return values[torch.from_numpy(layout.target_owner).argsort(stable=True)]


@torch.no_grad()
def _own_losses(llm: Any, model: Any) -> torch.Tensor:
    """The same by Hugging Face, each conversation alone."""
    losses = []
    for encoded in batch(model, CHATS)["encoded"]:
        ids = torch.from_numpy(encoded.input_ids)[None]
        logits = llm(input_ids=ids).logits[0].float()
        every = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="none")
        losses.append(every[torch.from_numpy(encoded.loss_mask)[1:]])
    return torch.cat(losses)


@torch.no_grad()
def _answers_differ(model: Any, llm: Any) -> str:
    """Asks in a padded batch, by ``generate`` and by the greedy loop of a sharded run; compares with one by one."""
    from nemo_vtb.models.answers.generate import prompt_embeddings
    from nemo_vtb.modules.greedy import greedy_replies
    from nemo_vtb.parts.prompts.turn_mask import encode_turns

    turns = [chat[:-1] for chat in CHATS[:2]]
    rows = [encode_turns(asked, model.formatter, for_generation=True).input_ids for asked in turns]
    options = {"do_sample": False, "min_new_tokens": _NEW_TOKENS, "max_new_tokens": _NEW_TOKENS}
    llm.config.get_text_config().output_router_logits = False
    own = [llm.generate(input_ids=torch.from_numpy(row)[None], **options)[0, len(row) :].tolist() for row in rows]
    prompts = [[{"role": role, "content": text} for role, text in asked] for asked in turns]
    with model.backbone.without_lora():
        ours = model.generate(prompts, **options).tolist()
        asked = prompt_embeddings(
            model, rows, {"audios": torch.zeros(0), "audio_lens": torch.zeros(0, dtype=torch.long)}
        )
        greedy = greedy_replies(model.backbone, asked.embeds, asked.mask, _NEW_TOKENS, [], asked.ids)
    if [row[:_NEW_TOKENS] for row in ours] != own:
        return "answers other than Hugging Face's"
    # Hugging Face was kept from ending an answer early; the loop was not.
    end = model.tokenizer.eos_id
    until = [row.index(end) if end in row else len(row) for row in greedy]
    same = all(mine[:n] == theirs[:n] for mine, theirs, n in zip(greedy, own, until, strict=True))
    return "" if same else "the greedy loop answers otherwise"


def _trained(model: Any) -> dict[str, Any]:
    """A few steps over text and a clip."""
    model.train()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=3e-3)
    losses = []
    touched: set[str] = set()
    for _ in range(_STEPS):
        loss = model.training_step(batch(model, [*CHATS, SPOKEN], clips=1), 0)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        touched |= {name for name, p in trained.items() if p.grad is not None}
    model.eval()
    lora = sorted({name.split(".lora_")[0].rpartition(".")[2] for name in trained if ".lora_" in name})
    return {
        "adapted": lora,
        "idle": sorted(set(trained) - touched)[:3],
        "learns": losses[-1] < losses[0],
        "losses": [round(loss, 3) for loss in losses],
    }
