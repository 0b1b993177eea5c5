import json
import time

import pytest
from faulty_proxy import cut, garbage, slow, status
from llama_server import MODEL, free_port

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.llms import openai as openai_llm
from nemo_vtb.inference.llms.choose import open_llm
from nemo_vtb.inference.llms.interface import Sampling

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "maximum": 99, "minimum": 1},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def ask(text):
    return [{"role": "user", "content": text}]


def at(url, **options):
    return open_llm({"model": MODEL, "base_url": url, "timeout": 30, **options})


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(openai_llm, "_FIRST_WAIT", 0.02)


def test_replies_come_in_order_each_with_its_own_settings(llama):
    llm = at(llama.url, concurrency=3)
    asked = [ask("Say A."), ask("Name a colour."), ask("What is the sea?")]
    replies = llm.chat(asked, [Sampling(4), Sampling(6), Sampling(8)])
    assert [reply.tokens for reply in replies if not reply.finished] == [
        limit for limit, reply in zip((4, 6, 8), replies, strict=True) if not reply.finished
    ]
    alone = [llm.chat([one], [Sampling(limit)])[0] for one, limit in zip(asked, (4, 6, 8), strict=True)]
    assert replies == alone


def test_a_seed_decides_what_is_drawn(llama):
    llm = at(llama.url)
    drawn = [
        llm.complete(["Once upon a time"], [Sampling(8, temperature=1.0, seed=seed)])[0].text for seed in (1, 1, 2, 3)
    ]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


def test_a_schema_holds_the_reply(llama):
    (reply,) = at(llama.url).chat([ask("Invent a person, as JSON.")], [Sampling(64, schema=SCHEMA)])
    assert reply.finished
    assert set(json.loads(reply.text)) == {"name", "age"}


def test_raw_text_goes_on_until_a_stop(llama):
    (reply,) = at(llama.url).complete(["one, two, three, four, five, six,"], [Sampling(24, stop=(",",))])
    assert reply.finished
    assert reply.text.strip() == "seven"


@pytest.mark.parametrize(
    "fault", [status(429), status(500), status(503), garbage(), garbage(b"[]"), garbage(b'{"choices": []}'), cut]
)
def test_what_fails_for_a_while_is_sent_again(proxy, fault):
    llm = at(proxy.url)
    (expected,) = llm.chat([ask("Say A.")], [Sampling(4)])
    proxy.faults, proxy.posts = [fault, fault], 0
    (found,) = llm.chat([ask("Say A.")], [Sampling(4)])
    assert found == expected and (found.retries, expected.retries) == (2, 0)
    assert proxy.posts == 3


def test_no_answer_in_time_is_sent_again(proxy):
    llm = at(proxy.url, timeout=3.0)
    proxy.faults = [slow(3.5)]
    assert llm.chat([ask("Say A.")], [Sampling(1)])[0].tokens
    assert proxy.posts == 2


def test_the_server_says_how_long_to_wait(proxy):
    llm = at(proxy.url, retries=1)
    proxy.faults = [status(429, Retry_After="0.4")]
    start = time.monotonic()
    llm.chat([ask("Say A.")], [Sampling(1)])
    assert time.monotonic() - start >= 0.4


@pytest.mark.parametrize("header", ["3", "Wed, 21 Oct 2015 07:28:00 GMT", "soon", None])
def test_waits_are_never_endless(header):
    assert (openai_llm._asked_wait(header) or 0) in (0, 3)
    assert openai_llm._asked_wait("1e9") == openai_llm._LONGEST_WAIT


def test_a_refused_request_stops_at_once_with_the_server_s_words(proxy):
    llm = at(proxy.url)
    proxy.faults = [status(400, "the prompt is odd")]
    with pytest.raises(VTBError, match="HTTP 400: the prompt is odd"):
        llm.chat([ask("Say A.")], [Sampling(1)])
    assert proxy.posts == 1


def test_a_server_that_stays_away_is_named_with_the_remedy(proxy):
    llm = at(proxy.url, retries=2)
    proxy.faults = [status(500, "out of memory")] * 3
    with pytest.raises(VTBError, match=rf"{proxy.url}.*3 tries.*HTTP 500: out of memory.*run the same command again"):
        llm.chat([ask("Say A.")], [Sampling(1)])


def test_one_lost_cause_does_not_keep_the_others_waiting(proxy, monkeypatch):
    llm = at(proxy.url, concurrency=2)
    monkeypatch.setattr(openai_llm, "_FIRST_WAIT", 60.0)
    proxy.faults = [status(500), status(400)]
    with pytest.raises(VTBError, match="HTTP 400"):
        llm.chat([ask("Say A."), ask("Say B.")], [Sampling(1)] * 2)


def test_no_server_is_found_out_at_the_start():
    with pytest.raises(VTBError, match="ConnectError"):
        at(f"http://127.0.0.1:{free_port()}/v1", retries=1)
    with pytest.raises(VTBError, match=r"llm.base_url=localhost"):
        at("localhost:80/v1", retries=0)


def test_a_model_that_the_server_lacks_is_found_out_at_the_start(llama):
    with pytest.raises(VTBError, match=f"no model 'gpt-5'; it has {MODEL}"):
        open_llm({"model": "gpt-5", "base_url": llama.url})


def test_a_key_is_read_from_the_environment(proxy, monkeypatch):
    with pytest.raises(VTBError, match="VTB_TEST_KEY"):
        at(proxy.url, api_key_env="VTB_TEST_KEY")
    monkeypatch.setenv("VTB_TEST_KEY", "secret")
    seen = []
    proxy.faults = [lambda handler: seen.append(handler.headers["Authorization"]) or True]
    at(proxy.url, api_key_env="VTB_TEST_KEY").chat([ask("Say A.")], [Sampling(1)])
    assert seen == ["Bearer secret"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modell": "x"}, "did you mean 'model'"),
        ({"backend": "ollama"}, "it may be openai, hf"),
        ({"concurrency": "many"}, "llm.concurrency"),
        ({"retries": -1}, "at least 0"),
        ({"backend": "hf", "dtype": "int4"}, "llm.dtype"),
    ],
)
def test_slips_in_the_section_are_named(options, message):
    with pytest.raises(VTBError, match=message):
        open_llm({"model": MODEL, **options})


def test_the_model_must_be_named():
    with pytest.raises(VTBError, match=r"llm\.model"):
        open_llm({})
