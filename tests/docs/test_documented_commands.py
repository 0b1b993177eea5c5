"""Every command of the documentation runs as it stands there: read from the files, given to a shell."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from documents import Block, Command, command_blocks, commands
from forks import Forks
from limits import PLACEHOLDERS, limits, not_run
from llama_server import MODEL, LlamaServer, free_port
from scratch import begin_page, make_scratch
from support.proofs import encoder

_BLOCKS = command_blocks()
# Run by the installed command in processes of their own; all others are forks of one that has imported the libraries.
_FRESH = ("README.md",)
_SECONDS = 240
# Where a line stands first.
_FIRST = {command.typed: command.where for block in reversed(_BLOCKS) for command in reversed(list(commands(block)))}


@pytest.fixture(scope="module")
def scratch(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_cfg: Any,
    trained: Any,
    tiny_llm: Path,
    tiny_whisper: Path,
    clips: Any,
    forked: Forks,
) -> Iterator[SimpleNamespace]:
    """The folder, the paths that limits name, and the environment of the shell."""
    folder = tmp_path_factory.mktemp("checkout")
    make_scratch(folder, tiny_cfg("vtb", prompt_format="chatml"), trained[1], clips)
    server = LlamaServer(context=1024)
    paths = {
        "llm": str(tiny_llm),
        "judge": str(_with_positions(tiny_llm, tmp_path_factory.mktemp("judge") / "llm", 2048)),
        "whisper": str(tiny_whisper),
        "wavlm": str(encoder(tmp_path_factory.mktemp("wavlm"), "WavLM")),
        "scratch": str(folder),
        "server": server.url,
        "served": MODEL,
        "port": str(free_port()),
        "clip": str(clips[0].path),
    }
    with server:
        yield SimpleNamespace(
            folder=folder,
            checkpoint=trained[1],
            paths=paths,
            fresh=forked.fresh,
            forked=forked.forked,
            page="",
        )


def _with_positions(llm: Path, copy: Path, positions: int) -> Path:
    """A copy of an LLM that may read longer prompts: what a judge is told takes more than the tiny LLM's 512."""
    shutil.copytree(llm, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"max_position_embeddings": positions}))
    return copy


@pytest.mark.network
@pytest.mark.parametrize("block", _BLOCKS, ids=lambda block: f"{block.path}:{block.line}")
def test_block_runs(block: Block, scratch: SimpleNamespace, record_property: Any, request: pytest.FixtureRequest):
    if "slurm" in block.text and shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin"):
        # Where Slurm is installed, its commands want a cluster.
        request.getfixturevalue("slurm")
    if block.path != scratch.page:
        begin_page(scratch.folder, scratch.checkpoint)
        scratch.page = block.path
    found = [command for command in commands(block) if command.words and not _sets_variables(command)]
    dry = [(command, entry) for command in found if (entry := not_run(command.text))]
    left_out = {command for command, _ in dry}
    # What another page has said before is run there; a server that it begins, here too.
    again = {command for command in found if _FIRST[command.typed] != command.where and "&" not in command.text}
    whole = [command for command in commands(block) if command not in left_out | again]
    told = {"found": len(found), "executed": len(found) - len(dry)}
    record_property("documentation", told | {"dry": [f"{one.where}: {entry.how}; {entry.why}" for one, entry in dry]})
    if any(_FIRST[command.typed] == command.where for command in whole if not _sets_variables(command)):
        lines = [_with_limits(command, scratch) for command in whole]
        _shell(lines, scratch, "fresh" if block.path in _FRESH else "run")
    read = [command.text for command, entry in dry if entry.how == "parse"]
    made = [command.text.replace("make ", "make -n ", 1) for command, entry in dry if entry.how == "make"]
    if read or made:
        _shell([*(one.text for one in commands(block) if _sets_variables(one)), *read, *made], scratch, "parse")


def _sets_variables(command: Command) -> bool:
    return all(re.match(r"\w+=", word) for word in command.words)


def _with_limits(command: Command, scratch: SimpleNamespace) -> str:
    """The command as written, with the limits behind its words, and with what stands for the reader's own."""
    text = command.text.replace("/shared/", f"{scratch.folder}/shared/")
    text = re.sub(r"(?<=[ =])/data/", f"{scratch.folder}/data/", text)
    for word, value in PLACEHOLDERS.get(command.path, {}).items():
        text = re.sub(rf"\b{word}\b", value, text)
    more = shlex.join(limits([*command.words, ""], scratch.paths))
    if not more or command.words[:2] == ["python", "-"]:
        return text
    # Options of a launcher stand before what it launches; else the last place is before a comment or a background sign.
    end = re.search(r" -- |\s*&?\s*(?:\s#.*)?$", text)
    assert end
    return f"{text[: end.start()]} {more}{text[end.start() :]}"


def _shell(lines: list[str], scratch: SimpleNamespace, mode: str) -> None:
    env = os.environ | {"PATH": scratch.fresh if mode == "fresh" else scratch.forked, "VTB_DOCS_MODE": mode}
    script = "\n".join(["set -euo pipefail", *lines])
    streams = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    with (scratch.folder / "said.txt").open("w+") as said:
        command = ["bash", "-c", script]
        shell = subprocess.Popen(command, cwd=scratch.folder, env=env, stdout=said, start_new_session=True, **streams)
        try:
            code = shell.wait(_SECONDS)
        finally:
            # Servers that a block leaves in the background.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
        said.seek(0)
        assert code == 0, f"{script}\n\nends with {code}:\n{said.read()[-6000:]}"
