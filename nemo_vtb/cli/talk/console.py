"""A conversation on the console: answers stream, commands begin with a slash, Ctrl-C stops an answer."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.session.typed import bare_recording, typed_parts

if TYPE_CHECKING:
    from nemo_vtb.inference.audio_input import Sound
    from nemo_vtb.inference.chat import ChatSession

_HELP = """\
Type a message; @clip.wav puts a recording in its place (@"my clip.m4a", @~/clip.webm, in a sentence too).
/show     what the model was fed        /retry   answer the last message anew
/system   [TEXT] see or set the prompt  /undo    take the last message and its answer back
/save     FILE, recordings in it        /reset   forget the conversation
/load     FILE of /save                 /audio   [SECONDS] record from the microphone
/help     this                          /quit    leave; Ctrl-C stops an answer"""
_MOST_RECORDED_SECONDS = 120.0


class Console:
    """Reads lines and writes answers.

    Args:
        session: The conversation.
        options: Keywords of ``AnswerOptions``.
        read: Asks for a line.
        write: Writes a piece of text, without a line break of its own.
    """

    def __init__(
        self,
        session: "ChatSession",
        options: Mapping[str, Any],
        read: Callable[[str], str] = input,
        write: Callable[[str], Any] | None = None,
    ) -> None:
        self._session, self._options, self._read = session, dict(options), read
        self._write = write or (lambda text: print(text, end="", flush=True))
        self._recorded: list[Sound] = []
        self._commands: dict[str, Callable[[str], None]] = {
            "help": lambda _: self._line(_HELP),
            "show": lambda _: self._line("\n".join(self._session.shown())),
            "system": self._system,
            "undo": lambda _: self._line("taken back" if self._session.undo() else "there is nothing to take back"),
            "retry": lambda _: self._answer(self._session.retry(**self._options)),
            "save": lambda name: self._file(name, self._session.save, "saved"),
            "load": lambda name: self._file(name, self._session.load, "loaded"),
            "audio": self._record,
            "reset": lambda _: self._reset(),
        }

    def run(self) -> None:
        """Talks until ``/quit`` or the end of input."""
        self._line(_HELP)
        while True:
            try:
                line = self._read("you> ").strip()
            except EOFError:
                return
            except KeyboardInterrupt:
                self._line("\n/quit or Ctrl-D leaves")
                continue
            if line == "/quit":
                return
            try:
                self._take(line)
            except VTBError as error:
                self._line(f"vtb: {error}")
            except KeyboardInterrupt:
                self._line("\nvtb: stopped; the conversation is as it was")

    def _take(self, line: str) -> None:
        name, _, rest = line[1:].partition(" ")
        if line.startswith("/") and name in self._commands:
            self._commands[name](rest.strip())
            return
        if (found := bare_recording(line)) is not None:
            at = f'@"{found}"' if " " in found else f"@{found}"
            raise VTBError(f"{found} is a recording: write {at} to have it heard")
        if line.startswith("/") and "/" not in name:
            raise VTBError(f"there is no command /{name}: {', '.join(f'/{known}' for known in self._commands)}, /quit")
        if self._recorded:
            said = [
                {"type": "audio", "audio": part} if not isinstance(part, str) else {"type": "text", "text": part}
                for part in (*typed_parts(line), *self._recorded)
            ]
            self._answer(self._session.stream(said, **self._options))
            self._recorded = []
        elif line:
            self._answer(self._session.stream(line, **self._options))

    def _answer(self, pieces: Iterator[str]) -> None:
        answer = self._session.answer
        assert answer is not None
        known = answer.notes
        for note in known:
            self._line(f"note: {note}")
        self._write("vtb> ")
        try:
            with _ctrl_c(answer.cancel):
                for piece in pieces:
                    self._write(piece)
        finally:
            self._write("\n")
        for note in answer.notes[len(known) :]:
            self._line(f"note: {note}")
        figures = [] if answer.seconds_to_first is None else [f"first token after {answer.seconds_to_first:.2f} s"]
        if answer.tokens_per_second:
            figures.append(f"{answer.tokens_per_second:.1f} tokens/s")
        if answer.prompt is not None and answer.prompt.seconds:
            figures.append(f"{answer.prompt.seconds:.1f} s of sound in the conversation")
        cut = len(answer.tokens) >= answer.options.max_new_tokens
        ended = {"length": "cut off" + " at --max-tokens" * cut, "cancelled": "stopped"}.get(str(answer.finish))
        self._line(f"     ({'; '.join([*figures, *([ended] if ended else [])])})")

    def _system(self, text: str) -> None:
        if text:
            self._session.system = text
        self._line(f"system: {self._session.system or '(none)'}")

    def _reset(self) -> None:
        self._session.reset()
        self._recorded = []
        self._line("forgotten")

    def _file(self, name: str, use: Callable[[str], None], done: str) -> None:
        if not name:
            raise VTBError("name a file: /save talk.json, /load talk.json")
        use(name.strip("\"'"))
        self._line(f"{done}: {len([t for t in self._session.turns if t.role == 'user'])} messages, {name}")

    def _record(self, seconds: str) -> None:
        from nemo_vtb.cli.talk.microphone import record

        try:
            most = min(float(seconds), _MOST_RECORDED_SECONDS) if seconds else _MOST_RECORDED_SECONDS
        except ValueError as error:
            raise VTBError(f"/audio {seconds}: that is no number of seconds") from error
        sound = record(most, self._session.model.sampling_rate, None if seconds else self._read)
        self._recorded.append(sound)
        for note in sound.notes:
            self._line(f"note: {note}")
        self._line(f"{sound.seconds:.1f} s recorded; it goes with your next message, an empty one will do")

    def _line(self, text: str) -> None:
        self._write(f"{text}\n")


@contextmanager
def _ctrl_c(stop: Callable[[], None]) -> Iterator[None]:
    """Has the first Ctrl-C call ``stop`` for the time of the block, and a second one interrupt it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stopped(*_: Any) -> None:
        signal.signal(signal.SIGINT, before if callable(before) else signal.default_int_handler)
        print("\n(stopping)", file=sys.stderr, flush=True)
        stop()

    signal.signal(signal.SIGINT, stopped)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
