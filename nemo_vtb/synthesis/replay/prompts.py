"""What an LLM is given while it writes the user's side of a chat."""

from dataclasses import dataclass, field

from nemo_vtb.errors import VTBError
from nemo_vtb.prompt_files import read_prompts


@dataclass(frozen=True)
class ReplayPrompts:
    """A file of ``conf/synth/prompts/text``.

    Attributes:
        version: Named by every row.
        system: System prompt while user turns are written, with ``{category}``; None for none.
        one_sentence: Whether a user turn ends with its first sentence.
        openings: What the first user turn of each category may begin with; without any, the LLM begins it.
        follow_ups: The same of later user turns.
        requests: Odds of what is put at the end of a user turn.
        classify: Asks the LLM for the category of ``{text}``; None leaves it at the drawn one.
        labels: The categories it may answer with.
        sha256: Of the file.
    """

    version: str
    system: str | None = None
    one_sentence: bool = False
    openings: dict[str, list[str]] = field(default_factory=dict)
    follow_ups: list[str] = field(default_factory=list)
    requests: dict[str, float] = field(default_factory=dict)
    classify: str | None = None
    labels: list[str] = field(default_factory=list)
    sha256: str = ""

    def check(self, categories: list[str], where: str) -> None:
        """Sees whether conversations of these categories can be had.

        Raises:
            VTBError: Names the category or the key.
        """
        if not self.openings and self.classify is None:
            raise VTBError(f"{where}: without openings nor classify, nobody knows a conversation's category")
        known = list(self.openings) if self.openings else self.labels
        if not categories or (unknown := [name for name in categories if name not in known]):
            wrong = f"{unknown[0]!r} is not among" if categories else "is empty; there are"
            raise VTBError(f"categories: {wrong} those of {where}: {', '.join(known)}")
        if any(not openings for openings in self.openings.values()):
            raise VTBError(f"{where}: openings: a category without first words")


def load_prompts(name: str) -> ReplayPrompts:
    """Reads a shipped file by its name, or one by its path.

    Raises:
        VTBError: If there is no such file, or it holds what cannot be used.
    """
    return read_prompts(ReplayPrompts, name, "synth/prompts/text", "prompt_file")
