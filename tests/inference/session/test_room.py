"""An answer that the LLM has no positions left for."""

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
