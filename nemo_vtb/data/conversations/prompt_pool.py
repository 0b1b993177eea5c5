"""Instruction wordings for recognition and translation, drawn per utterance and epoch.

A wording may say what its answer looks like, and the answer then follows it: an instruction that asks for no
punctuation is answered without. One that asks for punctuation or capitals is only drawn where the text has them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from string import Formatter
from typing import Any

from nemo_vtb.config import check_keys
from nemo_vtb.data.conversations.target_text import has_capitals, has_punctuation, without_punctuation
from nemo_vtb.data.files.notes import Note, note
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.row_forms.languages import base_language, language_name, language_tag, lower, spellings
from nemo_vtb.data.row_forms.visible import has_text
from nemo_vtb.errors import VTBError
from nemo_vtb.options import Key
from nemo_vtb.paths import config_dir

TASKS = ("asr", "ast")
POOL_KEYS = {
    "asr": Key("a section", "Wordings by language of the audio; ``any`` fits all."),
    "ast": Key("a section", "Wordings by language of the translation, or by pair as in en-de."),
    "languages": Key("a section", "Names of languages, by the language they are written in."),
}


def stable_hash(*parts: object) -> int:
    """Returns the same 64-bit number for the same parts in every process and on every machine."""
    return int.from_bytes(blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True)
class Wording:
    """One way to ask.

    Attributes:
        say: The instruction.
        punctuation: Whether the answer is punctuated; None leaves it as the data has it.
        capitals: Whether the answer has upper case; None leaves it as the data has it.
    """

    say: str
    punctuation: bool | None = None
    capitals: bool | None = None

    def answer(self, text: str, language: str | None = None) -> str:
        """Returns the text as the instruction asks for it.

        Args:
            text: The answer as the data has it.
            language: Its tag, for lower case.
        """
        if self.punctuation is False:
            text = without_punctuation(text)
        return lower(text, language) if self.capitals is False else text


def pick(wordings: Sequence[Wording], task: str, name: str, epoch: int) -> Wording:
    """Returns the wording of one sample in one epoch; always the same one."""
    return wordings[stable_hash(task, name, epoch) % len(wordings)]


class PromptPool:
    """Wordings by task and language.

    Args:
        path: A YAML file with ``asr``, ``ast`` and ``languages``, or the name of a shipped one.

    Raises:
        VTBError: If the file cannot be read, lacks a section, or holds a wording that cannot be used.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        from omegaconf import OmegaConf

        self.path = _locate(path)
        pool: Mapping[str, Any] = OmegaConf.to_container(OmegaConf.load(self.path))  # type: ignore[assignment]
        if not isinstance(pool, Mapping):
            raise VTBError(f"{self.path}: a prompt pool has the sections asr, ast and languages")
        check_keys(pool, POOL_KEYS, str(self.path))
        for section in POOL_KEYS:
            if section not in pool:
                raise VTBError(f"{self.path}: section '{section}' is missing")
        if not all(isinstance(names, Mapping) for names in pool["languages"].values()):
            raise VTBError(f"{self.path}: languages holds tables of names: languages: {{any: {{en: English}}}}")
        self._languages = {_key(key): {_key(of): name for of, name in names.items()}
                           for key, names in pool["languages"].items()}  # fmt: skip
        self._said: dict[tuple[str, str], Note | None] = {}
        self._known: dict[tuple[str, str | None, str | None], list[Wording]] = {}
        self._fitting: dict[tuple[str, str | None, str | None, bool, bool], list[Wording]] = {}
        self._wordings = {
            task: {_key(key): [self._wording(w, f"{task}.{key}") for w in listed] for key, listed in pool[task].items()}
            for task in TASKS
        }

    def wordings(self, task: str, source: str | None, target: str | None = None) -> list[Wording]:
        """Returns every wording for a task: those for any language, for the answer's language, and for a pair.

        Sections are found by a tag with or without its region and script; where none fits, English ones ask. Wordings
        that name a language are left out where the data does not say which it is.
        """
        if (task, source, target) not in self._known:
            own: dict[str, str] = {}
            for tag in _spelled(source if task == "asr" else target):
                own |= {tag: tag} | {f"{other}-{tag}": "en" for other in _spelled(source)}
            found = list(self._filled(task, {"any": "en", **own}, source, target))
            found = found or list(self._filled(task, {"en": "en"}, source, target))
            self._known[task, source, target] = found
        if (language := source if task == "asr" else target) is not None:
            if (task, language) not in self._said:
                self._said[task, language] = self._worth_saying(task, language)
            if (said := self._said[task, language]) is not None:
                note(*said)
        return self._known[task, source, target]

    def _filled(
        self, task: str, sections: Mapping[str, str], source: str | None, target: str | None
    ) -> Iterator[Wording]:
        """The wordings of sections, each with the language that it is written in."""
        for key, written_in in sections.items():
            fill = {"source": self._name(source, key, written_in), "target": self._name(target, key, written_in)}
            for wording in self._wordings[task].get(key, ()):
                if all(fill[slot] is not None for slot in _slots(wording.say)):
                    yield replace(wording, say=wording.say.format(**fill))

    def _worth_saying(self, task: str, language: str) -> Note | None:
        name = self._name(language)
        if name == language and language_name(language) is None:
            return Note("unknown language", f"nobody knows the name of the language '{language}'")
        if base_language(language) != "en" and not any(key in self._wordings[task] for key in _spelled(language)):
            said = f"{self.path.name} has no {task} wordings in {name} ({language}): English ones ask"
            return Note("no wordings", said)
        return None

    def fitting(self, task: str, text: str, source: str | None, target: str | None = None) -> list[Wording]:
        """Returns the wordings that a text can follow: punctuation and capitals can be taken from it, not added.

        A text of nothing but punctuation follows none that asks for no punctuation: nothing of it would be left.

        Args:
            task: ``asr`` or ``ast``.
            text: The answer as the data has it.
            source: Language of the audio, or None where nobody knows.
            target: Language of a translation.

        Raises:
            BadRow: If there is none.
        """
        punctuation, capitals = has_punctuation(text), has_capitals(text, source if task == "asr" else target)
        wordings, kept = self.wordings(task, source, target), (task, source, target, punctuation, capitals)
        if (fitting := self._fitting.get(kept)) is None:
            fitting = self._fitting[kept] = [
                wording
                for wording in wordings
                if (punctuation or not wording.punctuation) and (capitals or not wording.capitals)
            ]
        if not fitting:
            raise BadRow(
                "no fitting prompt", f"{self.path} has no {task} wording for {source}, {target}: {text[:60]!r}"
            )
        wordless = punctuation and not any(map(str.isalnum, text)) and has_text(text)
        if wordless and not has_text(without_punctuation(text)):
            fitting = [wording for wording in fitting if wording.punctuation is not False]
            if not fitting:
                raise BadRow("nothing supervised", f"the text holds no word, and no wording keeps {text[:60]!r}")
        return fitting

    def _name(self, language: str | None, key: str = "any", written_in: str = "en") -> str | None:
        """The name of a language as a section writes it: the pool's own one, else Unicode's, else the tag."""
        if language is None:
            return None
        tables = {name: self._languages.get(name, {}) for name in (key, written_in, "any")}
        pooled = {name: next((t[tag] for tag in _spelled(language) if tag in t), None) for name, t in tables.items()}
        there = language_name(language, written_in) if written_in != "en" else None
        return pooled[key] or pooled[written_in] or there or pooled["any"] or language_name(language) or language

    def _wording(self, entry: Any, where: str) -> Wording:
        if isinstance(entry, str):
            entry = {"say": entry}
        if not isinstance(entry, Mapping) or not isinstance(entry.get("say"), str):
            raise VTBError(f"{self.path}: {where}: a wording is a text, or {{say: TEXT, punctuation: …, capitals: …}}")
        check_keys(entry, [field.name for field in fields(Wording)], f"{self.path}: {where}")
        if unknown := set(_slots(entry["say"])) - {"source", "target"}:
            raise VTBError(f"{self.path}: {where}: '{entry['say']}' names {sorted(unknown)}; known: source, target")
        for key in ("punctuation", "capitals"):
            if entry.get(key) not in (None, True, False):
                raise VTBError(f"{self.path}: {where}.{key} must be true or false, not {entry[key]!r}")
        return Wording(entry["say"], entry.get("punctuation"), entry.get("capitals"))


def _key(key: Any) -> str:
    return (language_tag(key) or str(key)).lower().replace("_", "-")


def _spelled(language: str | None) -> list[str]:
    return [_key(tag) for tag in spellings(language)] if language is not None else []


def _slots(say: str) -> Iterator[str]:
    try:
        yield from (name for _, name, _, _ in Formatter().parse(say) if name is not None)
    except ValueError as error:
        raise VTBError(f"the wording '{say}' has an odd brace: {error}") from error


def _locate(path: str | Path | None) -> Path:
    shipped = config_dir() / "prompts" / f"{path or 'default'}.yaml"
    if path is None or (shipped.is_file() and not Path(path).suffix):
        return shipped
    if not Path(path).is_file():
        names = ", ".join(sorted(file.stem for file in (config_dir() / "prompts").glob("*.yaml")))
        raise VTBError(f"no prompt pool at {path}; shipped ones: {names}")
    return Path(path)
