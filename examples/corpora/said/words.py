"""The words of a text, and when two texts are too near to one another for different splits."""

import re

MIN_WORDS = 4
NEAR_DUPLICATE = 0.85  # share of common words in order, both texts of MIN_WORDS or more


def word_list(text: str) -> list[str]:
    """Lower-case words of any language without punctuation; a lone dash or slash is no word."""
    return [word for word in re.sub(r"[^\w\s'’]", " ", text.lower()).split() if any(map(str.isalnum, word))]


def english_words(sentence: str) -> list[str]:
    """Lower-case words and numbers of an English sentence."""
    return re.findall(r"[a-z0-9']+", sentence.lower())
