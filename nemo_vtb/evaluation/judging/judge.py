"""An LLM as the judge of answers to questions about recordings, after the paper's protocol.

An answer is correct or not, and one that only copies the recording is not; its redundancy, from 1 to 10, says how much
of it nobody asked for. What needs no judgement, code decides: copies and empty answers never reach the LLM.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from tqdm import tqdm

from nemo_vtb.evaluation.judging.prompts import LEAST, MOST, SCHEMA, Case, JudgePrompt, load_judge_prompt, shortened
from nemo_vtb.evaluation.scoring.metrics import normalise
from nemo_vtb.inference.llms.interface import LLM, Sampling

# From this likeness on, of their words in order, an answer is a copy.
_COPY = 0.9
_TOKENS = 32
_AT_A_TIME = 64
_SHOWN = 80


@dataclass(frozen=True)
class Verdict:
    """What is said of an answer.

    Attributes:
        correct: 0 or 1.
        redundancy: 1 to 10.
        by: ``rule`` or ``llm``.
    """

    correct: int
    redundancy: int
    by: str = "llm"


@dataclass(frozen=True)
class NoVerdict:
    """A reply of the judge that is none; ``why`` in words."""

    why: str


class Judge:
    """Judges cases.

    Args:
        prompt: How it is asked.
        llm: Who is asked.
        described: What reports say of the LLM; its name where nothing is given.
    """

    def __init__(self, prompt: JudgePrompt, llm: LLM, described: Mapping[str, Any] | None = None) -> None:
        self.prompt, self._llm = prompt, llm
        self._described = described or {"model": llm.name}

    def about(self) -> dict[str, Any]:
        """Who judges and how it is asked, for reports."""
        prompt = {key: getattr(self.prompt, key) for key in ("name", "version", "sha256")}
        return {"llm": dict(self._described), "prompt": prompt}

    def verdicts(self, cases: Sequence[Case]) -> list[Verdict | NoVerdict]:
        """Judges greedily, in order.

        Raises:
            VTBError: If the LLM cannot be asked.
        """
        found: list[Verdict | NoVerdict | None] = [ruled(case) for case in cases]
        open_ = [place for place, verdict in enumerate(found) if verdict is None]
        if told := shortened([cases[place] for place in open_]):
            from nemo.utils import logging

            logging.warning(f"nemo_vtb: {told}")
        how = Sampling(max_tokens=_TOKENS, schema=SCHEMA)
        with tqdm(total=len(open_), unit="verdict", desc="judge", disable=not open_) as bar:
            for start in range(0, len(open_), _AT_A_TIME):
                part = open_[start : start + _AT_A_TIME]
                asked = [self.prompt.conversation(cases[place]) for place in part]
                for place, reply in zip(part, self._llm.chat(asked, [how] * len(part)), strict=True):
                    found[place] = read_verdict(reply.text)
                bar.update(len(part))
        return [verdict for verdict in found if verdict is not None]


def open_judge(prompt_file: str, section: Mapping[str, Any]) -> Judge:
    """Opens the judge that a config names.

    Args:
        prompt_file: One of ``conf/eval/prompts``, or a path.
        section: ``llm``, as ``open_llm`` reads it.

    Raises:
        VTBError: On a prompt that cannot be used, or an LLM that cannot be had.
    """
    from nemo_vtb.inference.llms.choose import LLMOptions, open_llm

    prompt = load_judge_prompt(prompt_file)
    described = {key.removeprefix("llm."): value for key, value in LLMOptions.read(section).deciding().items()}
    return Judge(prompt, open_llm(section), described)


def ruled(case: Case) -> Verdict | None:
    """Returns the verdict where none is needed: on empty answers, and on copies of the recording; else None."""
    # Whisper's normaliser leaves nothing of what stands in brackets, as (B) does.
    if not any(map(str.isalnum, case.answer)):
        return Verdict(0, LEAST, "rule")
    right = case.alternatives or (case.reference,)
    if copies(case.answer, case.transcript) and not any(copies(one, case.transcript) for one in right):
        return Verdict(0, MOST, "rule")
    return None


def copies(text: str, transcript: str) -> bool:
    """Whether a text is the transcript, but for a word in ten, case and punctuation."""
    words, heard = normalise(text).split(), normalise(transcript).split()
    return bool(words) and SequenceMatcher(None, words, heard, autojunk=False).ratio() >= _COPY


def read_verdict(text: str) -> Verdict | NoVerdict:
    """Reads a reply; a server need not have held it to the schema."""
    import jsonschema

    try:
        reply = json.loads(text)
        jsonschema.validate(reply, SCHEMA)
    except (ValueError, RecursionError):
        return NoVerdict(f"no JSON: {_shown(text)}")
    except jsonschema.ValidationError as error:
        where = "".join(f"{key}: " for key in error.path)
        return NoVerdict(f"{where}{error.message[:_SHOWN]} in {_shown(text)}")
    return Verdict(int(reply["correct"]), int(reply["redundancy"]))


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
