"""Why a generated turn is unfit for training."""

import re
from collections import Counter

from nemo_vtb.synthesis.language import is_other_language

_META = re.compile(
    r"smollm|hugging ?face|chatgpt|openai|\bqwen|alibaba cloud|language model|\bas an ai\b|ai assistant|chatbot"
    r"|system prompt|user message|\bthe user\b|here to (help|assist)|i'm ready to|https?:|www\."
    r"|\b(previous|above|following|this) (\w+ )?(query|question|message|response|answer)\b",
    re.IGNORECASE,
)


def text_fault(text: str, language: str = "en") -> str | None:
    """Returns the name of what makes a turn of either side unfit, or ``None``.

    ``empty`` has no letter or digit, ``special_token`` shows markup of a template, ``code`` holds a code block,
    ``layout`` an open quotation, ``meta`` talks about the chat itself, ``language`` is not mostly letters and digits,
    those of ASCII for English, or surely in another language, ``repetition`` loops.

    Args:
        text: The turn.
        language: ISO 639-1 code of the wanted one.
    """
    solid = re.sub(r"\s", "", text)
    wanted = [char for char in solid if char.isalnum() and (language != "en" or char.isascii())]
    if not wanted:
        return "language" if solid and not solid.isascii() else "empty"
    if re.search(r"<\|?\w+\|?>", text):
        return "special_token"
    if "```" in text:
        return "code"
    if text.count('"') % 2:
        return "layout"
    if _META.search(text):
        return "meta"
    if language == "en" and sum(char.isascii() for char in solid) < 0.97 * len(solid):
        return "language"
    if len(wanted) < 0.7 * len(solid) or is_other_language(text, language):
        return "language"
    return "repetition" if is_looping(text) else None


def is_looping(text: str) -> bool:
    """Tells whether words run in a loop: one word four times on end, three words three times, or six words twice."""
    words = re.findall(r"\w+", text.lower())
    if re.search(r"\b(\w+)( \1){3}\b", " ".join(words)):
        return True
    return any(
        max(Counter(zip(*(words[i:] for i in range(length)), strict=False)).values(), default=0) >= times
        for length, times in ((3, 3), (6, 2))
    )
