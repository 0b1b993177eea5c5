"""English sentences to speak: chat, questions to a bank, word problems, encyclopedia and web text.

They come from the packaged asset ``english-texts`` (``nemo_vtb.assets``) and are used, not shipped.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from said.words import english_words

_SPEAKABLE = re.compile(r"[A-Za-z0-9 ,.'?!-]+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'])|\n+")
_WORDS = range(3, 19)
_LARGEST_NUMBER = 100
_PLAIN = str.maketrans({"’": "'", "‘": "'", "“": None, "”": None, '"': None, "–": "-", "—": ",", "…": "."})


def open_sentences(folder: Path, count: int, seed: int) -> list[str]:
    """Draws distinct sentences, those with the rarest words first, then in random order.

    Args:
        folder: The asset's folder.
        count: How many are wanted; fewer come back when the texts have no more.
        seed: Of the draw.
    """
    sentences = sorted({s for source in raw_sentences(folder).values() for s in source})
    frequency = Counter(word for sentence in sentences for word in english_words(sentence))
    rng = Random(seed)
    rng.shuffle(sentences)
    seen: Counter[str] = Counter()
    chosen = []
    # Words that stand twice or more in the texts are wanted twice before anything else: open vocabulary needs breadth.
    for sentence in sorted(sentences, key=lambda s: min(frequency[word] for word in english_words(s))):
        if len(chosen) >= count // 2:
            break
        if any(frequency[word] > 1 and seen[word] < 2 for word in english_words(sentence)):
            chosen.append(sentence)
            seen.update(set(english_words(sentence)))
    rest = set(chosen)
    chosen += [sentence for sentence in sentences if sentence not in rest][: count - len(chosen)]
    rng.shuffle(chosen)
    return chosen


def of_known_licence(folder: Path, sentences: list[str]) -> set[str]:
    """Those sentences that stand in a text whose licence is known: nobody knows those of the web pages.

    They are taken out of what ``open_sentences`` drew, not before: clips are named by the draw.
    """
    known = set().union(*(found for name, found in raw_sentences(folder).items() if name != "webtext"))
    return known.intersection(sentences)


def raw_sentences(folder: Path) -> dict[str, set[str]]:
    """The sentences that can be spoken, by where they come from; the asset's folder is given."""
    return {name: {s for s in map(clean_sentence, texts) if s is not None} for name, texts in _raw(folder).items()}


def _raw(folder: Path) -> dict[str, Iterator[str]]:
    chats = json.loads((folder / "chitchat.json").read_text(encoding="utf-8")).values()

    def split(name: str, text: Callable[[dict], str]) -> Iterator[str]:
        return (s for row in rows_of(folder / f"{name}.jsonl") for s in _SENTENCE_END.split(text(row)))

    return {
        "chitchat": (message["text"] for chat in chats for turn in chat["messages"] for message in turn),
        "gsm8k": split("gsm8k", lambda row: row["question"]),
        "banking77": split("banking77", lambda row: row["input"][-1]["content"]),
        "wikipedia": split("wikipedia", lambda row: row["0"]),
        "webtext": split("webtext", lambda row: row["0"]),
    }


def rows_of(path: Path) -> Iterator[dict]:
    """The rows of a JSONL file."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def clean_sentence(text: str) -> str | None:
    """A sentence with a capital and a full stop, or None where a voice would stumble."""
    text = " ".join(text.translate(_PLAIN).split())
    words = text.split()
    if (
        not {len(words), len(english_words(text))} <= set(_WORDS)
        or not _SPEAKABLE.fullmatch(text)
        or ".." in text
        or "  " in text
    ):
        return None
    if any(int(number) > _LARGEST_NUMBER or number.startswith("0") for number in re.findall(r"\d+", text)):
        return None
    if any(
        re.search(r"\d[^\s,.?!]|[^\s]\d|[a-z][A-Z]|[A-Z]{2}|(.)\1\1|\.\w", word) and not word.isdigit()
        for word in words
    ):
        return None
    text = re.sub(r"\bi\b", "I", text)
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".?!" else f"{text.rstrip(',-')}."
