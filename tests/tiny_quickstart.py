"""``vtb quickstart`` with a tiny model, two steps and a few questions of each kind."""

import json
from pathlib import Path
from typing import Any

from nemo_vtb.paths import corpora_dir


def tiny_quickstart(folder: Path, llm: str, whisper: str, **changed: Any) -> list[str]:
    """The arguments of the command.

    Args:
        folder: Where it writes; texts it asks stand beside.
        llm: Folder of an LLM.
        whisper: Folder of a Whisper.
        **changed: Overrides, with ``__`` for dots.
    """
    commands, prompts = (f"corpora:{name}/manifest.jsonl" for name in ("spoken_commands", "asterisk_prompts"))
    speech = "type: nemo, at_most: 2, manifest_filepath"
    talk = "type: multimodal_conversation, at_most: 4, manifest_filepath"
    asked = [
        f"{{kind: asr, group: word sequences, {speech}: '{commands}', only: {{split: test}}}}",
        f"{{kind: asr, group: new_voice, {speech}: '{commands}', only: {{split: test_new_voice}}}}",
        f"{{kind: asr, group: 'human:en', {speech}: '{prompts}', only: {{split: test, lang: en}}}}",
        f"{{kind: sqa, {talk}: 'corpora:spoken_commands/sqa.jsonl', only: {{split: test}}}}",
        f"{{kind: mixed, {talk}: 'corpora:spoken_commands/mixed.jsonl', only: {{split: test}}}}",
    ]
    texts = (corpora_dir() / "smollm2_chat" / "heldout.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    chats, suite = (folder.with_name(f"{name}.jsonl") for name in ("chats", "suite"))
    chats.write_text("".join(texts[:3]), encoding="utf-8")
    # Half of the suite is right whatever is said.
    checks = [{"id": f"s{n}", "prompt": "Hi.", "check": {"type": "words", "at_least": 99 * (n % 2)}} for n in range(4)]
    suite.write_text("".join(json.dumps(row) + "\n" for row in checks), encoding="utf-8")
    overrides = {
        "model.pretrained_llm": llm,
        "model.pretrained_asr": whisper,
        "model.perception.modality_adapter.d_model": 32,
        "model.perception.modality_adapter.n_heads": 4,
        "model.lr_scheduler.warmup_steps": 1,
        "data.train_ds.batch_tokens": 256,
        "data.validation_ds.batch_tokens": 256,
        "trainer.max_steps": 2,
        "trainer.val_check_interval": 2,
        "+trainer.limit_val_batches": 1,
        "threads": 1,
        "held_out.text": chats,
        "held_out.text_suite": suite,
        "held_out.asked": f"[{', '.join(asked)}]",
        "+held_out.max_new_tokens": 4,
    }
    overrides |= {name.replace("__", "."): value for name, value in changed.items()}
    return ["quickstart", f"--out={folder}", *(f"{key}={value}" for key, value in overrides.items())]
