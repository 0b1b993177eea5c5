"""Sentences a telephone system might say, written by an LLM that continues lists of the corpus's training prompts.

The prompts that people read (``asterisk_prompts``) come from one domain, which open text hardly touches. What is close
to a held-out prompt is left out by the rule that split the corpus.
"""

import json
import re
from difflib import SequenceMatcher
from pathlib import Path
from random import Random

from tqdm import tqdm

from said.open_sentences import clean_sentence
from said.words import MIN_WORDS, NEAR_DUPLICATE, word_list

_INTRODUCTION = "Lines that a telephone system and its voice mail say to callers:\n"
_SHOWN, _BATCH, _TOKENS = 6, 48, 96


def phone_sentences(manifest: Path, llm: str, count: int, seed: int) -> list[str]:
    """Writes ``count`` distinct sentences.

    Args:
        manifest: Of the prompts, with ``lang``, ``split`` and ``text``.
        llm: Asset name, folder or hub id of the LLM.
        count: How many are wanted.
        seed: Of the draws.
    """
    from nemo_vtb.inference.llms.hugging_face import HuggingFaceLLM
    from nemo_vtb.inference.llms.interface import Sampling

    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["lang"] == "en"]
    shown = [row["text"] for row in rows if row["split"] == "train" and len(row["text"].split()) <= 20]
    held_out = [word_list(row["text"]) for row in rows if row["split"] != "train"]
    writer, rng = HuggingFaceLLM(llm, batch_size=_BATCH), Random(seed)
    kept: dict[str, None] = {}
    with tqdm(total=count, unit="sentence") as bar:
        while len(kept) < count:
            lists = ["".join(f"- {text}\n" for text in rng.sample(shown, _SHOWN)) for _ in range(_BATCH)]
            how = [Sampling(_TOKENS, temperature=0.9, top_p=0.95, seed=rng.getrandbits(31)) for _ in lists]
            replies = writer.complete([_INTRODUCTION + text + "-" for text in lists], how)
            for reply in replies:
                for line in re.split(r"\n- ?", reply.text)[:-1]:
                    sentence = clean_sentence(line)
                    if sentence and sentence not in shown and not _near(word_list(sentence), held_out):
                        kept[sentence] = None
            bar.update(min(len(kept), count) - bar.n)
    return list(kept)[:count]


def _near(words: list[str], held_out: list[list[str]]) -> bool:
    """Whether a sentence shares the corpus's limit of words in order with a held-out text, or stands within one."""
    return any(
        SequenceMatcher(None, words, other, autojunk=False).ratio() >= NEAR_DUPLICATE
        or (len(words) >= MIN_WORDS and f" {' '.join(words)} " in f" {' '.join(other)} ")
        for other in held_out
    )
