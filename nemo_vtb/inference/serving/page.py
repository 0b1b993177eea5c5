"""The demo page: type, record or upload, over several turns, with what the model was fed and what it cannot do."""

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.serving.page_talk import Talk, Talker, spectrogram
from nemo_vtb.inference.session.sampling import AnswerOptions
from nemo_vtb.inference.session.typed import SUFFIXES

_FONT = ["system-ui", "sans-serif"]
_BESIDE = "**Untouched LLM:** "


class Example(NamedTuple):
    """A message to try.

    Attributes:
        label: What it shows.
        text: To be typed.
        files: To be heard.
    """

    label: str
    text: str
    files: Sequence[str] = ()


class Page:
    """The page of one checkpoint.

    Args:
        talker: Answers.
        title: Of the page.
        limits: What the model cannot do, in Markdown.
        examples: Messages to try.
        options: Keywords of ``AnswerOptions`` that the page begins with.
        scales: Whether LoRA can act at a fraction of its strength.
    """

    def __init__(
        self,
        talker: Talker,
        title: str,
        limits: str,
        examples: Sequence[Example],
        options: Mapping[str, Any],
        scales: bool = True,
    ) -> None:
        self._talker, self._title, self._limits = talker, title, limits
        self._examples, self._options, self._scales = list(examples), dict(options), scales

    def blocks(self) -> gr.Blocks:
        """Builds the page."""
        step = 0.25 if self._scales else 1
        with gr.Blocks(title=self._title, analytics_enabled=False, fill_width=True) as page:
            talk = gr.State(Talk())
            gr.Markdown(f"# {html.escape(self._title)}")
            with gr.Row():
                with gr.Column(scale=3):
                    chat = gr.Chatbot(
                        height=480, elem_id="chat", label="Conversation", allow_tags=False, buttons=["copy"]
                    )
                    box = gr.MultimodalTextbox(
                        sources=["upload", "microphone"],
                        file_types=sorted(SUFFIXES),
                        file_count="multiple",
                        placeholder="Type, record or upload; all of them in one message too",
                        show_label=False,
                        elem_id="box",
                    )
                    figures = gr.Markdown(elem_id="figures")
                    with gr.Row():
                        stop, retry, undo, clear = (
                            gr.Button(name, size="sm", min_width=60) for name in ("Stop", "Retry", "Undo", "Clear")
                        )
                    with gr.Row():
                        tries = [gr.Button(one.label, size="sm", min_width=120) for one in self._examples]
                with gr.Column(scale=2):
                    gr.Markdown(self._limits, elem_id="limits")
                    beside = gr.Checkbox(label="Beside the untouched LLM", elem_id="beside")
                    scale = gr.Slider(0, 1, 1, step=step, label="LoRA's strength (0: the untouched LLM)")
                    system = gr.Textbox(label="System prompt")
                    usual = self._options
                    warm, many = usual.get("temperature", 0), usual.get("max_new_tokens", 128)
                    # Gradio refuses what lies beyond a slider's end, also where it began there.
                    heat = gr.Slider(0, max(2, warm), warm, step=0.1, label="Temperature (0: greedy)")
                    most = gr.Slider(1, max(512, many), many, step=1, label="Most tokens of an answer")
                    with gr.Accordion("What the model was fed", open=False):
                        fed = gr.Textbox(show_label=False, lines=8, elem_id="fed", interactive=False)
                    with gr.Accordion("Spectrogram of the last recording", open=False):
                        show = gr.Button("Show")
                        picture = gr.Image(show_label=False, elem_id="spectrogram")
            settings, told = [system, scale, beside, heat, most], [box, chat, talk, figures, fed]
            events: Any = [
                box.submit(self._say, [box, talk, *settings], told, concurrency_limit=None),
                retry.click(self._retry, [talk, *settings], told, concurrency_limit=None),
            ]
            stop.click(self._stopped, talk, [box, chat], cancels=events)
            undo.click(self._undo, talk, [chat, talk, figures])
            clear.click(
                lambda: ([], Talk(), "", "", gr.update(interactive=True)),
                None,
                [chat, talk, figures, fed, box],
                cancels=events,
            )
            show.click(self._picture, talk, picture)
            for button, example in zip(tries, self._examples, strict=True):
                message = {"text": example.text, "files": list(example.files)}
                button.click(lambda message=message: message, None, box)
        return page

    def launch(self, host: str, port: int, most_megabytes: float, most_waiting: int, wait: bool = True) -> gr.Blocks:
        """Serves the page.

        Args:
            host: To listen at.
            port: Likewise; 0 for any.
            most_megabytes: Of an upload.
            most_waiting: Messages in line.
            wait: Until it is told to stop.
        """
        page = self.blocks()
        page.queue(max_size=most_waiting, default_concurrency_limit=None)
        page.launch(
            server_name=host,
            server_port=port or None,
            max_file_size=int(most_megabytes * 2**20),
            max_threads=most_waiting + 8,
            footer_links=[],
            ssr_mode=False,
            quiet=True,
            show_error=True,
            prevent_thread_lock=not wait,
            # Nothing but a look at its own page within three seconds, which a busy machine may not manage.
            _frontend=False,
            theme=gr.themes.Base(font=_FONT, font_mono=["monospace"]),
        )
        return page

    def _say(self, message: Mapping[str, Any], talk: Talk, *settings: Any) -> Iterator[tuple]:
        files = [str(file) for file in message.get("files") or []]
        yield from self._answer(str(message.get("text") or ""), files, talk, *settings)

    def _retry(self, talk: Talk, *settings: Any) -> Iterator[tuple]:
        if not talk.asked:
            raise gr.Error("there is no message to answer again", print_exception=False)
        last = talk.asked[-1]
        yield from self._answer(last.text, list(last.files), talk.without_last(), *settings)

    def _answer(
        self,
        text: str,
        files: list[str],
        talk: Talk,
        system: str,
        scale: float,
        beside: bool,
        heat: float,
        most: int,
    ) -> Iterator[tuple]:
        before = _shown(talk)
        try:
            options = AnswerOptions(
                **{**self._options, "max_new_tokens": int(most), "temperature": float(heat)}  # type: ignore[arg-type]
            )
            sounds = self._talker.sounds(files)
            yield gr.update(value=None, interactive=False), [*before, *_asked(text, files)], talk, "…", ""
            for progress in self._talker.answer(talk, text, sounds, files, system, scale, beside, options):
                box = gr.update(interactive=True) if progress.ended else gr.update()
                said = [*before, *_asked(text, files), *_said(progress.text, progress.base)]
                yield box, said, talk, progress.figures, progress.fed
        except VTBError as error:
            message = {"text": text, "files": files}
            yield gr.update(value=message, interactive=True), before, talk, f"**{html.escape(str(error))}**", ""

    def _stopped(self, talk: Talk) -> tuple:
        return gr.update(interactive=True), _shown(talk)

    def _undo(self, talk: Talk) -> tuple:
        before = talk.without_last()
        return _shown(before), before, "taken back" if talk.asked else "there is nothing to take back"

    def _picture(self, talk: Talk) -> Any:
        sounds = [sound for turn in talk.turns for sound in turn.sounds]
        if not sounds:
            raise gr.Error("nothing was heard yet", print_exception=False)
        return spectrogram(sounds[-1])


def limits_of_card(folder: Path) -> str:
    """What the model card of a slim folder says under Limits, in Markdown; that there is none where there is none."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    _, found, rest = text.partition("\n## Limits\n")
    if not found:
        return "### Limits\n\nThis checkpoint has no card: what it cannot do was not written down."
    return f"### Limits\n{rest.partition(chr(10) + '## ')[0]}"


def _shown(talk: Talk) -> list[dict[str, Any]]:
    """The conversation as the page's messages."""
    return [message for one in talk.asked for message in (*_asked(one.text, one.files), *_said(one.answer, one.base))]


def _asked(text: str, files: Sequence[str]) -> list[dict[str, Any]]:
    heard = [{"role": "user", "content": gr.Audio(file)} for file in files]
    return [*heard, {"role": "user", "content": text}] if text else heard


def _said(answer: str, base: str | None) -> list[dict[str, Any]]:
    said = [{"role": "assistant", "content": answer}] if answer else []
    return [*said, {"role": "assistant", "content": f"{_BESIDE}{base}"}] if base else said
