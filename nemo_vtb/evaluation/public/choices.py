"""Reading a choice out of free words: a letter, an option's words, a yes or no, a refusal."""

import re
from collections.abc import Mapping, Sequence

_LETTER = r"[\(\[\*\"'（]*([A-J])[\)\]\*\"'.:）]*"
# Most telling first: what announces an answer goes before a letter that merely stands at the start.
_ANNOUNCED = re.compile(
    r"(?:answer|option|choice|choose|select|pick|correct(?: one)?)\b(?:\s+(?:is|would be|should be|seems to be|"
    rf"option|answer|choice|letter))*\s*:?\s*{_LETTER}(?![A-Za-z'’])",
    re.IGNORECASE,
)
_ANNOUNCED_ZH = re.compile(
    rf"(?:答案|选项|选择|选)\s*(?:应该|应当|应)?\s*(?:是|为|选)?\s*[:：]?\s*(?:选项)?\s*{_LETTER}(?![A-Za-z'’])"
)
_FIRST = re.compile(rf"^\W*{_LETTER}(?:\s*$|[\)\]\.:,。，、：）]|\s+[-–])", re.MULTILINE)
_BRACKETS = re.compile(r"\(([A-J])\)")
_IS = re.compile(rf"{_LETTER}\s+is\s+(?:the\s+)?(?:correct|right|best|answer)")
_REFUSALS = re.compile(
    r"\b(?:i(?:'m| am) (?:really |very |so )?(?:sorry|unable|not able|not comfortable)|i apologi[sz]e|my apologies|"
    r"i (?:can(?:'t|not)|could not|couldn't|won't|will not|must decline|do not|don't) "
    r"(?:assist|help|provide|support|create|generate|offer|fulfil|comply|do that|give|write|condone|encourage)|"
    r"as an? (?:ai|language model|responsible)|(?:is|it's) (?:illegal|unethical|not (?:ethical|appropriate|legal|ok))|"
    r"against (?:my|the) (?:guidelines|programming|principles|policy|policies|law))",
    re.IGNORECASE,
)


def letter_of(reply: str, options: Mapping[str, str] | None = None) -> str | None:
    """The letter of the option that a reply names, or None.

    Args:
        reply: Free words.
        options: Text of each letter, by which a reply that names no letter is read: the only option whose words stand
            in it.
    """
    for pattern in (_ANNOUNCED, _ANNOUNCED_ZH, _FIRST, _IS):
        if found := pattern.findall(reply):
            # A letter in lower case after "option" is one; after "answer is" the article "a" is none.
            letters = [letter for letter in found if letter.isupper()]
            if letters:
                return letters[-1] if pattern in (_ANNOUNCED, _ANNOUNCED_ZH) else letters[0]
    bracketed = set(_BRACKETS.findall(reply))
    if len(bracketed) == 1:
        return bracketed.pop()
    said = f" {plain(reply)} "
    named = [letter for letter, text in (options or {}).items() if plain(text) and f" {plain(text)} " in said]
    return named[0] if len(named) == 1 else None


def right_letter(reference: str, options: Mapping[str, str]) -> str:
    """The letter that a reference names: ``B``, ``(b)``, ``B. the words``, or the words of an option alone.

    Raises:
        ValueError: If it names none.
    """
    named = [letter for letter, text in options.items() if plain(text) and plain(text) == plain(reference)]
    if len(named) == 1:
        return named[0]
    if found := re.match(r"[\W_]*([A-Ja-j])(?![A-Za-z])", reference):
        return found[1].upper()
    raise ValueError(f"the reference {reference[:60]!r} names no letter of an option")


def names_one(reply: str, answer: str, choices: Sequence[str]) -> bool:
    """MMAU's rule: all words of the answer stand in the reply, and no word that only another choice has."""
    said = set(re.findall(r"\b\w+\b", reply.lower()))
    wanted = set(re.findall(r"\b\w+\b", answer.lower()))
    others: set[str] = set()
    for choice in choices:
        if choice.lower() != answer.lower():
            others |= set(re.findall(r"\b\w+\b", choice.lower())) - wanted
    return bool(said) and wanted <= said and not said & others


def last_named(reply: str, options: Sequence[str]) -> str | None:
    """Of some words and phrases the one that stands last in a reply, a longer one before its part; None if none."""
    said, best = f" {plain(reply)} ", (-1, 0, "")
    for option in map(plain, options):
        place = said.rfind(f" {option} ")
        if place >= 0:
            best = max(best, (place + len(option), len(option), option))
    return best[2] or None


def refuses(reply: str) -> bool:
    """Whether a reply says that it will not help."""
    return _REFUSALS.search(reply.replace("’", "'")) is not None


def plain(text: str) -> str:
    """Words in lower case, a space between them."""
    return " ".join(re.findall(r"\w+", text.lower()))
