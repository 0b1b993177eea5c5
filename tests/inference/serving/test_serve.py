"""``vtb serve`` as OpenAI's own client sees it, on a tiny model."""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import openai
import pytest
import soundfile
from fastapi.testclient import TestClient

from nemo_vtb.cli import main
from nemo_vtb.cli.talk.answering import model_name
from nemo_vtb.inference.audio_input import Limits, read_sound
from nemo_vtb.inference.chat import ChatSession
from nemo_vtb.inference.pieces import in_pieces
from nemo_vtb.inference.serving.app import Server
from nemo_vtb.inference.serving.worker import Busy, Worker
from nemo_vtb.inference.session.answer import Answer, AnswerOptions
from nemo_vtb.inference.session.decoder import Decoder
from nemo_vtb.inference.session.messages import Turn


@pytest.fixture
def client(served):
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0)


@pytest.fixture
def http(served):
    return httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {served.key}"}, timeout=60)


def spoken(path):
    data = base64.b64encode(path.read_bytes()).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def by_url(path):
    data = base64.b64encode(path.read_bytes()).decode()
    return {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{data}"}}


def user(*parts):
    return {"role": "user", "content": [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]}


def test_text_audio_and_several_turns_are_answered_as_by_a_session(client, gated, clips):
    session = ChatSession(gated)
    messages = []
    for part in (None, spoken(clips[0].path), None, by_url(clips[1].path)):
        messages.append(user("What is said?", *([part] if part else [])))
        reply = client.chat.completions.create(model="tiny", messages=messages, max_tokens=5)
        expected = session.say(messages[-1]["content"], max_new_tokens=5)
        assert reply.choices[0].message.content == expected
        assert reply.choices[0].finish_reason == session.answer.finish
        assert reply.usage.completion_tokens == len(session.answer.tokens)
        assert reply.usage.prompt_tokens == len(session.answer.prompt.keys)
        messages.append({"role": "assistant", "content": expected})
    assert reply.usage.prompt_tokens_details.cached_tokens > 20 and reply.usage.prompt_tokens_details.audio_tokens > 5


def test_pieces_joined_are_the_answer(client, clips):
    ask = {"model": "tiny", "messages": [user("And now?", spoken(clips[0].path))], "max_tokens": 12, "temperature": 1}
    whole = client.chat.completions.create(**ask, seed=5).choices[0].message.content
    chunks = list(client.chat.completions.create(**ask, seed=5, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole
    assert chunks[-1].usage.completion_tokens == 12 and chunks[-2].choices[0].finish_reason == "length"
    stopped = client.chat.completions.create(**ask, seed=5, stop=whole[4:7]).choices[0]
    assert whole[4:7] not in stopped.message.content and stopped.finish_reason == "stop"


def test_transcriptions_are_answers_to_the_instruction(client, gated, clips):
    expected = ChatSession(gated).say(f"Transcribe the audio. @{clips[0].path}", max_new_tokens=6)
    with clips[0].path.open("rb") as file:
        assert client.audio.transcriptions.create(model="tiny", file=file).text == expected
    with clips[0].path.open("rb") as file:
        text = client.audio.transcriptions.create(model="tiny", file=file, response_format="text")
    assert text.strip() == expected


def test_transcriptions_are_written_as_the_command_line_says_unless_asked_otherwise(gated, clips):
    worker = Worker(Decoder(gated))
    usual = {"max_new_tokens": 6, "temperature": 5.0, "seed": 3}
    client = TestClient(Server(worker, "tiny", usual, 200, Limits(), None, "Transcribe the audio.").app())
    line = f"Transcribe the audio. @{clips[0].path}"

    def said(**form):
        file = {"file": clips[0].path.read_bytes()}
        return client.post("/v1/audio/transcriptions", files=file, data=form).json()["text"]

    drawn, greedy = ChatSession(gated).say(line, **usual), ChatSession(gated).say(line, max_new_tokens=6)
    assert said() == said(temperature="") == drawn != greedy == said(temperature="0")
    worker.close()


def test_a_long_recording_is_transcribed_in_pieces(http, gated, clips, tmp_path):
    rng = np.random.default_rng(0)
    samples = np.concatenate([rng.normal(0, 0.1, 27 * 8000), np.zeros(8000), rng.normal(0, 0.1, 20 * 8000)])
    path = tmp_path / "long.flac"
    soundfile.write(path, samples, 8000)
    pieces = in_pieces(read_sound(path, 16000), 30)
    assert [round(piece.seconds) for piece in pieces] == [27, 21]
    assert np.array_equal(np.concatenate([p.samples for p in pieces]), read_sound(path, 16000).samples)
    asked = [[{"type": "text", "text": "Transcribe the audio."}, {"type": "audio", "audio": p}] for p in pieces]
    sessions = [ChatSession(gated) for _ in pieces]
    said = [session.say(parts, max_new_tokens=6) for session, parts in zip(sessions, asked, strict=True)]
    reply = http.post("/v1/audio/transcriptions", files={"file": path.read_bytes()}).json()
    assert reply["text"] == " ".join(said)
    fed = sum(len(session.answer.prompt.keys) for session in sessions)
    assert reply["usage"]["input_tokens"] == fed
    silent = tmp_path / "silent.flac"
    soundfile.write(silent, np.zeros(8000), 8000)
    notes = http.post("/v1/audio/transcriptions", files={"file": silent.read_bytes()}).json()["notes"]
    assert "is silent" in notes[0]


def test_models_and_health(client, served):
    assert [model.id for model in client.models.list()] == ["tiny"]
    health = httpx.get(f"{served.url}/health").json()
    assert health["status"] == "ok" and health["kept_megabytes"] <= 8


def test_health_says_when_nobody_answers(gated):
    worker = Worker(Decoder(gated))
    client = TestClient(Server(worker, "tiny", {}, 200, Limits(), None, "Transcribe.").app())
    assert client.get("/health").status_code == 200
    worker.close()
    reply = client.get("/health")
    assert reply.status_code == 503 and "has ended" in reply.json()["status"]


def test_without_the_key_nobody_is_answered(served):
    stranger = openai.OpenAI(base_url=f"{served.url}/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    with pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(model="tiny", messages=[user("Hi.")])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"messages": []}, "at least one"),
        ({"n": 2}, "n is 2"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"temperature": -1}, "temperature is -1"),
        ({"max_tokens": 9999}, "at most 200"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"max_completion_tokens": "5"}, "max_completion_tokens is '5'"),
        ({"max_completion_tokens": 9999}, "max_completion_tokens is 9999; this server writes at most 200"),
        ({"max_tokens": 3, "max_completion_tokens": 5}, "max_tokens 3 and max_completion_tokens 5"),
        ({"temperature": 10**400}, "temperature is 1000"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"seed": 10**400}, "seed is 1000"),
        ({"stream_options": {"x": 1}}, "stream_options is {'x': 1}; it holds include_usage alone"),
        ({"stream_options": {"include_usage": "no"}}, "include_usage is 'no'"),
        ({"stream_options": {"include_usage": True}, "stream": False}, "stream_options are those of an answer in"),
        ({"stop": 5}, "stop is a text"),
        ({"colour": "red"}, "'colour' is no parameter"),
        ({"stream": "yes"}, "stream is 'yes'; it is true or false"),
        ({"chat_template_kwargs": {"x": 1}}, "enable_thinking alone"),
        ({"chat_template_kwargs": {"enable_thinking": True}}, "no switch"),
        ({"messages": [user({"type": "audio", "audio": "/etc/hostname"})]}, "'audio' is no part"),
        ({"messages": [user({"type": "audio_url", "audio_url": {"url": "file:///etc/hostname"}})]}, "not fetched"),
        ({"messages": [user({"type": "input_audio", "input_audio": {"data": "AAAA"}})]}, "cannot be read as audio"),
        ({"messages": [user("x " * 3000)]}, "positions and the LLM has 512"),
        ({"messages": [{"role": "user", "content": "Nice \ud83d"}]}, "messages[0]: half a surrogate pair, or a byte"),
        ({"messages": [user("Hi.", "Nice \ud83d")]}, "messages[0].content[1]: half a surrogate pair"),
        ({"messages": [user({"type": "input_audio", "input_audio": {"data": "\ud83d"}})]}, "messages[0].content[0]"),
        ({"messages": [user({"type": "input_audio", "name": "\ud83d"})]}, "messages[0].content[0].name"),
        ({"stop": ["\ud83d"]}, "stop: half a surrogate pair"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_is_400_and_says_what(http, wrong, words, stream):
    body = {"model": "tiny", "messages": [user("Hi.")], "stream": stream, **wrong}
    # As clients in JavaScript write half an emoji, too.
    reply = http.post("/v1/chat/completions", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert reply.status_code == 400 and words in reply.json()["error"]["message"], reply.text


def test_other_refusals_have_their_status(http, served):
    chat = "/v1/chat/completions"
    assert http.post(chat, json={"model": "gpt", "messages": [user("Hi.")]}).status_code == 404
    assert http.post(chat, content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
    for body in (b"{", b"[" * 100_000, b"\xff", b"3"):
        assert http.post(chat, content=body, headers={"Content-Type": "application/json"}).status_code == 400
    assert http.get("/docs").status_code == 404 == http.get("/v1/../etc/hostname").status_code
    large = b" " * (7 << 20)
    assert http.post(chat, content=large, headers={"Content-Type": "application/json"}).status_code == 413
    chunked = http.post(chat, content=(large[:65536] for _ in range(200)), headers={"Content-Type": "application/json"})
    assert chunked.status_code == 413
    long = io.BytesIO()
    soundfile.write(long, np.zeros(61 * 8000, np.int16), 8000, format="WAV")
    reply = http.post(
        "/v1/audio/transcriptions", files={"file": ("../../x.wav", long.getvalue())}, data={"model": "tiny"}
    )
    assert reply.status_code == 400 and "longer than 60 s" in reply.text
    words = http.post(
        "/v1/audio/transcriptions", files={"file": long.getvalue()}, data={"timestamp_granularities[]": "word"}
    )
    assert words.status_code == 400 and "'timestamp_granularities[]' is no parameter" in words.text
    assert http.post("/v1/audio/transcriptions", data={"model": "tiny"}).status_code == 400
    assert http.post("/v1/audio/transcriptions", content=b"x").status_code == 400


def test_clips_that_are_longer_than_the_encoder_takes_are_answered(client, http, tmp_path):
    rng = np.random.default_rng(0)
    for seconds in (31, 36):
        path = tmp_path / "long.flac"
        soundfile.write(path, rng.normal(0, 0.1, seconds * 8000), 8000)
        assert client.chat.completions.create(model="tiny", messages=[user(spoken(path))], max_tokens=2).choices
    assert http.get("/health").json()["status"] == "ok"


def test_when_the_client_leaves_its_answer_ends(served, http, client):
    ask = {"model": "tiny", "messages": [user("Tell me.")], "max_tokens": 200, "temperature": 1.5, "seed": 1}
    stream = client.chat.completions.create(**ask, stream=True)
    next(iter(stream))
    stream.close()
    with pytest.raises(httpx.ReadTimeout):
        http.post("/v1/chat/completions", json=ask | {"seed": 2}, timeout=0.05)
    until(lambda: not served.worker.answering and not served.worker.waiting)
    assert client.chat.completions.create(model="tiny", messages=[user("Hi.")], max_tokens=2).usage.completion_tokens


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/audio/transcriptions"])
def test_a_client_that_leaves_is_no_error(gated, clips, path):
    """As the server sees it: the connection is closed before the answer has ended."""
    import asyncio

    body = {"messages": [user("Tell me.")], "max_tokens": 200, "temperature": 1.5}
    request = httpx.Request("POST", f"http://here{path}", json=body)
    if "audio" in path:
        request = httpx.Request("POST", f"http://here{path}", files={"file": clips[0].path.read_bytes()})
    worker = Worker(Decoder(gated), window=1.0)
    app = Server(worker, "tiny", {}, 200, Limits(), None, "Transcribe.").app()
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": request.headers.raw}
    received = iter([{"type": "http.request", "body": request.read()}])
    sent = []

    async def receive():
        return next(received, {"type": "http.disconnect"})

    async def send(message):
        sent.append(message)

    # By their names in lower case, as servers give them.
    scope["headers"] = [(name.lower(), value) for name, value in scope["headers"]]
    try:
        asyncio.run(app(scope, receive, send))
    finally:
        worker.close()
    assert sent[0]["status"] == 499 and not worker.answering


def test_more_than_may_wait_are_told_when_to_come_again(gated):
    worker = Worker(Decoder(gated, most_rows=2), most_waiting=3, window=0.0)
    ended = threading.Semaphore(0)
    answers, busy = [], []
    for number in range(12):
        answer = Answer([Turn("user", (f"Count {number}.",))], AnswerOptions(30, temperature=1.0, seed=number))
        try:
            worker.submit(answer, lambda piece: ended.release() if piece is None else None)
            answers.append(answer)
        except Busy as error:
            busy.append(error.seconds)
    assert busy and all(1 <= seconds <= 60 for seconds in busy)
    for _ in answers:
        assert ended.acquire(timeout=60)
    assert all(answer.finish in ("stop", "length") for answer in answers)
    worker.close()


def test_a_full_line_is_429_with_retry_after(served, http, monkeypatch):
    monkeypatch.setattr(served.worker, "_most_waiting", 0)
    reply = http.post("/v1/chat/completions", json={"messages": [user("Hi.")]})
    assert reply.status_code == 429 and int(reply.headers["Retry-After"]) >= 1
    assert reply.json()["error"]["type"] == "rate_limit_error"


def test_twenty_clients_get_each_its_own(served, gated, clips):
    """Each a conversation of its own words and recordings, answered as it is alone."""
    expected = {}
    for number in range(6):
        session = ChatSession(gated)
        lines = [f"I am number {number}.", f"@{clips[number % 3].path} And this?", f"So {number}?"]
        expected[number] = [session.say(line, max_new_tokens=4) for line in lines]

    def talk(client_number):
        number = client_number % 6
        client = openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=20)
        messages, said = [], []
        for content in (
            f"I am number {number}.",
            [spoken(clips[number % 3].path), {"type": "text", "text": "And this?"}],
            f"So {number}?",
        ):
            messages.append({"role": "user", "content": content})
            stream = client.chat.completions.create(model="tiny", messages=messages, max_tokens=4, stream=True)
            said.append("".join(chunk.choices[0].delta.content or "" for chunk in stream))
            messages.append({"role": "assistant", "content": said[-1]})
        return number, said

    with ThreadPoolExecutor(20) as pool:
        for number, said in pool.map(talk, range(20)):
            assert said == expected[number]
    assert served.worker.decoder.kept_megabytes <= 8


def test_the_command_serves_until_it_is_stopped(trained):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = ["vtb", "serve", str(trained[1]), f"--port={port}", "--threads=1", "--max-tokens=4"]
    with subprocess.Popen(line, env={**os.environ, "VTB_API_KEY": "k"}, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: reachable(port) or process.poll() is not None, 500)
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="k")
            reply = client.chat.completions.create(model="last", messages=[user("Hi.")])
            assert reply.usage.completion_tokens
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)


def test_other_machines_need_a_key(trained, monkeypatch, capsys):
    monkeypatch.delenv("VTB_API_KEY", raising=False)
    assert main(["serve", str(trained[1]), "--host=0.0.0.0"]) == 2
    assert capsys.readouterr().err == "vtb: --host 0.0.0.0 lets other machines in: set --api-key, or VTB_API_KEY\n"


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_an_address_that_cannot_be_had_is_said_before_the_model_is_loaded(command, capsys, tmp_path):
    broken = tmp_path / "no_model.ckpt"
    broken.touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main([command, str(broken), f"--port={port}"]) == 2
    assert capsys.readouterr().err == f"vtb: --port {port} is taken: name another one\n"
    for host in ("nowhere.invalid", "192.0.2.1"):
        assert main([command, str(broken), f"--host={host}", "--port=18999", *_key(command)]) == 2
        assert capsys.readouterr().err.startswith(f"vtb: --host {host} is no address of this machine: ")


def _key(command):
    return ["--api-key=k"] if command == "serve" else []


def test_a_checkpoint_is_called_by_its_own_name(tmp_path, monkeypatch):
    folder = tmp_path / "slim-v1.5"
    folder.mkdir()
    (folder / "step=5.ckpt").touch()
    (folder / "last.ckpt").symlink_to("step=5.ckpt")
    monkeypatch.chdir(folder)
    asked = (".", "../slim-v1.5/", str(folder), "last.ckpt", "step=5.ckpt", "shipped")
    assert [model_name(name) for name in asked] == ["slim-v1.5"] * 3 + ["last", "step=5", "shipped"]
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    assert model_name("..") == "slim-v1.5"


def reachable(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def until(true, seconds=30.0):
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.02)
