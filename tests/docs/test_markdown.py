"""What the documentation names exists: links, files, modules, commands, config keys; its figures are the JSON's."""

import argparse
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from documents import (
    NOT_ALONE,
    REFERENCE,
    ROOT,
    Command,
    blocks,
    command_blocks,
    commands,
    config_files,
    header,
    header_block,
    markdown_files,
    prose,
)
from known_keys import known

from nemo_vtb import cli
from nemo_vtb.config import compose

_PAGES = markdown_files()
_COMMANDS = [command for block in command_blocks() for command in commands(block)]
_VTB = [command for command in _COMMANDS if command.words[:1] == ["vtb"]]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_PLACES = ("conf/", "examples/", "nemo_vtb/", "tests/", "tutorials/", "results/", ".ci/")
_SUFFIX = re.compile(r"\.(py|md|ipynb|ya?ml|jsonl?|sbatch|toml|png|css)$")
# Shown as what is refused.
_WRONG = ("trainer.max_step",)
# Made by runs, or by whoever reads.
_MADE = re.compile(
    r"^(runs/|mine\.yaml|eval\.json|report\.json|card\.html|judgement\.jsonl|length\.json|held_out\.jsonl"
    r"|conversations\.jsonl|bank\.jsonl|open_speech/|train/replay\.jsonl|salm_\w+\.py|to_hf\.py|[a-z]\.jsonl|/)"
)


def _ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", _PAGES, ids=_ids)
def test_links_lead_somewhere(path: Path):
    lost = [target for target in _LINK.findall(prose(path)) if not _leads(path, target)]
    assert not lost


def _leads(page: Path, target: str) -> bool:
    if target.startswith(("http://", "https://", "mailto:")):
        return True
    name, _, anchor = target.partition("#")
    found = (page.parent / name).resolve() if name else page
    if not found.exists():
        return False
    return not anchor or anchor in {_slug(line) for line in prose(found).splitlines() if line.startswith("#")}


def _slug(heading: str) -> str:
    words = re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower())
    return words.strip().replace(" ", "-")


@pytest.mark.parametrize("path", [path for path in _PAGES if path.name not in REFERENCE], ids=_ids)
def test_files_named_in_prose_exist(path: Path):
    lost = []
    for code in _CODE.findall(prose(path)):
        named = code.strip()
        if re.search(r"[\s*{}=<>|@]", named) or _MADE.search(named):
            continue
        if (_SUFFIX.search(named) and ":" not in named) or named.startswith(_PLACES):
            places = (ROOT, path.parent, ROOT / "examples" / "benchmarks")
            if not any((place / named).exists() for place in places) and not list(ROOT.glob(f"*/**/{named}")):
                lost.append(named)
    assert not lost


def _texts() -> Iterator[tuple[Path, str]]:
    for pattern in (
        "*.md",
        "tutorials/*",
        "examples/**/*.md",
        "examples/**/*.py",
        "conf/**/*.yaml",
        "nemo_vtb/**/*.py",
    ):
        for path in sorted(ROOT.glob(pattern)):
            if path.suffix in (".md", ".ipynb", ".py", ".yaml"):
                yield path, path.read_text(encoding="utf-8")


def test_modules_that_are_named_exist():
    lost = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in _texts()
        for name in re.findall(r"(?<![\w./-])nemo_vtb(?:\.[A-Za-z_]\w*)+", text)
        if not _is_there(name)
    ]
    assert not lost


def _is_there(name: str) -> bool:
    """Whether a dotted name is a module, or stands in the module that is the longest part of it."""
    parts = name.split(".")
    place = ROOT
    for number, part in enumerate(parts):
        if (place / part).is_dir():
            place = place / part
            continue
        module = place / f"{part}.py"
        if module.exists():
            text = module.read_text(encoding="utf-8")
            return number == len(parts) - 1 or re.search(rf"\b{parts[number + 1]}", text) is not None
        files = [place / "__init__.py", *place.glob(f"{part}.*")]
        return any(
            file.suffix != ".py" or re.search(rf"\b{part}\b", file.read_text()) for file in files if file.exists()
        )
    return True


def test_the_tree_of_the_readme_is_the_tree():
    tree = next(block.text for block in blocks(ROOT / "README.md") if "nemo_vtb/" in block.text and not block.language)
    named: set[str] = set()
    for line in tree.splitlines():
        names = re.match(r"( *)((?:[\w.]+/ )*[\w.]+/)(?: |$)", line)
        assert names, line
        folder = ROOT / "nemo_vtb" if names[1] else ROOT
        for name in names[2].split():
            assert (folder / name).is_dir(), name
            named |= {name.rstrip("/")} if names[1] else set()
    rooms = {path.parent.name for path in (ROOT / "nemo_vtb").glob("*/__init__.py")}
    assert rooms <= named, f"rooms that the tree leaves out: {rooms - named}"


def test_the_readme_fits_two_screens():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180


def test_examples_of_additions_are_short():
    # tests/docs/test_documented_commands.py runs them.
    found = [block.text.splitlines() for block in blocks(ROOT / "CONTRIBUTING.md") if block.language == "python"]
    assert len(found) == 5 and max(map(len, found)) <= 40


def test_every_config_opens_with_the_command_that_runs_it():
    silent = [
        str(path.relative_to(ROOT))
        for path in config_files()
        if not list(commands(header_block(path))) and NOT_ALONE not in header(path)
    ]
    assert not silent


@pytest.mark.parametrize("command", _VTB, ids=lambda command: command.where)
def test_arguments_are_read_and_the_config_composes(command: Command):
    assert not [word for word in command.words if word == "..."]
    _check(command.words[1:])


def _check(words: list[str]) -> None:
    """Reads arguments with the parser of the command, and composes the config that they name.

    Raises:
        SystemExit: From argparse.
        VTBError: From Hydra.
    """
    args, rest = cli.parser().parse_known_args(words)
    if words[0] == "launch":
        assert rest[0] == "--"
        if rest[1] == "vtb":
            _check([word for word in rest[2:] if "{part}" not in word])
        return
    if words[0] in ("lm-eval", "lmms-eval", "assets"):
        return
    given = [word for word in [*rest, *getattr(args, "files", [])] if "=" in word or word.startswith("~")]
    unknown = [word for word in rest if word not in given or word.startswith("--")]
    assert not unknown, f"nobody reads {unknown}"
    if getattr(args, "config_name", None):
        compose(args.config_name, given, getattr(args, "config_dir", None))


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(actions[0].choices) if actions else {}


def test_commands_and_options_named_in_prose_exist():
    lost = []
    for path in _PAGES:
        for code in _CODE.findall(prose(path)):
            if re.match(r"vtb [a-z]", code):
                parser = cli.parser()
                words = code.split()[1:]
                while words and (choices := _subcommands(parser)):
                    name = words.pop(0)
                    if name not in choices:
                        lost.append(f"{path.name}: {code}")
                        break
                    parser = choices[name]
                options = {word.partition("=")[0] for word in words if word.startswith("--") and word != "--"}
                if not code.startswith(("vtb lm-eval", "vtb lmms-eval")):
                    lost += [f"{path.name}: {code}" for _ in options - set(parser._option_string_actions)]
    assert not lost


def test_config_keys_named_in_prose_exist():
    lost = []
    for path in _PAGES:
        for code in _CODE.findall(prose(path)):
            key = re.match(r"^[~+]*([a-z]\w*(?:\.[a-z]\w*)+)(?:=.*|: .*)?$", code)
            if key and key[1] not in _WRONG and known(key[1]) is False:
                lost.append(f"{path.name}: {code}")
    assert not lost


def _leaves(section: Any, where: str = "") -> Iterator[str]:
    if isinstance(section, dict):
        for key, value in section.items():
            yield from _leaves(value, f"{where}.{key}" if where else str(key))
    else:
        yield where


@pytest.mark.parametrize("path", _PAGES, ids=_ids)
def test_keys_of_yaml_blocks_exist(path: Path):
    found = [yaml.safe_load(block.text) for block in blocks(path) if block.language == "yaml"]
    assert [key for section in found for key in _leaves(section) if known(key) is False] == []


def test_tables_of_keys_name_keys_with_their_defaults():
    from nemo_vtb.models.options import StepOptions

    rows = re.findall(r"^\| `(.+?)` \|.*\| (.+?) \|$", _table_under("key under `model`"), re.MULTILINE)
    assert len(rows) >= 9
    spelled = {"none": (), "off": False}
    for names, said in rows:
        said = said.strip("`")
        for name in names.replace("`", "").split(", "):
            default = getattr(StepOptions, name)
            assert spelled.get(said, said) == default or float(said) == default, name


def _table_under(head: str) -> str:
    text = (ROOT / "tutorials" / "step_options.md").read_text(encoding="utf-8")
    return text[text.index(head) :].partition("\n\n")[0]


@pytest.fixture(scope="module")
def tables() -> Iterator[Any]:
    folder = ROOT / "examples" / "benchmarks"
    spec = importlib.util.spec_from_file_location("figure_tables", folder / "tables.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_tables_of_figures_are_those_of_the_json(tables: Any):
    for path in _PAGES:
        text = path.read_text(encoding="utf-8")
        assert tables.filled(text) == text, (
            f"run python examples/benchmarks/tables.py: {path.relative_to(ROOT)} differs"
        )


def test_every_template_is_shown_once(tables: Any):
    shown = [name for path in _PAGES for name in tables.names(path.read_text(encoding="utf-8"))]
    assert sorted(shown) == sorted(path.stem for path in (ROOT / "examples" / "benchmarks" / "tables").glob("*.jinja"))


# Written and checked by other code: a model card, tables of studies and of arithmetic on scaling, the reference.
_OTHERS = (
    *REFERENCE,
    "examples/checkpoint/README.md",
    "results/study/study.md",
    "results/study_qwen/study.md",
    "results/study_short/study.md",
    "slurm/SCALING.md",
)
# The last are written by the script that is named, between two such lines.
_MARK = re.compile(
    r"<!-- ((figures|no figures): .+|(adapters|encoders) matrix: examples/support_matrix_adapters\.py) -->$"
)


@pytest.mark.parametrize("path", [path for path in _PAGES if not str(path).endswith(_OTHERS)], ids=_ids)
def test_every_table_of_figures_says_where_they_come_from(path: Path):
    text, unmarked = path.read_text(encoding="utf-8"), []
    for found in re.finditer(r"(?:^\|.*\n)+", text, re.MULTILINE):
        cells = [cell.strip(" *") for row in found[0].splitlines()[2:] for cell in row.strip("|").split("|")[1:]]
        figures = [cell for cell in cells if re.match(r"^[−–-]?[\d.,]+( ?(%|s|MB|GB|h|points))?( \[.*)?$", cell)]
        if len(figures) > 1 and not _MARK.search(text[: found.start()].rstrip("\n").rpartition("\n")[2]):
            unmarked.append(found[0].splitlines()[0])
    assert not unmarked, "say <!-- figures: NAME --> above the table and write tables/NAME.jinja"


def test_shell_words_of_commands_can_be_read():
    for command in _COMMANDS:
        assert shlex.split(command.text, comments=True), command.where
