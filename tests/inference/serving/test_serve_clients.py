"""What OpenAI's clients send beside the usual, and what they must be told."""

import base64

import httpx
import openai
import pytest


@pytest.fixture
def client(served):
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key=served.key, max_retries=0)


@pytest.fixture
def http(served):
    return httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {served.key}"}, timeout=60)


def test_null_asks_for_nothing_whatever_it_is_called(http):
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    plain = http.post("/v1/chat/completions", json=body).json()["choices"]
    nulls = dict.fromkeys(("audio", "reasoning_effort", "prediction", "tools", "stop"))
    reply = http.post("/v1/chat/completions", json={**body, **nulls})
    assert reply.status_code == 200 and reply.json()["choices"] == plain
    reply = http.post("/v1/chat/completions", json={**body, "reasoning_effort": "low"})
    assert reply.status_code == 400 and "reasoning_effort" in reply.text


def test_a_client_may_look_the_model_up(client):
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="this one is called tiny"):
        client.models.retrieve("gpt-4o")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}, "messages[1]: tool_calls"),
        ({"role": "assistant", "content": "Hm.", "audio": {"id": "audio_1"}}, "messages[1]: audio"),
    ],
)
def test_what_a_message_says_beside_its_content_is_not_left_out(http, more, told):
    hello = {"role": "user", "content": "Hi"}
    reply = http.post("/v1/chat/completions", json={"messages": [hello, more, hello]})
    assert reply.status_code == 400 and told in reply.json()["error"]["message"]
    empty = {"role": "assistant", "content": "Hm.", "tool_calls": None, "refusal": None}
    assert http.post("/v1/chat/completions", json={"messages": [hello, empty, hello]}).status_code == 200


def test_samples_without_a_header_are_refused(http):
    audio = {"data": base64.b64encode(b"\x00\x01" * 8000).decode(), "format": "pcm16"}
    messages = [{"role": "user", "content": [{"type": "input_audio", "input_audio": audio}]}]
    reply = http.post("/v1/chat/completions", json={"messages": messages})
    assert reply.status_code == 400 and "pcm16 is samples without a header" in reply.json()["error"]["message"]


def test_a_transcript_that_was_cut_off_says_so(http, clips):
    reply = http.post("/v1/audio/transcriptions", files={"file": clips[0].path.read_bytes()}).json()
    assert reply["usage"]["output_tokens"] == 6
    assert any("cut off at 6 tokens" in note for note in reply["notes"])
