"""Conversations at their edges: no positions left for an answer, a message that was never answered."""

import json

from nemo_vtb.cli.talk.console import Console
from nemo_vtb.inference.chat import ChatSession


def test_an_answer_at_the_end_of_the_positions_says_that_it_is_there(gated):
    session = ChatSession(gated)
    session.say("Hello", max_new_tokens=8)
    assert session.answer.finish == "length" and not session.answer.notes
    session.decoder.positions = len(session.answer.prompt.keys) + 3
    said = []
    lines = iter(["/retry", "/quit"])
    Console(session, {"max_new_tokens": 8}, lambda _: next(lines), said.append).run()
    assert session.answer.finish == "length" and len(session.answer.tokens) == 3
    told = "".join(said)
    assert "where the LLM's positions do" in told and "--max-tokens" not in told


def test_a_message_behind_one_without_an_answer_goes_on_with_it(gated, tmp_path):
    talk = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Yes?"}]
    path = tmp_path / "talk.json"
    path.write_text(json.dumps({"messages": [*talk, {"role": "user", "content": "What is"}]}))
    session, other = ChatSession(gated), ChatSession(gated)
    session.load(path)
    path.write_text(json.dumps({"messages": talk}))
    other.load(path)
    assert session.say("the time?", max_new_tokens=4) == other.say("What is the time?", max_new_tokens=4)
    assert [message["role"] for message in session.messages] == ["user", "assistant"] * 2
