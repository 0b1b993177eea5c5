"""What the documentation says to type: commands in Markdown and in the headers of configs, from the files."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(?P<fence>```+)(?P<language>\w*)\n(?P<text>.*?)^(?P=fence) *$", re.MULTILINE | re.DOTALL)
_HEADER_COMMAND = re.compile(r"^# {3,}(?=(?:vtb|python|make|torchrun|nemo) )")
_TYPED = ("bash", "sh", "shell", "python")
# Pages that python tutorials/reference writes.
REFERENCE = tuple(f"reference{end}.md" for end in ("", "_training", "_data", "_measuring", "_making_data"))
# Says of a config that it is a part of others.
NOT_ALONE = "ot to be run by itself"


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        path: Of the file, from the root.
        line: Of its first line in the file.
        language: After the fence.
        text: Inside.
    """

    path: str
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command with its continuation lines.

    Attributes:
        path: Of the file, from the root.
        line: Where it begins.
        text: As written, comment included.
    """

    path: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        """Its words, without comment, background sign, and whatever stands after a pipe or a redirection."""
        words = shlex.split(self.text.partition("<<")[0].replace("\\\n", " "), comments=True)
        ends = [place for place, word in enumerate(words) if word in ("&", "|", ">", ";", "&&")]
        return words[: ends[0]] if ends else words

    @property
    def typed(self) -> str:
        """Without comment and continuations."""
        return (
            self.text if "<<" in self.text else shlex.join(shlex.split(self.text.replace("\\\n", " "), comments=True))
        )

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}"


def markdown_files() -> list[Path]:
    """All Markdown of the repository, and no one else's."""
    return [
        *sorted(ROOT.glob("*.md")),
        *sorted((ROOT / "tutorials").glob("*.md")),
        *sorted(ROOT.glob("examples/**/*.md")),
    ]


def config_files() -> list[Path]:
    return sorted((ROOT / "conf").rglob("*.yaml"))


def blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    return [
        Block(
            str(path.relative_to(ROOT)), text[: found.start("text")].count("\n") + 1, found["language"], found["text"]
        )
        for found in _FENCE.finditer(text)
    ]


def prose(path: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def header(path: Path) -> str:
    """The comment lines that a config opens with."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line)
    return "\n".join(lines)


def header_block(path: Path) -> Block:
    """The commands of a config's header: comment lines indented by three and more, with their continuations."""
    kept: list[str] = []
    goes_on = False
    for line in header(path).splitlines():
        goes_on = goes_on or bool(_HEADER_COMMAND.match(line))
        kept.append(line.lstrip("# ") if goes_on else "")
        goes_on = goes_on and line.endswith("\\")
    return Block(str(path.relative_to(ROOT)), 1, "bash", "\n".join(kept) + "\n")


def command_blocks() -> list[Block]:
    """Every block of commands: of all Markdown, then of all config headers that have one."""
    pages = [block for path in markdown_files() for block in blocks(path) if block.language in _TYPED]
    configs = [block for path in config_files() if (block := header_block(path)).text.strip()]
    return pages + configs


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block, one after another."""
    if block.language == "python":
        yield Command(block.path, block.line, f"python - <<'END'\n{block.text}END")
        return
    begun: list[str] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        if not begun and (not line.strip() or line.lstrip().startswith("#")):
            continue
        begun.append(line)
        if not line.endswith("\\"):
            yield Command(block.path, number - len(begun) + 1, "\n".join(begun).strip())
            begun = []
