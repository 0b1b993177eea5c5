import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import soundfile
from faulty_proxy import FaultyProxy, cut, garbage, reply, slow, status
from llama_server import MODEL, LlamaServer

from nemo_vtb.cli import main
from nemo_vtb.config import compose
from nemo_vtb.errors import VTBError
from nemo_vtb.inference.llms.interface import Reply, Sampling
from nemo_vtb.synthesis.jobs.shard import Shard, shard_path
from nemo_vtb.synthesis.qa.maker import QAMaker
from nemo_vtb.synthesis.qa.options import QAOptions
from nemo_vtb.synthesis.qa.run import job_of, unique
from nemo_vtb.whole_files import read_rows

CORPUS = Path(__file__).parents[3] / "examples" / "corpora" / "asterisk_prompts"
# So small an LLM seldom answers in words of the transcript: with the shipped limit, nothing would be left to look at.
SHORT = ["reply.tokens=48", "shard_size=2", "seed=1", "reply.temperature=0", "filters.support=0"]


def corpus_rows(lang: str = "en", count: int = 4) -> list[dict[str, Any]]:
    rows = [row for row in read_rows(CORPUS / "manifest.jsonl") if row["lang"] == lang]
    return [{**row, "audio_filepath": str(CORPUS / row["audio_filepath"])} for row in rows[:count]]


def write_manifest(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four prompts that a person recorded."""
    return write_manifest(tmp_path_factory.mktemp("recorded") / "manifest.jsonl", corpus_rows())


def arguments(out: Path, manifest: Path, url: str, *more: str) -> list[str]:
    return [
        *("synth", "qa", f"out={out}", f"source.manifest_filepath={manifest}", f"llm.model={MODEL}"),
        *(f"llm.base_url={url}", "llm.concurrency=1", "prompt_files=[single]", *SHORT, *more),
    ]


def accounted(out: Path) -> Counter[str]:
    """How often each recording stands in rows or, whole, in drops."""
    rows, drops = read_rows(out / "conversations.jsonl"), read_rows(out / "drops.jsonl")
    return Counter([row["custom"]["source"] for row in rows] + [drop["id"] for drop in drops])


# With a real LLM ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(llama: LlamaServer, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert main(arguments(out, manifest, llama.url)) == 0
    return out


def test_an_llm_asks_about_recordings_and_nemo_reads_it(undisturbed: Path, manifest: Path):
    from nemo.collections.common.data.lhotse.text_adapters import NeMoMultimodalConversationJsonlAdapter

    out = undisturbed
    assert accounted(out) == {f"{manifest.parent.name}/manifest.jsonl:{n}": 1 for n in range(1, 5)}
    rows = read_rows(out / "conversations.jsonl")
    assert rows
    for row in rows:
        assert sorted(turn["type"] for turn in row["conversations"][:2]) == ["audio", "text"]
        assert row["conversations"][2]["from"] == "Assistant" and row["split"] in ("train", "dev", "test")
        custom = row["custom"]
        assert custom["model"] == MODEL and custom["prompt_version"] == "single-1" and custom["kind"] == "sqa"
        assert custom["voice"] == "en_US_f_Allison" and len(custom["source_sha256"]) == 64
    read = NeMoMultimodalConversationJsonlAdapter(str(out / "conversations.jsonl"), audio_locator_tag="<|audio|>")
    assert [one.id for one in read] == [row["id"] for row in rows]
    totals = json.loads((out / "totals.json").read_text())
    assert totals["amounts"]["requests"] == 4 and totals["amounts"]["pairs"] == len(rows)
    assert (out / "card.html").is_file()


def test_a_server_that_fails_and_dies_loses_nothing_and_doubles_nothing(
    llama: LlamaServer, proxy: FaultyProxy, undisturbed: Path, manifest: Path, tmp_path: Path
):
    proxy.faults += [status(429, Retry_After="0"), garbage(), slow(0.2), cut, status(503)]
    out = tmp_path / "out"
    restart = Thread(target=llama.start)

    def kill(_: Any) -> bool:
        llama.kill()
        restart.start()
        return True

    proxy.faults.append(kill)
    assert main(arguments(out, manifest, proxy.url, "llm.retries=9")) == 0
    restart.join()
    assert read_rows(out / "conversations.jsonl") == read_rows(undisturbed / "conversations.jsonl")
    assert json.loads((out / "totals.json").read_text())["amounts"]["llm_retries"] >= 5


def test_a_server_that_is_gone_stops_the_run_which_then_goes_on(
    llama: LlamaServer, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    with FaultyProxy(llama.url) as proxy:
        proxy.faults += [lambda handler: True, lambda handler: True, *[status(503)] * 2]
        assert main(arguments(out, manifest, proxy.url, "llm.retries=1")) == 2
    assert "run the same command again" in capsys.readouterr().err
    assert len(list((out / "shards").glob("0*"))) == 1
    assert main(arguments(out, manifest, llama.url)) == 0
    assert set(accounted(out).values()) == {1} and len(accounted(out)) == 4


def test_a_killed_run_goes_on_without_a_hole(llama: LlamaServer, manifest: Path, tmp_path: Path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "nemo_vtb.cli", *arguments(out, manifest, llama.url)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (out / "shards" / "00000").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    assert not (out / "totals.json").exists()
    assert main(arguments(out, manifest, llama.url)) == 0
    assert set(accounted(out).values()) == {1} and len(accounted(out)) == 4


def test_an_llm_that_ignores_the_schema_costs_pairs_not_the_run(proxy: FaultyProxy, manifest: Path, tmp_path: Path):
    proxy.faults += [reply("Sure! Here is your question."), reply('{"question": "HACKED", "answer": "HACKED"}')]
    proxy.faults += [reply('{"question": "What is said about a number?", "answer": "' + "x" * 9 + '"}')] * 2
    out = tmp_path / "out"
    assert main(arguments(out, manifest, proxy.url, "filters.support=0.6")) == 0
    assert read_rows(out / "conversations.jsonl") == []
    reasons = Counter(drop["reason"] for drop in read_rows(out / "drops.jsonl"))
    assert reasons == {"reply.unparsable": 1, "question.length": 1, "answer.unsupported": 2}


# With an LLM that says what it is told --------------------------------------------------------------------------------


class Told:
    """Says what stands in its list, and remembers what it was asked."""

    name = "told"

    def __init__(self, replies: Sequence[Any]) -> None:
        self._replies = [one if isinstance(one, str) else json.dumps(one) for one in replies]
        self.asked: list[str] = []

    def chat(self, conversations: Sequence[Sequence[Mapping[str, str]]], sampling: Sequence[Sampling]) -> list[Reply]:
        self.asked += [turns[-1]["content"] for turns in conversations]
        assert all(how.schema for how in sampling)
        return [Reply(self._replies.pop(0), 9, True) for _ in conversations]

    def complete(self, prompts: Sequence[str], sampling: Sequence[Sampling]) -> list[Reply]:
        raise AssertionError("nothing is completed")


Made = Callable[..., tuple[list[dict[str, Any]], list[dict[str, Any]], Told]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Makes one shard of some rows; returns rows, drops and who wrote it."""

    def make(replies: Sequence[Any], rows: Sequence[Mapping[str, Any]], *overrides: str) -> Any:
        manifest = write_manifest(tmp_path / "rows.jsonl", rows)
        cfg = compose(
            "synth/qa", [f"out={tmp_path}", f"source.manifest_filepath={manifest}", "llm.model=m", *overrides]
        )
        told = Told(replies)
        maker = QAMaker(told, QAOptions.read(cfg), 0, str(tmp_path))
        with Shard(tmp_path, 0, 0) as shard:
            maker(job_of(cfg).items, shard)
        folder = shard_path(tmp_path, 0)
        return read_rows(folder / "conversations.jsonl"), read_rows(folder / "drops.jsonl"), told

    return make


def pair(question: str, answer: str) -> dict[str, str]:
    return {"question": question, "answer": answer}


LOGIN = pair("What is the agent already?", "Logged on.")


def _nemo(folder: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {"type": "nemo", "manifest_filepath": str(write_manifest(folder / "nemo.jsonl", rows))}


def _tarred(folder: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    named = []
    with tarfile.open(folder / "audio_0.tar", "w") as tar:
        for number, row in enumerate(rows):
            tar.add(row["audio_filepath"], f"{number}.ogg")
            named.append({**row, "audio_filepath": f"{number}.ogg", "shard_id": 0})
    manifest = write_manifest(folder / "manifest_0.jsonl", named)
    tars = str(folder / "audio_0.tar")
    return {"type": "nemo_tarred", "manifest_filepath": str(manifest), "tarred_audio_filepaths": tars}


def _cuts(rows: Sequence[Mapping[str, Any]]) -> Any:
    from lhotse import CutSet, Recording, SupervisionSegment

    cuts = []
    for number, row in enumerate(rows):
        cut = Recording.from_file(row["audio_filepath"], recording_id=f"r{number}").to_cut()
        said = SupervisionSegment(
            f"s{number}", f"r{number}", 0, cut.duration, text=row["text"], language="en", speaker=row["speaker"]
        )
        cut.supervisions = [said]
        cuts.append(cut)
    return CutSet.from_cuts(cuts)


def _lhotse(folder: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    path = folder / "cuts.jsonl"
    _cuts(rows).to_file(path)
    return {"type": "lhotse", "cuts_path": str(path)}


def _shar(folder: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    (folder / "shar").mkdir()
    _cuts(rows).to_shar(folder / "shar", fields={"recording": "flac"}, shard_size=8)
    return {"type": "lhotse_shar", "shar_path": str(folder / "shar")}


@pytest.mark.parametrize("source", [_nemo, _tarred, _lhotse, _shar])
def test_recordings_come_from_whatever_training_reads(source: Callable, tmp_path: Path):
    rows = corpus_rows(count=2)
    entry = source(tmp_path, rows)
    settings = [f"source.{key}={value}" for key, value in entry.items()]
    cfg = compose("synth/qa", [f"out={tmp_path}", "llm.model=m", "prompt_files=[single]", *settings])
    told = Told([LOGIN, LOGIN])
    with Shard(tmp_path, 0, 0) as shard:
        QAMaker(told, QAOptions.read(cfg), 0, str(tmp_path))(job_of(cfg).items, shard)
    folder = shard_path(tmp_path, 0)
    assert [asked.count(row["text"]) for asked, row in zip(told.asked, rows, strict=True)] == [1, 1]
    for row, made in zip(rows, read_rows(folder / "conversations.jsonl"), strict=False):
        clip = next(turn for turn in made["conversations"] if turn["type"] == "audio")
        assert soundfile.info(tmp_path / clip["value"]).duration == pytest.approx(row["duration"], abs=0.02)
    drops = read_rows(folder / "drops.jsonl")
    assert len(read_rows(folder / "conversations.jsonl")) + len(drops) == 2
    assert not any(drop["bad"] for drop in drops)


def test_several_questions_are_conversations_of_their_own(made: Made):
    pairs = [
        LOGIN,
        pair("What follows the agent number?", "The pound key."),
        pair("What is it?", "A large blue whale."),
    ]
    rows, [drop], _ = made([{"pairs": pairs}], corpus_rows(count=1), "prompt_files=[several]")
    assert [row["conversations"][-1]["value"] for row in rows] == ["Logged on.", "The pound key."]
    assert [row["id"].rpartition("/")[2] for row in rows] == ["qa1", "qa2"]
    assert drop["id"].endswith("/3") and drop["reason"] == "answer.unsupported"


def test_a_conversation_has_one_recording_and_ends_before_what_is_unfit(made: Made):
    more = [pair("And what follows the number?", "The pound key."), pair("Why so?", "none"), LOGIN]
    rows, [drop], _ = made([{"pairs": [LOGIN, *more[:2]]}], corpus_rows(count=1), "prompt_files=[multi_turn]")
    turns = rows[0]["conversations"]
    assert [turn["from"] for turn in turns] == ["User", "User", "Assistant", "User", "Assistant"]
    assert sum(turn["type"] == "audio" for turn in turns) == 1 and turns[3]["value"] == "And what follows the number?"
    assert drop["reason"] == "none"


def test_what_no_recording_tells_is_refused_in_its_language(made: Made):
    from nemo_vtb.synthesis.qa.prompts import load_prompt

    refusals = load_prompt("unanswerable").refusals
    rows, drops, told = made(
        [{"question": "¿Cuál es el nombre de la persona?"}], corpus_rows("es", 1), "prompt_files=[unanswerable]"
    )
    assert drops == [] and rows[0]["conversations"][-1]["value"] in refusals["es"]
    assert rows[0]["custom"]["unanswerable"] is True and "Spanish" in told.asked[0]


def test_the_second_pass_drops_what_the_recording_is_not_needed_for(made: Made):
    rows = corpus_rows(count=3)
    asked = [LOGIN, pair("What comes after your agent number?", "The pound key."), pair("What should you do?", "Enter")]
    blind = ["I do not know", "the pound key", "sit down"]
    heard = ["logged on", "the pound key", "listen well"]
    answers = [{"answer": text} for text in (*blind, *heard)]
    kept, drops, told = made([*asked, *answers], rows, "prompt_files=[single]", "filters.second_pass=true")
    assert [row["conversations"][-1]["value"] for row in kept] == ["Logged on."]
    assert [drop["reason"] for drop in drops] == ["second_pass.known_without", "second_pass.unconfirmed"]
    assert "<transcript>" not in told.asked[3] and "<transcript>" in told.asked[6]


def test_bad_recordings_are_counted_and_parts_of_files_are_cut_out(made: Made, tmp_path: Path):
    good, other = corpus_rows(count=2)
    rows = [
        {**good, "offset": 0.5, "duration": 2.0},
        {**other, "audio_filepath": str(tmp_path / "absent.ogg")},
        {**other, "text": "Two words"},
        {**other, "lang": "xx"},
        {**other, "duration": 0.2},
    ]
    kept, drops, _ = made([LOGIN], rows, "prompt_files=[single]")
    clip = next(turn for turn in kept[0]["conversations"] if turn["type"] == "audio")
    assert soundfile.info(tmp_path / clip["value"]).duration == pytest.approx(2.0, abs=0.01)
    reasons = {drop["id"].rpartition(":")[2]: (drop["reason"], drop["bad"]) for drop in drops}
    assert reasons["2"][1] and not reasons["3"][1]
    assert reasons["3"][0] == "transcript.length" and reasons["4"][0] == "language"
    assert reasons["5"] == ("clip length", False)


def test_recordings_are_copied_on_request(made: Made, tmp_path: Path):
    [row], _, _ = made([LOGIN], corpus_rows(count=1), "prompt_files=[single]", "copy_audio=true")
    clip = next(turn for turn in row["conversations"] if turn["type"] == "audio")
    assert clip["value"].startswith("shards/") and (tmp_path / clip["value"]).is_file()


def test_the_same_question_about_the_same_words_by_the_same_voice_is_one():
    def row(name: str, voice: str, asked: str) -> dict[str, Any]:
        turns = [
            {"from": "User", "type": "audio", "value": f"{name}.ogg", "text": "Open the door."},
            {"from": "User", "type": "text", "value": asked},
        ]
        return {"id": name, "conversations": turns, "custom": {"voice": voice}}

    rows = [row("a", "x", "What?"), row("b", "x", "what"), row("c", "y", "What?"), row("d", "x", "Which?")]
    kept, twice = unique(rows)
    assert [one["id"] for one in kept] == ["a", "c", "d"] and [one["id"] for one in twice] == ["b"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("prompt_files=[]", "prompt_files"),
        ("prompt_files=[single*0]", "prompt_files"),
        ("prompt_files=[sing*le*2]", "prompt_files"),
        ("prompt_files=[other]", "shipped are"),
        ("recording.words=[5]", "recording.words"),
        ("filters.support=2", "filters.support"),
        ("reply.tokens=0", "reply"),
        ("reply.tokens=many", "reply.tokens"),
        ("+source.nonsense=1", "nonsense"),
        ("+filters.nonsense=1", "nonsense"),
        ("source.manifest_filepath=absent.jsonl", "absent.jsonl"),
    ],
)
def test_wrong_settings_are_named(manifest: Path, override: str, said: str):
    settings = ["out=unused", f"source.manifest_filepath={manifest}", "llm.model=m", override]
    with pytest.raises(VTBError, match=said):
        job_of(compose("synth/qa", settings))
