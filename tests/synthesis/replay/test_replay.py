import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_server import MODEL, LlamaServer

from nemo_vtb.cli import main
from nemo_vtb.config import compose
from nemo_vtb.errors import VTBError
from nemo_vtb.inference.llms.chat_frame import ChatFrame
from nemo_vtb.inference.llms.interface import Reply, Sampling
from nemo_vtb.synthesis.jobs.shard import Item, Shard, shard_path
from nemo_vtb.synthesis.replay.maker import ReplayMaker
from nemo_vtb.synthesis.replay.options import ReplayOptions
from nemo_vtb.synthesis.replay.prompts import load_prompts
from nemo_vtb.synthesis.replay.run import job_of, unique
from nemo_vtb.whole_files import read_rows

TOKENIZER = "smollm2-135m-instruct"


def config(*overrides: str, name: str = "text") -> Any:
    return compose(f"synth/{name}", ["out=unused", "llm.model=m", f"tokenizer={TOKENIZER}", *overrides])


@pytest.fixture(scope="module")
def tokenizer(smollm2: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2)


# With a real LLM ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(llama: LlamaServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What SmolLM2 writes behind a real server."""
    out = tmp_path_factory.mktemp("replay") / "out"
    options = [f"llm.model={MODEL}", f"llm.base_url={llama.url}", f"tokenizer={TOKENIZER}", "llm.concurrency=2"]
    assert main(["synth", "text", f"out={out}", *options, "count=8", "shard_size=4", "held_out=0.4"]) == 0
    return out


def test_an_llm_writes_conversations_that_nemo_reads(made: Path):
    from nemo.collections.common.data.lhotse.text_adapters import NeMoMultimodalConversationJsonlAdapter

    held_out, rows = (read_rows(made / f"{name}.jsonl") for name in ("held_out", "conversations"))
    drops = read_rows(made / "drops.jsonl")
    whole_ones = {drop["id"] for drop in drops if "/" not in drop["id"]}
    assert {row["id"] for row in [*held_out, *rows]} | whole_ones == {f"replay-0-{n:06d}" for n in range(8)}
    assert held_out and rows
    openings = load_prompts("small").openings
    for row in [*held_out, *rows]:
        turns, custom = row["conversations"], row["custom"]
        assert [turn["from"] for turn in turns] == ["User", "Assistant"] * (len(turns) // 2)
        assert all(turn["type"] == "text" and turn["value"].strip() for turn in turns)
        assert turns[0]["value"].startswith(tuple(openings[custom["category"]]))
        assert custom["model"] == MODEL and custom["prompt_version"] == "small-1" and custom["kind"] == "text"
    read = NeMoMultimodalConversationJsonlAdapter(str(made / "conversations.jsonl"), audio_locator_tag="<|audio|>")
    assert [(one.id, [turn.value for turn in one.turns]) for one in read] == [
        (row["id"], [turn["value"] for turn in row["conversations"]]) for row in rows
    ]


def test_what_it_took_is_counted(made: Path):
    totals = json.loads((made / "totals.json").read_text())
    kept = totals["rows"]["conversations"] + totals["rows"]["held_out"]
    duplicates = totals["drops"].get("duplicate", 0)
    assert len(totals["values"]["conversation_tokens"]) == kept + duplicates
    assert totals["amounts"]["llm_tokens"] > 0 and totals["amounts"]["llm_seconds"] > 0
    assert totals["amounts"]["requests"] >= 16
    assert max(totals["values"]["conversation_tokens"]) <= 220


# With an LLM that says what it is told --------------------------------------------------------------------------------


class Parrot:
    """Says what stands in its lists, and remembers what it was asked."""

    name = "parrot"

    def __init__(self, complete: Sequence[str | tuple[str, bool]], chat: Sequence[str] = ()) -> None:
        self._complete, self._chat = list(complete), list(chat)
        self.asked: list[str] = []
        self.how: list[Sampling] = []

    def complete(self, prompts: Sequence[str], sampling: Sequence[Sampling]) -> list[Reply]:
        self.asked += prompts
        self.how += sampling
        told = [self._complete.pop(0) for _ in prompts]
        return [Reply(one, 9, True) if isinstance(one, str) else Reply(one[0], 9, one[1]) for one in told]

    def chat(self, conversations: Sequence[Sequence[Mapping[str, str]]], sampling: Sequence[Sampling]) -> list[Reply]:
        self.asked += [turns[-1]["content"] for turns in conversations]
        self.how += sampling
        return [Reply(self._chat.pop(0), 9, True) for _ in conversations]


@pytest.fixture
def written(tokenizer: Any, tmp_path: Path) -> Callable[..., tuple[list[dict], list[dict], Parrot]]:
    """Makes one shard; returns rows, drops and who wrote it."""

    def write(parrot: Parrot, *overrides: str, items: int = 1, name: str = "text") -> tuple[list, list, Parrot]:
        options = ReplayOptions.read(config("held_out=0", *overrides, name=name))
        maker = ReplayMaker(parrot, tokenizer, load_prompts(options.prompt_file), options, seed=0)
        with Shard(tmp_path, 0, 0) as shard:
            maker([Item(f"r{number}", {}) for number in range(items)], shard)
        folder = shard_path(tmp_path, 0)
        return read_rows(folder / "conversations.jsonl"), read_rows(folder / "drops.jsonl"), parrot

    return write


def test_user_turns_stand_behind_the_header_and_answers_behind_the_history(written: Callable, tokenizer: Any):
    told = [" black tea good for? I ask", "It wakes you up.", " green tea then?", "That too, and it is milder."]
    parrot = Parrot(told)
    [row], drops, _ = written(parrot, "exchanges=[0,1]", "categories=[information seeking]")
    first, answer, second, last = (turn["value"] for turn in row["conversations"])
    assert drops == [] and (answer, last) == (told[1], told[3])
    # The first sentence alone is the user's, then what was asked for comes.
    assert " black tea good for?" in first and "I ask" not in first
    assert row["custom"].get("request", "") == first.partition("?")[2]
    frame = ChatFrame.from_tokenizer(tokenizer)
    topic = load_prompts("small").system.replace("{category}", "information seeking")
    opening = first.partition(" black")[0]
    assert parrot.asked[0] == frame.user_query([], topic) + opening
    assert parrot.asked[1] == frame.answer_query([], first)
    assert parrot.asked[2].startswith(frame.user_query([(first, answer)], topic))
    assert parrot.asked[3] == frame.answer_query([(first, answer)], second)
    assert [how.temperature for how in parrot.how] == [0.7, 0.0, 0.7, 0.0]
    assert [how.max_tokens for how in parrot.how] == [32, 90, 32, 90]
    assert len({how.seed for how in parrot.how}) == 4


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ([(" black tea good for and when", False)], "user.too_long"),
        (["?"], "user.too_short"),
        ([" black tea good for"], "user.layout"),
        ([" point of an AI assistant?"], "user.meta"),
        ([" point, точка, точка, точка?"], "user.language"),
        ([" use of tea?", ("It wakes you, and", False)], "answer.truncated"),
        ([" use of tea?", "Yes"], "answer.too_short"),
        ([" use of tea?", "As an AI language model, I cannot drink."], "answer.meta"),
        ([" use of tea?", "Das kann man so nicht sagen, mein lieber Freund."], "answer.language"),
        ([" use of tea?", "It is is is is is good for you."], "answer.repetition"),
        ([" use of tea?", "```x = 1```, as you can see here."], "answer.code"),
    ],
)
def test_unfit_turns_are_dropped_with_their_reason(written: Callable, told: list, reason: str):
    overrides = ["exchanges=[1]", "categories=[information seeking]"]
    rows, [drop], _ = written(Parrot(told), *overrides)
    assert rows == [] and drop["id"] == "r0" and drop["reason"] == reason and not drop["bad"]


def test_an_unfit_later_exchange_leaves_those_before_it(written: Callable):
    told = [" use of tea?", "It wakes you up in the morning.", " use of tea?", "It wakes you up in the morning."]
    [row], [drop], _ = written(Parrot(told), "exchanges=[0,1]", "categories=[information seeking]")
    assert len(row["conversations"]) == 2
    assert (drop["id"], drop["reason"]) == ("r0/2", "answer.repeats_itself")


def test_too_long_conversations_end_before(written: Callable):
    told = [" use of tea?", "It wakes you up in the morning.", " use of milk?", "It makes the tea white and mild."]
    overrides = ["exchanges=[0,1]", "categories=[information seeking]", "conversation_tokens=40"]
    [row], [drop], _ = written(Parrot(told), *overrides)
    assert len(row["conversations"]) == 2 and drop["reason"] == "answer.conversation_too_long"


def test_a_bare_header_and_a_category_that_the_llm_names(written: Callable, tokenizer: Any):
    asked = [
        "I need a plan for a week in Rome.\nI like ruins.",
        "Write me a program.",
        "Say hello to me?",
        "Solve x = 2 x.",
    ]
    named = ['{"kind": "planning"}', '{"kind": "coding and debugging"}', "no JSON", '{"kind": "math"}']
    parrot = Parrot([*asked, "See the Forum on your first day."], named)
    [row], drops, _ = written(parrot, name="text_magpie", items=4)
    assert [turn["value"] for turn in row["conversations"]] == [asked[0], "See the Forum on your first day."]
    assert row["custom"]["category"] == "planning" and row["custom"]["prompt_version"] == "magpie-1"
    assert [(drop["id"], drop["reason"]) for drop in drops] == [(f"r{n}", "user.category") for n in (1, 2, 3)]
    assert parrot.asked[0] == ChatFrame.from_tokenizer(tokenizer).user_query([]) == "<|im_start|>user\n"
    assert asked[1] in parrot.asked[5] and "math" in parrot.how[5].schema["properties"]["kind"]["enum"]


def test_a_conversation_does_not_depend_on_its_shard(written: Callable, tmp_path: Path):
    told = [" use of tea?", " use of milk?", "It wakes you up, they say.", "It makes the tea white."]
    rows, _, _ = written(Parrot(told), "exchanges=[1]", items=2)
    for path in shard_path(tmp_path, 0).iterdir():
        path.unlink()
    shard_path(tmp_path, 0).rmdir()
    alone, _, _ = written(Parrot(told[::2]), "exchanges=[1]")
    assert alone == rows[:1]


# Job and filters ------------------------------------------------------------------------------------------------------


def test_the_first_of_conversations_that_ask_the_same_stays():
    def row(name: str, asked: str, request: str = "") -> dict[str, Any]:
        return {"id": name, "conversations": [{"value": asked + request}], "custom": {"request": request}}

    brief = " Answer in one short sentence."
    rows = [
        row("a", "What is the capital of France?", brief),
        row("b", "What is the capital of Spain?"),
        row("c", "Why do cats purr?", brief),
        row("d", "Why do birds sing?", brief),
    ]
    kept, drops = unique(rows)
    assert [one["id"] for one in kept] == ["a", "c", "d"]
    assert drops == [{"id": "b", "reason": "duplicate", "detail": "What is the capital of Spain? (as a)"}]


def test_settings_hold_what_decides_and_not_where_the_server_is():
    one = job_of(config("llm.base_url=http://a/v1", "llm.concurrency=2", "processes=2"))
    assert one.fixed() == job_of(config("llm.base_url=http://b/v1", "llm.concurrency=9")).fixed()
    for change in ("user.temperature=0.8", "prompt_file=magpie", "llm.model=other", "seed=1", "tokenizer=gpt"):
        other = ["categories=[planning]"] if change == "prompt_file=magpie" else []
        assert one.fixed() != job_of(config(change, *other)).fixed()
    assert len(one.items) == 1000 and one.shards == 16


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["+exchange=[1]"], "unknown config key config.exchange; did you mean 'exchanges'"),
        (["+user.top_k=3"], "user.top_k|Key 'top_k'"),
        (["user.tokens=[3]"], "user.tokens=.3.: name the fewest and the most"),
        (["answer.top_p=0"], "top_p above 0"),
        (["exchanges=[0]"], "not all of them 0"),
        (["exchanges=much"], "exchanges is 'much'; it is a list of float"),
        (["count=0"], "count=0, held_out=0.1: at least 1"),
        (["categories=[gossip]"], "categories: 'gossip' is not among those of prompt_file=small: brainstorming"),
        (["categories=[]"], "categories: is empty"),
        (["prompt_file=large"], "prompt_file=large: no such file; shipped are magpie, small"),
        (["llm.backend=http"], "llm.backend is 'http'"),
    ],
)
def test_keys_that_cannot_work_are_named(overrides: list[str], said: str):
    with pytest.raises(VTBError, match=said):
        job_of(config(*overrides))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("system: x", "one of them their version"),
        ("version: v1", "nobody knows a conversation's category"),
        ("version: v1\nopening: {planning: [How]}", "unknown config key .*opening; did you mean 'openings'"),
        ("version: v1\nopenings: {planning: []}", "a category without first words"),
        ("version: [", "own.yaml: "),
        ("version: v1\nopenings: 5", "own.yaml: "),
    ],
)
def test_prompts_that_cannot_work_are_named(tmp_path: Path, text: str, said: str):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(VTBError, match=said):
        job_of(config(f"prompt_file={path}", "categories=[planning]"))


def test_a_server_needs_the_name_of_a_tokenizer(llama: LlamaServer, tmp_path: Path, capsys: pytest.CaptureFixture):
    options = [f"out={tmp_path}", f"llm.model={MODEL}", f"llm.base_url={llama.url}", "count=1"]
    assert main(["synth", "text", *options]) == 2
    said = capsys.readouterr().err
    assert f"llm.model={MODEL}: " in said and "say tokenizer=NAME" in said


def test_the_corrected_line_goes_on_in_the_folder_of_the_misspelt_one(
    tiny_llm: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    line = ["synth", "text", f"out={tmp_path}", "llm.backend=hf", "count=1", "exchanges=[1]", "answer.tokens=[1,2]"]
    assert main([*line, "llm.model=smolm2"]) == 2
    (said,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("vtb")]
    assert said.startswith("vtb: llm.model=smolm2: ") and "server" not in said
    assert not list(tmp_path.iterdir())
    assert main([*line, f"llm.model={tiny_llm}", "tokenizer=smolm2"]) == 2
    assert "vtb: tokenizer=smolm2: " in capsys.readouterr().err
    assert main([*line, f"llm.model={tiny_llm}", "user.tokens=[1,2]"]) == 0
