"""What a target looks like when an instruction asks for it: with or without punctuation, with or without capitals."""

import unicodedata


def has_punctuation(text: str) -> bool:
    """Returns whether a text is punctuated; apostrophes and hyphens inside words do not count."""
    return without_punctuation(text) != " ".join(text.split())


def has_capitals(text: str) -> bool:
    """Returns whether a text has upper case; all of it in upper case, as old transcripts have it, does not count."""
    return text != text.lower() and text != text.upper()


def without_punctuation(text: str) -> str:
    """Removes punctuation and joins words by single spaces.

    Apostrophes and hyphens between letters stay (don't, twenty-one), as does what stands between digits (3.5, 10:30).
    """
    kept = []
    for index, character in enumerate(text):
        if unicodedata.category(character).startswith("P"):
            before, after = text[index - 1 : index], text[index + 1 : index + 2]
            inside_word = character in "'’-‐‑" and before.isalnum() and after.isalnum()
            inside_number = character in ".,:/" and before.isdigit() and after.isdigit()
            kept.append(character if inside_word or inside_number else " ")
        else:
            kept.append(character)
    return " ".join("".join(kept).split())
