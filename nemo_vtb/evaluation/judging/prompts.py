"""What a judge LLM is given about an answer to a question about a recording."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.llms.untrusted import plain
from nemo_vtb.prompt_files import read_prompts

# The scale of the paper's judge.
LEAST, MOST = 1, 10
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "correct": {"type": "integer", "enum": [0, 1]},
        "redundancy": {"type": "integer", "minimum": LEAST, "maximum": MOST},
    },
    "required": ["correct", "redundancy"],
    "additionalProperties": False,
}
_PARTS = ("transcript", "question", "reference", "answer")
# Of each part; far more than a recording of half a minute says, and fit for small windows.
_CHARACTERS = 4000


@dataclass(frozen=True)
class Case:
    """An answer to be judged.

    Attributes:
        id: Names it in messages.
        transcript: What is said in the recording.
        question: What was asked about it.
        reference: The right answer, or several as the judge reads them.
        answer: The one that is judged.
        alternatives: Several right answers one by one; empty where the reference is one.
    """

    id: str
    transcript: str
    question: str
    reference: str
    answer: str
    alternatives: tuple[str, ...] = ()


@dataclass
class Example:
    """A case with what a good judge says of it.

    Attributes:
        transcript: Of a recording.
        question: About it.
        reference: The right answer.
        answer: What is judged.
        correct: 1 if it is right, else 0.
        redundancy: From 1, to the point, to 10.
    """

    transcript: str
    question: str
    reference: str
    answer: str
    correct: int
    redundancy: int


@dataclass(frozen=True)
class JudgePrompt:
    """A file of ``conf/eval/prompts``.

    Attributes:
        version: Named by every report.
        instruction: Opens the conversation.
        ask: Behind every case.
        examples: Stand between the two, as exchanges that went before.
        name: Of the file.
        sha256: Of the file.
    """

    version: str
    instruction: str
    ask: str
    examples: list[Example]
    name: str = ""
    sha256: str = ""

    def conversation(self, case: Case) -> list[dict[str, str]]:
        """Returns what the judge is to answer.

        Some chat templates have no system role, so all stands in turns of the two others. What others wrote stands on
        one line between tags that cannot stand in it.
        """
        turns = []
        for example in self.examples:
            scores = {"correct": example.correct, "redundancy": example.redundancy}
            turns += [("user", self._asked(example)), ("assistant", json.dumps(scores))]
        turns.append(("user", self._asked(case)))
        turns[0] = ("user", f"{self.instruction.strip()}\n\n{turns[0][1]}")
        return [{"role": role, "content": content} for role, content in turns]

    def _asked(self, case: Case | Example) -> str:
        parts = [f"<{name}>{plain(getattr(case, name), _CHARACTERS)}</{name}>" for name in _PARTS]
        return "\n".join([*parts, self.ask])


def shortened(cases: Sequence[Case]) -> str:
    """Says of how many cases the judge reads a part not to its end; empty where it reads all."""
    cut = {name: sum(len(getattr(case, name)) > _CHARACTERS for case in cases) for name in _PARTS}
    told = ", ".join(f"{count} {name}{'s' * (count > 1)}" for name, count in cut.items() if count)
    return f"the judge reads the first {_CHARACTERS:,} characters alone of {told}" if told else ""


def load_judge_prompt(name: str) -> JudgePrompt:
    """Reads a shipped file by its name, or one by its path.

    Raises:
        VTBError: If there is no such file, or it holds what cannot be used.
    """
    prompt = read_prompts(JudgePrompt, name, "eval/prompts", "prompt_file")
    for number, example in enumerate(prompt.examples):
        check_scores(example.correct, example.redundancy, f"prompt_file={name}: examples.{number}")
    return prompt


def check_scores(correct: Any, redundancy: Any, where: str) -> None:
    """Refuses scores that are off their scales.

    Raises:
        VTBError: Names the place.
    """
    if type(correct) is not int or correct not in (0, 1):
        raise VTBError(f"{where}: correct is {correct!r}; it is 0 or 1")
    if type(redundancy) is not int or not LEAST <= redundancy <= MOST:
        raise VTBError(f"{where}: redundancy is {redundancy!r}; it is a whole number from {LEAST} to {MOST}")
