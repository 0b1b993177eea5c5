"""Sentences of a text, each with its place in it."""


def sentences(text: str, language: str = "en") -> list[tuple[int, int]]:
    """Splits a text where sentences and paragraphs end.

    Args:
        text: Any text.
        language: ISO 639-1 code; abbreviations differ between languages.

    Returns:
        ``(start, end)`` characters of each sentence, white space around it left out. What holds no letter or digit is
        no sentence.
    """
    from sentencex import segment

    found = []
    start = 0
    for part in segment(language, text):
        end = start + len(part)
        if any(character.isalnum() for character in part):
            found.append((start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())))
        start = end
    return found
