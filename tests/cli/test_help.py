"""Help answers at once, and every command's says what it is for, what each argument is, and a line to begin with."""

import argparse
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nemo_vtb.cli import parser
from nemo_vtb.cli.help import HELP
from nemo_vtb.config import compose

_ROOT = parser()
_LEAVES = {leaf.prog: leaf for leaf in _ROOT.leaves()}
_EXAMPLES = [(prog, example) for prog, (_, *examples) in HELP.items() for example in examples]


def test_help_takes_less_than_a_second_of_the_processor():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.check_output([sys.executable, "-m", "nemo_vtb.cli", "--help"], text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    assert all(f"    {name}" in said for name in _ROOT.commands)


def test_every_command_is_explained_and_nothing_else():
    assert set(HELP) == set(_LEAVES), "nemo_vtb/cli/help.py names each command with what it is for and an example"
    assert all(about and examples for about, *examples in HELP.values())


@pytest.mark.parametrize("prog", _LEAVES)
def test_help_says_what_each_argument_is(prog: str):
    said = _LEAVES[prog].format_help()
    assert HELP[prog][0] in said and all(example in said for example in HELP[prog][1:])
    assert [action.dest for action in _LEAVES[prog]._actions if not action.help] == []


@pytest.mark.parametrize(("prog", "example"), _EXAMPLES)
def test_examples_are_read_and_their_configs_compose(prog: str, example: str, tmp_path: Path):
    words = shlex.split(example.replace("\\\n", " "))
    assert example.startswith(prog) and words[0] == "vtb"
    args, rest = _ROOT.parse_known_args(words[1:])
    assert args.run
    if words[1] == "launch":
        assert rest[0] == "--"
        args, rest = _ROOT.parse_known_args(rest[2:])
    if words[1] in ("lm-eval", "lmms-eval"):
        return
    assert all(re.match(r"[~+]*[\w.@]+(=|$)", word) for word in rest), rest
    if getattr(args, "config_name", None) and args.config_name != "mine":
        compose(args.config_name, rest, args.config_dir)


def test_the_way_in_is_of_commands_that_exist():
    shown = re.findall(r"^  (vtb .+?)(?:  |$)", _ROOT.format_help(), re.MULTILINE)
    assert len(shown) == 4
    for line in shown:
        assert isinstance(_ROOT.parse_args(line.split()[1:]), argparse.Namespace)
