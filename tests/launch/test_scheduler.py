"""A scheduler's program that is silent, missing or unwilling ends in one sentence."""

import sys

import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.launch.scheduler import answer_of


def test_what_a_program_prints_is_its_answer():
    assert answer_of(["cat"], script="a job\n") == "a job\n"


@pytest.mark.parametrize(
    "command, why",
    [
        (["sleep", "60"], "sleep said nothing for 0 s"),
        (["no-such-slurm"], "no-such-slurm is not on this machine: run this on a login node, or load Slurm's module"),
        ([sys.executable, "-c", "raise SystemExit('no account')"], "fails: no account"),
        (["false"], "false fails: exit code 1, without a word"),
    ],
)
def test_one_that_says_nothing_of_use_is_named_with_the_reason(command, why):
    with pytest.raises(VTBError, match=why):
        answer_of(command, seconds=0.3 if command[0] == "sleep" else 30)
