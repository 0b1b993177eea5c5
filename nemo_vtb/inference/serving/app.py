"""The server's routes, in the shapes of OpenAI's API.

On FastAPI and not on LitServe (0.2.19), whose OpenAI specification carries ``input_audio`` and streaming, but no
``audio_url``, transcriptions, bounded queue, bearer keys or cancelling.
"""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.audio_input import Limits, read_sound
from nemo_vtb.inference.pieces import in_pieces
from nemo_vtb.inference.serving.limits import LimitedBodies
from nemo_vtb.inference.serving.replies import Reply, error, noted, usage
from nemo_vtb.inference.serving.requests import read_request
from nemo_vtb.inference.serving.worker import Busy, Worker
from nemo_vtb.inference.session.answer import Answer
from nemo_vtb.inference.session.messages import Turn, read_messages, shortened, spaced
from nemo_vtb.inference.session.sampling import AnswerOptions

# What is decoded at a time: each may take the memory of a whole recording.
_DECODED_TOGETHER = 4
# Of one recording that is transcribed.
_PIECES_TOGETHER = 4
_LOOKS_FOR_CLIENT_SECONDS = 0.25
_FIELDS = frozenset("file model response_format temperature prompt stream".split())


class Server:
    """What the routes share.

    Args:
        worker: Answers.
        name: That clients know the model by.
        options: Keywords of ``AnswerOptions`` for what a request leaves out.
        most_tokens: Of an answer, whatever is asked.
        limits: Of each recording.
        key: That clients must send; None lets everybody in.
        instruction: In front of a recording that is to be transcribed.
        piece_seconds: Longer recordings are transcribed in pieces of at most this length.
    """

    def __init__(
        self,
        worker: Worker,
        name: str,
        options: Mapping[str, Any],
        most_tokens: int,
        limits: Limits,
        key: str | None,
        instruction: str,
        piece_seconds: float = 30.0,
    ) -> None:
        self.worker, self.name, self._options, self._most_tokens = worker, name, dict(options), most_tokens
        self._limits, self._key, self._instruction = limits, key, instruction
        self._piece_seconds = piece_seconds
        self._rate = worker.decoder.model.sampling_rate
        self._begun = int(time.time())
        self._decoding = asyncio.Semaphore(_DECODED_TOGETHER)

    def app(self) -> FastAPI:
        """The application; it closes the worker when it ends."""

        @asynccontextmanager
        async def life(_: FastAPI) -> AsyncIterator[None]:
            yield
            await run_in_threadpool(self.worker.close)

        app = FastAPI(title="VoiceTextBlender", lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)
        app.add_api_route("/health", self.health, methods=["GET"])
        app.add_api_route("/v1/models", self.models, methods=["GET"])
        app.add_api_route("/v1/models/{name:path}", self.one_model, methods=["GET"])
        app.add_api_route("/v1/chat/completions", self.chat, methods=["POST"])
        app.add_api_route("/v1/audio/transcriptions", self.transcriptions, methods=["POST"])
        # Base64 takes a third more, and a message may hold several recordings.
        app.add_middleware(LimitedBodies, most_bytes=int(self._limits.megabytes * 2**20 * 1.5))
        app.add_exception_handler(VTBError, _refused)
        app.add_exception_handler(HTTPException, _http)
        app.add_exception_handler(Exception, _failed)
        return app

    async def health(self) -> Response:
        """Whether it answers, and how much there is to do."""
        alive = self.worker.alive
        state = {
            "status": "ok" if alive else "the thread that answers has ended: start the server again",
            "model": self.name,
            "waiting": self.worker.waiting,
            "answering": self.worker.answering,
            "kept_megabytes": round(self.worker.decoder.kept_megabytes, 1),
        }
        return JSONResponse(state, 200 if alive else 503)

    async def models(self, request: Request) -> dict[str, Any]:
        """The one model."""
        self._check_key(request)
        return {"object": "list", "data": [self._described()]}

    async def one_model(self, name: str, request: Request) -> dict[str, Any]:
        """The one model, by its name."""
        self._check_key(request)
        self._check_name(name)
        return self._described()

    def _described(self) -> dict[str, Any]:
        return {"id": self.name, "object": "model", "created": self._begun, "owned_by": "nemo_vtb"}

    async def chat(self, request: Request) -> Response:
        """A chat completion, whole or in pieces."""
        self._check_key(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise HTTPException(415, "send JSON, with Content-Type: application/json")
        try:
            body = json.loads(await request.body())
        except (ValueError, RecursionError) as wrong:
            raise VTBError(f"the body is no JSON: {wrong}") from wrong
        asked = read_request(body, self._options, self._most_tokens)
        self._check_name(body.get("model"))
        async with self._decoding:
            turns = await run_in_threadpool(read_messages, asked.messages, self._rate, self._limits, False)
        answer = Answer(turns, asked.options)
        pieces = self._written(request, answer)
        reply = Reply(self.name)
        if asked.stream:
            # Errors that come before the first word have a status of their own.
            first = await anext(pieces, None)
            answer.check()
            return StreamingResponse(_events(reply, answer, first, pieces, asked.usage), media_type="text/event-stream")
        async for _ in pieces:
            pass
        answer.check()
        return JSONResponse(reply.whole(answer)) if answer.finish else _nobody()

    async def transcriptions(self, request: Request) -> Response:
        """What is said in an uploaded file."""
        self._check_key(request)
        async with request.form(max_files=1, max_fields=16) as form:
            if unknown := sorted(set(form) - _FIELDS):
                raise VTBError(f"{shortened(unknown[0])} is no parameter of this server: leave it out")
            self._check_name(form.get("model"))
            form_of_answer = str(form.get("response_format") or "json")
            if form_of_answer not in ("json", "text"):
                raise VTBError(f"response_format is {form_of_answer!r}; it is json or text")
            if form.get("stream") not in (None, "false"):
                raise VTBError("stream: transcripts come whole; /v1/chat/completions streams")
            file = form.get("file")
            if file is None or isinstance(file, str):
                raise VTBError("file is missing: send the recording as multipart/form-data")
            async with self._decoding:
                name = file.filename or "the recording"
                sound = await run_in_threadpool(read_sound, file.file, self._rate, self._limits, name)
            words = str(form.get("prompt") or self._instruction)
            heat = form.get("temperature")
            options = self._options if heat in (None, "") else {**self._options, "temperature": _number(heat)}
        how = AnswerOptions(**options)
        pieces = in_pieces(sound, self._piece_seconds)
        answers = [Answer([Turn("user", spaced([words, piece]))], how) for piece in pieces]
        await self._all_written(request, answers)
        if any(answer.finish is None for answer in answers):
            return _nobody()
        text = " ".join(answer.text for answer in answers if answer.text)
        if form_of_answer == "text":
            return PlainTextResponse(text + "\n")
        counted = usage(answers)
        tokens = {"type": "tokens", "input_tokens": counted["prompt_tokens"], "total_tokens": counted["total_tokens"]}
        tokens["output_tokens"] = counted["completion_tokens"]
        return JSONResponse({"text": text, "usage": tokens} | noted(answers, how.max_new_tokens))

    async def _all_written(self, request: Request, answers: Sequence[Answer]) -> None:
        """Has answers written, a few side by side: a long recording leaves room for others."""
        places = asyncio.Semaphore(_PIECES_TOGETHER)

        async def written(answer: Answer) -> None:
            async with places:
                async for _ in self._written(request, answer):
                    pass
            answer.check()

        try:
            async with asyncio.TaskGroup() as group:
                for answer in answers:
                    group.create_task(written(answer))
        except* VTBError as wrong:
            raise wrong.exceptions[0] from None

    async def _written(self, request: Request, answer: Answer) -> AsyncIterator[str]:
        """Pieces of an answer; it is cancelled when nobody listens any more."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()

        def deliver(piece: str | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        self.worker.submit(answer, deliver)
        try:
            while True:
                try:
                    piece = await asyncio.wait_for(pieces.get(), _LOOKS_FOR_CLIENT_SECONDS)
                except TimeoutError:
                    if await request.is_disconnected():
                        return
                    continue
                if piece is None:
                    return
                yield piece
        finally:
            answer.cancel()

    def _check_key(self, request: Request) -> None:
        if self._key is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secrets.compare_digest(given.strip().encode(), self._key.encode()):
            raise HTTPException(401, "wrong API key: send Authorization: Bearer KEY")

    def _check_name(self, name: Any) -> None:
        if name is not None and name != self.name:
            raise HTTPException(404, f"there is no model {str(name)[:60]!r} here; this one is called {self.name}")


async def _events(
    reply: Reply, answer: Answer, first: str | None, pieces: AsyncIterator[str], counts: bool
) -> AsyncIterator[str]:
    try:
        yield _event(reply.piece(first or "", role=True))
        async for piece in pieces:
            yield _event(reply.piece(piece))
        if answer.finish is None:
            # Nobody listens any more.
            return
        if answer.error is not None:
            yield _event(error(str(answer.error), "server_error"))
            return
        yield _event(reply.last(answer))
        if counts:
            yield _event(reply.counted(answer))
        yield "data: [DONE]\n\n"
    finally:
        answer.cancel()


def _event(data: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError) as wrong:
        raise VTBError(f"temperature is {str(text)[:60]!r}; it is a number") from wrong


def _nobody() -> Response:
    """The reply to a client that left; nobody reads it, and logs know the status."""
    return Response(status_code=499)


async def _refused(request: Request, wrong: Exception) -> Response:
    if isinstance(wrong, Busy):
        shape = error(str(wrong), "rate_limit_error", "rate_limit_exceeded")
        return JSONResponse(shape, 429, {"Retry-After": str(wrong.seconds)})
    return JSONResponse(error(str(wrong)), 400)


async def _http(request: Request, wrong: Exception) -> Response:
    assert isinstance(wrong, HTTPException)
    return JSONResponse(error(str(wrong.detail), code=str(wrong.status_code)), wrong.status_code)


async def _failed(request: Request, wrong: Exception) -> Response:
    return JSONResponse(error(f"internal error: {type(wrong).__name__}", "server_error"), 500)
