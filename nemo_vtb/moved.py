"""Modules by the names they had before they moved into rooms: an import by an old name works and says the new one."""

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Any

# Old room -> old name and where the module is now.
_BY_ROOM = {
    "assets": """
        cli=cli.assets ct2_file=assets.convert_ct2_whisper
    """,
    "callbacks": """
        retention=evaluation.retention.callback
    """,
    "data": """
        audio_check=data.audio.audio_check audio_stores=data.audio.audio_stores chatml=data.prompts.added_formats
        cli=cli.data counters=data.blend.counters cursor=data.blend.cursor cuts=data.sources.cuts
        disk=data.sources.disk entries=data.files.entries formats=data.sources.formats
        guess=data.sources.guess index=data.sources.index index_build=data.sources.index_build
        instructed=data.conversations.instructed kinds=data.conversations.kinds lint=data.inspection.lint
        preview=data.inspection.preview prompt_pool=data.conversations.prompt_pool rows=data.files.rows
        shares=data.blend.shares shuffle=data.blend.shuffle size=data.conversations.size
        speak=data.conversations.speak speech_bank=data.conversations.speech_bank
        target_text=data.conversations.target_text tars=data.audio.tars turns=data.conversations.turns
    """,
    "evaluation": """
        bootstrap=evaluation.scoring.bootstrap data_card=synthesis.data_card data_card_page=pages.data_card
        data_page=pages.data_report data_report=data.inspection.report environment=reports.environment
        eval_answers=evaluation.ask eval_cli=cli.eval eval_items=evaluation.items
        eval_judged=evaluation.judged eval_mode=parts.eval_mode eval_page=pages.eval
        eval_rows=reports.score_table eval_run=evaluation.run eval_samples=evaluation.samples
        eval_scores=evaluation.sections eval_sets=evaluation.sets.plan eval_suites=evaluation.sets.suites
        eval_table=reports.score_table gate=evaluation.retention.gate held_out=evaluation.sets.held_out
        instructions=evaluation.sets.instructions judge=evaluation.judging.judge judge_cli=cli.judge
        judge_prompts=evaluation.judging.prompts judge_trust=evaluation.judging.trust
        lm_eval_adapter=evaluation.lm_eval metrics=evaluation.scoring.metrics
        mixed_forms=evaluation.sets.mixed_forms multiturn=evaluation.sets.multiturn page=pages.quickstart
        page_bars=pages.charts page_charts=pages.charts page_format=reports.figures
        page_retention=pages.charts page_samples=pages.clips page_tiles=pages.document
        page_verdict=pages.verdict report=reports.write retained_text=evaluation.retention.text
        scores=evaluation.scoring.metrics simulated_draws=data.inspection.simulated_draws
        text_suite=evaluation.sets.instructions translation=evaluation.scoring.translation
        usable_checks=evaluation.sets.usable_checks
    """,
    "inference": """
        card_data=inference.card.data card_text=inference.card.text export_cli=cli.export
        generate=models.answers.generate model_card=inference.card.write
    """,
    "launch": """
        progress=models.checkpoints.file
    """,
    "models": """
        accumulation=models.step.accumulation batch=models.step.batch checkpoint=models.checkpoints.contents
        divergences=models.step.divergences generate=models.answers.generate heard=models.answers.heard
        named_audio=models.answers.named_audio slim=models.checkpoints.slim step_guard=models.step.guard
    """,
    "parts": """
        freeze=parts.trainable fused_loss=parts.loss groups=parts.trainable
        precision=parts.machine.precision prompt_formats=data.prompts.formats
        random_state=models.checkpoints.random_state sentences=parts.spoken_spans
        turn_mask=parts.prompts.turn_mask
    """,
    "strategies": """
        checkpoint_io=models.checkpoints.file
    """,
    "study": """
        cli=cli.study page=pages.study plots=pages.study_charts
    """,
    "synthesis": """
        chat_frame=inference.llms.chat_frame cli=cli.synth hf_decode=inference.llms.decode
        hf_llm=inference.llms.hugging_face job=synthesis.jobs.job job_options=options
        join=synthesis.jobs.join kokoro=synthesis.voices.kokoro llm=inference.llms.interface
        near_duplicates=synthesis.replay.near_duplicates nemo_tts=synthesis.voices.nemo
        open_llm=inference.llms.choose openai_llm=inference.llms.openai packed=synthesis.jobs.packed
        pool=synthesis.jobs.pool qa_asking=synthesis.asking qa_filters=synthesis.qa.filters
        qa_maker=synthesis.qa.maker qa_options=synthesis.qa.options qa_prompts=synthesis.qa.prompts
        qa_second_pass=synthesis.qa.second_pass recorded=synthesis.voices.recorded
        recordings_source=synthesis.qa.recordings replay_maker=synthesis.replay.maker
        replay_options=synthesis.replay.options replay_prompts=synthesis.replay.prompts
        round_trip=synthesis.voices.round_trip shard=synthesis.jobs.shard sound=synthesis.voices.sound
        speakable=synthesis.voices.speakable speech_options=synthesis.spoken_turns.options
        speech_rows=synthesis.spoken_turns.rows spoken_qa=synthesis.qa.run
        spoken_words=synthesis.voices.spoken_words studio=synthesis.voices.studio
        text_chats=synthesis.spoken_turns.text_chats tts=synthesis.voices.tts
        untrusted=inference.llms.untrusted
    """,
}
MOVED = {
    f"nemo_vtb.{room}.{old}": f"nemo_vtb.{new}"
    for room, moves in _BY_ROOM.items()
    for old, _, new in (move.partition("=") for move in moves.split())
}


class _Moved(MetaPathFinder, Loader):
    def __init__(self) -> None:
        self._own: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        _say(spec.name, MOVED[spec.name])
        module = import_module(MOVED[spec.name])
        self._own[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Gives the module its own spec back; it has run under its own name."""
        assert module.__spec__ is not None
        module.__spec__ = self._own.pop(module.__spec__.name)


def install() -> None:
    """Lets old names be imported."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())


def names_of(old: str, new: str) -> Callable[[str], Any]:
    """Returns the ``__getattr__`` of a room that has the name of a module which is in it now.

    Args:
        old: The room.
        new: The module.
    """

    def get(name: str) -> Any:
        module = import_module(new)
        if name.startswith("__") or not hasattr(module, name):
            raise AttributeError(f"module '{old}' has no attribute '{name}'")
        _say(f"{old}.{name}", f"{new}.{name}")
        return getattr(module, name)

    return get


def _say(old: str, new: str) -> None:
    warnings.warn(f"{old} is now {new}", DeprecationWarning, stacklevel=4)
