"""Questions about open sentences whose answers follow from the words, so that code can check them.

Asked is for one word of the sentence by its place, whether a word stood in it, whether it was a question, and how it
went on.
"""

import re
from random import Random

_FIRST = ("What is the first word?", "Which word comes first?", "Tell me the first word that is said.")
_LAST = ("What is the last word?", "Which word comes last?", "Tell me the last word that is said.")
_AFTER = ("Which word comes after '{}'?", "What is said right after '{}'?", "Tell me the word that follows '{}'.")
_BEFORE = ("Which word comes before '{}'?", "What is said right before '{}'?", "Tell me the word in front of '{}'.")
_WHETHER = (
    "Is the word '{}' said? Answer yes or no.",
    "Do you hear '{}'? Answer yes or no.",
    "Does the speaker say '{}'? Answer yes or no.",
)
_ASKS = ("Does the speaker ask something? Answer yes or no.", "Is that a question? Answer yes or no.")
_REST = ("It begins '{}'. How does it go on?", "Finish what is said: '{}'", "After '{}', what else is said?")
_SHORTEST = 4


def open_question(sentence: str, others: list[str], rng: Random) -> tuple[str, str]:
    """Draws a question about a sentence, and its answer.

    Args:
        sentence: What a clip says.
        others: Sentences that lend the words that were not said.
        rng: Source of randomness.
    """
    words = _words(sentence)
    once = [i for i, word in enumerate(words) if words.count(word) == 1]
    inner = {"after": [i for i in once if i < len(words) - 1], "before": [i for i in once if i > 0]}
    kinds = ["first", "last", "whether", "asks", *(kind for kind, found in inner.items() if found)]
    kind = rng.choice([*kinds, *(["rest"] if len(words) >= _SHORTEST else [])])
    if kind in inner:
        place = rng.choice(inner[kind])
        asked, step = (_AFTER, 1) if kind == "after" else (_BEFORE, -1)
        return rng.choice(asked).format(words[place]), words[place + step]
    if kind == "whether":
        said = rng.random() < 0.5
        # Of one sentence too, so that the length of a word does not tell whether it was said.
        missing = [word for word in _words(rng.choice(others)) if word not in words] if others else []
        said = said or not missing
        long = sorted(words if said else missing, key=len)[-3:]
        return rng.choice(_WHETHER).format(rng.choice(long)), "yes" if said else "no"
    if kind == "asks":
        return rng.choice(_ASKS), "yes" if sentence.endswith("?") else "no"
    if kind == "rest":
        cut = rng.randint(2, len(words) - 2)
        return rng.choice(_REST).format(" ".join(words[:cut])), " ".join(words[cut:])
    return rng.choice(_FIRST if kind == "first" else _LAST), words[0 if kind == "first" else -1]


def question_rows(manifest: list[dict], seed: int) -> list[dict]:
    """Conversations about every open sentence of a manifest, one question each, before the clip or after it."""
    rows, rng = [], Random(seed)
    asked_of = [row for row in manifest if row["split"] in ("train_open", "dev") and _words(row["text"])]
    sentences = [row["text"] for row in asked_of if row["split"] == "train_open"]
    for row in asked_of:
        question, answer = open_question(row["text"], sentences, rng)
        clip = {"from": "User", "type": "audio", "value": row["audio_filepath"], "duration": row["duration"]}
        turns = [clip | {"text": row["text"]}, {"from": "User", "type": "text", "value": question}]
        said = turns if rng.random() < 0.5 else turns[::-1]
        name = row["audio_filepath"].rpartition("/")[2].partition(".")[0]
        answered = {"from": "Assistant", "type": "text", "value": answer}
        rows.append({"id": f"open/{name}", "conversations": [*said, answered], "split": row["split"]})
    return rows


def _words(sentence: str) -> list[str]:
    return re.findall(r"[a-z0-9'-]+", sentence.lower())
