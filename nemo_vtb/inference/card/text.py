"""The sections of a model card that say how to use a model and how far to trust it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_INSTALL = "pip install nemo-vtb"
_COMMANDS = {
    "slim": (
        "vtb chat FOLDER  # type; @file.wav puts a recording in its place",
        "vtb eval FOLDER",
        "vtb export FOLDER --to hf --out WHOLE  # with the frozen weights, for Transformers and NeMo",
    ),
    "adapter": (),
}
_PYTHON = {
    "hf": (
        "import nemo_vtb.hf  # Transformers' Auto classes know the folder now",
        "from transformers import pipeline",
        "",
        'heard = [{"type": "text", "text": "What is said here?"}, {"type": "audio", "path": "question.wav"}]',
        'answer = pipeline("any-to-any", model="FOLDER")',
        'print(answer(text=[{"role": "user", "content": heard}], return_full_text=False)[0]["generated_text"])',
        "",
        "from nemo_vtb import ChatSession, VoiceTextBlender  # the same as a class of NeMo's speechlm2 collection",
        "",
        'model = VoiceTextBlender.from_pretrained("FOLDER").eval()',
        'print(ChatSession(model).say("What is said here? @question.wav"))',
    ),
    "slim": (
        "from nemo_vtb import ChatSession",
        "",
        'session = ChatSession.from_checkpoint("FOLDER")',
        'print(session.say("What is said here? @question.wav"))',
    ),
    "adapter": (
        "from peft import PeftModel  # the LLM's part alone; speech.safetensors holds the adapter's weights",
        "from transformers import AutoModelForCausalLM",
        "",
        'llm = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("BASE_LLM"), "FOLDER")',
    ),
}
_WHOLE = (
    "from nemo_vtb import ChatSession, VoiceTextBlender  # a class of NeMo's speechlm2 collection",
    "",
    'model = VoiceTextBlender.from_pretrained("FOLDER").eval()',
    'print(ChatSession(model).say("What is said here? @question.wav"))',
)
# Of mixed prompts: what is asked in writing alone, and what is compared with it.
_WRITTEN = ("text", "gap", "gap_half")
_WHISPER = "nemo_vtb.modules.whisper.WhisperEncoder"


def how_to_load(form: str, vllm: str | None = None) -> Iterator[str]:
    """Commands and code that load a form of ``vtb export``; ``vllm`` is what serves it with vLLM."""
    served = (f"{vllm}  # vLLM 0.28",) if vllm else ()
    yield from ("```bash", _INSTALL, *_COMMANDS.get(form, ()), *served, "```", "")
    yield from ("```python", *_PYTHON.get(form, _WHOLE), "```")
    if form == "slim":
        yield from ("", "The frozen LLM and encoder are fetched by name on first use.")


def loses_gate(form: str, section: Mapping[str, Any]) -> bool:
    """Whether LoRA acts on text in a form of ``vtb export``, though in the checkpoint it does not."""
    return form in ("merged", "adapter") and section.get("text_lora") == "audio_gated"


def without_text(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report less its answers to what is all in writing."""
    kept = {name: part for name, part in report.items() if name != "text"}
    if "mixed" in kept:
        forms = _spoken_forms(kept["mixed"])
        forms["sets"] = {name: _spoken_forms(part) for name, part in forms.get("sets", {}).items()}
        kept["mixed"] = forms
    return kept


def results_table(report: Mapping[str, Any] | None) -> Iterator[str]:
    """What ``vtb eval`` measured, as Markdown."""
    from nemo_vtb.reports.score_table import TITLES, changed, rows_of, scored

    if report is None:
        yield "Nothing was measured: `vtb eval` does, and `vtb export --eval runs/eval/eval.json` puts it here."
        return
    yield from ("| | measure | this model | untouched LLM | difference | n |", "|---|---|---|---|---|---|")
    for row in rows_of(report):
        cells = (
            f"{TITLES[row.section]}: {row.name}",
            row.measure,
            scored(row.tuned, row.unit),
            scored(row.base, row.unit),
            changed(row),
            str(row.tuned["n"]),
        )
        yield f"| {' | '.join(cells)} |"
    environment = report.get("environment", {})
    yield from ("", "In brackets: 95 % bootstrap intervals; rates and accuracies in percent.")
    versions = environment.get("versions") or {}
    tools = ", ".join(
        f"{name} {versions[name]}" for name in ("nemo-vtb", "torch", "transformers") if versions.get(name)
    )
    yield f"Measured on {str(environment.get('date', ''))[:10]} by `vtb eval` ({tools})."


def limits(
    form: str, section: Mapping[str, Any], spoken: Sequence[str], report: Mapping[str, Any] | None
) -> Iterator[str]:
    """What a model does not do, as far as its config and its report tell."""
    encoder = section.get("perception", {}).get("encoder", {}).get("_target_")
    if encoder == _WHISPER and not section.get("encoder_chunk_size_seconds"):
        yield "- The encoder hears 30 s at once; `vtb` has it hear longer recordings in pieces."
    if spoken:
        yield f"- Languages in the training data: {', '.join(spoken)}. Others were not taught."
    if form == "merged":
        yield "- LoRA is in the LLM's weights, so answers to text are not those of the untouched LLM."
    if not report or not report.get("text"):
        of_form = " of this form, whose LoRA acts on text too" if loses_gate(form, section) else ""
        yield f"- Whether it still answers text as the untouched LLM does was not measured{of_form}."
    if not report or not report.get("asr"):
        yield "- How well it recognises speech was not measured."
    yield "- It writes, it does not speak. It knows what its base LLM knows and errs where that errs."
    yield "- Nothing was added for safety."


def _spoken_forms(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in found.items() if name not in _WRITTEN}
