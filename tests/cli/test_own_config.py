"""``vtb config cp``: a copy keeps its comments, opens with its command, and that command takes the copy."""

import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nemo_vtb.cli import main, parser
from nemo_vtb.cli.own_config.shipped import ShippedConfig, read_shipped, shipped_names
from nemo_vtb.config import compose

_RUN_OR_CHOSEN = [name for name in shipped_names() if read_shipped(name).alone]
_OF_CONFIGS = [name for name in _RUN_OR_CHOSEN if "prompts" not in name.split("/")]
_GROUPS = ("lora", "blend", "model", "data", "trainer", "cluster", "vtb")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def _copied(name: str, to: str) -> tuple[Path, list[str]]:
    """Where the copy is, and the commands of its header."""
    assert main(["config", "cp", name, to]) == 0
    return Path(to), ShippedConfig("", Path(to).read_text(encoding="utf-8")).commands


def _composed(command: str) -> object:
    """The config that a ``vtb`` command composes, of another command behind ``--``."""
    words = shlex.split(command)
    words = words[words.index("--") + 1 :] if "--" in words else words
    args, rest = parser().parse_known_args(words[1:])
    return compose(args.config_name, [word for word in rest if "=" in word or word[0] == "~"], args.config_dir)


@pytest.mark.parametrize("name", _OF_CONFIGS)
def test_every_command_of_a_copy_takes_the_copy(name: str):
    shipped = read_shipped(name)
    group = name.partition("/")[0] if name.split("/")[0] in _GROUPS and "/" in name else ""
    path, commands = _copied(name, f"own/{group}/mine.yaml" if group else "own/mine.yaml")
    text = path.read_text(encoding="utf-8")
    comments = [line for line in shipped.text.splitlines() if "#" in line and not line.startswith("#  ")]
    assert [line for line in text.splitlines() if "#" in line and not line.startswith("#  ")] == comments
    ran = [(before, now) for before, now in zip(shipped.commands, commands, strict=True) if now != before]
    assert ran, "no command of its header takes the copy"
    # A key that only the copy has.
    package = next((line.split()[-1] for line in text.splitlines() if line.startswith("# @package")), "_global_")
    path.write_text(f"{text}only_in_the_copy: 1\n", encoding="utf-8")
    for _, command in ran:
        words = shlex.split(command)
        assert "--config-dir=own" in words, command
        if "salm_" in command:
            assert "=mine" in command
            continue
        if "oc.env:VTB_" in text:
            # What a job's script sets.
            assert "+cluster=mine" in command
            continue
        where = "" if package == "_global_" else f"{package}."
        assert OmegaConf.select(_composed(command), f"{where}only_in_the_copy") == 1, command


def test_a_copy_of_prompts_is_chosen_by_its_path():
    _, commands = _copied("synth/prompts/text/small", "mine.yaml")
    assert commands == [
        "vtb synth text out=runs/replay llm.model=served tokenizer=smollm2-135m-instruct prompt_file=mine.yaml"
    ]


def test_without_a_name_the_copy_has_the_configs_own(capsys):
    assert main(["config", "cp", "eval/quickstart"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "eval_quickstart.yaml" and Path(said[0]).is_file()
    assert said[1].startswith("vtb eval runs/quickstart/last.ckpt --config-dir=. --config-name=eval_quickstart")
    assert main(["config", "cp", "lora/r16"]) == 0
    assert Path("lora/r16.yaml").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["quickstrat"], "no shipped config is called quickstrat: did you mean quickstart?"),
        (["eval/common"], "eval/common is a part of other configs"),
        (["quickstart", "there.yaml"], "there.yaml is there already: name another file, or remove it"),
        (
            ["lora/r16", "mine"],
            "a file of the group lora stands in a folder of that name: vtb config cp lora/r16 lora/",
        ),
        (["quickstart", "there.yaml/mine.yaml"], "there.yaml"),
    ],
)
def test_what_cannot_be_copied_is_one_line(words: list[str], said: str, capsys):
    Path("there.yaml").write_text("mine: 1\n")
    assert main(["config", "cp", *words]) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1
    assert Path("there.yaml").read_text() == "mine: 1\n"


def test_list_names_every_config_with_what_it_is_for(capsys):
    assert main(["config", "list"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == shipped_names() and all(lines.values())


def test_show_prints_the_file_as_it_is(capsys):
    assert main(["config", "show", "quickstart"]) == 0
    assert capsys.readouterr().out == read_shipped("quickstart").text
