"""How an LLM is asked for questions and answers about a recording, and what it may reply."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.llms.untrusted import quoted
from nemo_vtb.paths import config_dir
from nemo_vtb.prompt_files import read_prompts
from nemo_vtb.synthesis.qa.recordings import Recorded


@dataclass(frozen=True)
class Pair:
    """A question and its answer; one that the recording does not answer comes without.

    Attributes:
        question: About the recording.
        answer: Empty where the recording does not tell.
    """

    question: str
    answer: str = ""


@dataclass
class Example:
    """A transcript and a good reply to it.

    Attributes:
        transcript: Of a recording.
        pairs: Questions about it with their answers.
    """

    transcript: str
    pairs: list[Pair]


@dataclass(frozen=True)
class QAPrompt:
    """A file of ``conf/synth/prompts/qa``.

    Attributes:
        version: Named by every row.
        instruction: Opens the conversation.
        ask: Behind every transcript; ``{language}`` is the name of the wanted language.
        examples: Stand between the two, as exchanges that went before.
        pairs: Most questions that are asked for at a time.
        dialogue: Whether several make one conversation, rather than one each.
        extractive: Whether answers are to stand in the transcript word by word.
        refusals: Language codes with wordings of "the recording does not tell". With them, questions are asked for that
            the recording does not answer.
        name: Of the file.
        sha256: Of the file.
    """

    version: str
    instruction: str
    ask: str
    examples: list[Example]
    pairs: int = 1
    dialogue: bool = False
    extractive: bool = False
    refusals: dict[str, list[str]] = field(default_factory=dict)
    name: str = ""
    sha256: str = ""

    def conversation(self, transcript: str, language: str, most: int) -> list[dict[str, str]]:
        """Returns what the LLM is to answer.

        Some chat templates have no system role, so all stands in turns of the two others.

        Args:
            transcript: Whatever somebody wrote.
            language: The wanted one's name.
            most: Most characters of the transcript.
        """
        turns = []
        for example in self.examples:
            turns.append(("user", f"{quoted(example.transcript, most)}\n{self.ask.replace('{language}', 'English')}"))
            turns.append(("assistant", self._reply(example.pairs)))
        turns.append(("user", f"{quoted(transcript, most)}\n{self.ask.replace('{language}', language)}"))
        turns[0] = ("user", f"{self.instruction.strip()}\n\n{turns[0][1]}")
        return [{"role": role, "content": content} for role, content in turns]

    @cached_property
    def schema(self) -> dict[str, Any]:
        """JSON schema of a reply."""
        pair = _object({name: {"type": "string"} for name in self._parts})
        if self.pairs == 1:
            return pair
        return _object({"pairs": {"type": "array", "items": pair, "minItems": 1, "maxItems": self.pairs}})

    def parse(self, text: str) -> list[Pair]:
        """Reads a reply.

        Raises:
            ValueError: If it does not follow the schema.
        """
        import jsonschema

        try:
            reply = json.loads(text)
            jsonschema.validate(reply, self.schema)
        except jsonschema.ValidationError as error:
            raise ValueError(error.message) from error
        except RecursionError as error:
            raise ValueError("brackets nested a thousandfold") from error
        return [
            Pair(*(str(pair[name]).strip() for name in self._parts))
            for pair in (reply["pairs"] if self.pairs > 1 else [reply])
        ]

    @property
    def _parts(self) -> tuple[str, ...]:
        return ("question",) if self.refusals else ("question", "answer")

    def _reply(self, pairs: Sequence[Pair]) -> str:
        written = [{name: getattr(pair, name) for name in self._parts} for pair in pairs]
        return json.dumps({"pairs": written} if self.pairs > 1 else written[0], ensure_ascii=False)


@dataclass
class Asked:
    """A recording in the making of its questions."""

    id: str
    recorded: Recorded
    prompt: QAPrompt
    language: str
    rng: Random


@dataclass(frozen=True)
class CheckPrompt:
    """``conf/synth/prompts/qa_check``: how pairs are checked by asking the LLM once more.

    Attributes:
        version: Of the file.
        blind: Asks ``{question}`` without the recording.
        heard: Asks ``{question}`` behind the transcript.
        unknown: What is to be replied where the recording does not tell.
        sha256: Of the file.
    """

    version: str
    blind: str
    heard: str
    unknown: str
    sha256: str = ""

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of a reply."""
        return _object({"answer": {"type": "string"}})


def load_prompt(name: str) -> QAPrompt:
    """Reads a shipped file by its name, or one by its path.

    Raises:
        VTBError: If there is no such file, or it holds what cannot be used.
    """
    prompt = read_prompts(QAPrompt, name, "synth/prompts/qa", "prompt_files")
    where = f"prompt_files: {name}"
    if not prompt.examples or prompt.pairs < 1:
        raise VTBError(f"{where}: a prompt has at least one example, and asks for at least one pair")
    if prompt.refusals and (prompt.pairs > 1 or not prompt.refusals.get("en")):
        raise VTBError(f"{where}: refusals go with one pair, and have wordings in English (en)")
    if any(not 1 <= len(example.pairs) <= prompt.pairs for example in prompt.examples):
        raise VTBError(f"{where}: every example has 1 to {prompt.pairs} pairs")
    return prompt


def load_check() -> CheckPrompt:
    """Reads how pairs are checked."""
    return read_prompts(CheckPrompt, "default", "synth/prompts/qa_check", "filters.second_pass")


def language_names() -> dict[str, str]:
    """Names of languages in English, by code."""
    from omegaconf import OmegaConf

    pool: Any = OmegaConf.load(config_dir() / "prompts" / "default.yaml")
    return dict(pool.languages.any)


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
