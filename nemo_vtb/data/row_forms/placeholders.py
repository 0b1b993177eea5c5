"""Places in a text where a clip is heard, in the words of many families, and those where a picture would be seen."""

import re
from typing import NamedTuple

from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.row_forms.fields import names_clip_file

# NeMo's share_gpt reader knows <sound> and <speech>, ms-swift and LLaMA-Factory <audio>; the others are those of the
# processors of Qwen, Granite, Ultravox and GLM, Phi, SALMONN, Voxtral, Gemma and MiniCPM.
_PLACEHOLDER = re.compile(
    r"<\|audio_(?:bos|start)\|>(?:<\|(?:AUDIO|audio_pad)\|>)*<\|audio_(?:eos|end)\|>|<\|AUDIO\|>|<\|audio_pad\|>"
    r"|<\|begin_of_audio\|>(?:<\|audio\|>)*<\|end_of_audio\|>|<\|audio\|>|<\|audio_(?P<number>\d{1,3})\|>"
    r"|<Speech><SpeechHere></Speech>|<SpeechHere>|(?:\[BEGIN_AUDIO\])?\[AUDIO\]|<audio_soft_token>"
    r"|\(<audio>\./</audio>\)"
    r"|<audio>(?P<audio>[^<>\n]*)</audio>|<sound>(?P<sound>[^<>\n]*)</sound>|<speech>(?P<speech>[^<>\n]*)</speech>"
    r"|<(?:sound|speech|audio|AUDIO)>"
)
_PICTURE = re.compile(
    r"<(?:image|video)>|<\|(?:image|video)(?:_\d{1,3}|_pad)?\|>|<\|vision_(?:start|bos)\|>|<start_of_image>|\[IMG\]"
)
# A recording in a form that nobody reads: <wav>a.wav</wav>, <audio src="a.wav">, ![speech](a.wav).
_UNKNOWN = re.compile(
    r"(?i:(?:<[a-z_]+>\s*|<[a-z][^<>]{0,99}=[\"']?|\]\()"
    r"(?P<name>[^\s<>()\"'=|]{1,999}\.(?:wav|flac|mp3|ogg|opus|m4a))(?=[\s<>)\"'/]))"
)
_BARE = re.sub(r"\?P<\w+>", "?:", f"{_PLACEHOLDER.pattern}|{_PICTURE.pattern}")
_ANY = re.compile(rf"(?=[<\[(\]])(?:{_BARE}|{_UNKNOWN.pattern})")
# A tag alone on the first or the last line, as LLaVA and NeMo write it; HTML closes what it opens.
_TAGGED_LINE = re.compile(rf"\A\s*(?:{_BARE})[ \t]*(?:\n|\Z)|\n[ \t]*(?:{_BARE})\s*\Z")


class Placeholder(NamedTuple):
    """A place where a clip is heard.

    Attributes:
        start: Of its characters in the text.
        end: Behind its last character.
        path: The recording that it names, or an empty text.
        number: Its number, from 1, where it has one.
    """

    start: int
    end: int
    path: str
    number: int | None


def find_placeholders(text: str) -> list[Placeholder]:
    """Returns the places of a text where clips are heard, in their order."""
    found = []
    for match in _PLACEHOLDER.finditer(text):
        groups = match.groupdict()
        number = groups.pop("number")
        path = next((path for path in groups.values() if path), "").strip()
        found.append(Placeholder(*match.span(), path, int(number) if number else None))
    return found


def check_words(text: str, literal: bool = False) -> str:
    """Returns words of a user that stand for themselves.

    Args:
        text: What is between placeholders.
        literal: Whether it is the text of a row without clips, which may talk of anything.

    Raises:
        BadRow: If a picture would be seen in them, or a recording heard that is named as nobody reads it.
    """
    if not holds_tag(text):
        return text
    if literal:
        return _check_lines(text)
    if picture := _PICTURE.search(text):
        raise BadRow("other media", f"{picture[0]} in the text: images and videos cannot be learnt")
    if unknown := _UNKNOWN.search(text):
        raise BadRow(
            "clip in text", f"the text names the recording {unknown['name'][:80]!r} in a form that nobody reads"
        )
    return text


def check_said(text: str, literal: bool, instead: str) -> str:
    """Returns words of a user in a row whose clips, if it has any, stand outside of its texts.

    Args:
        text: All of what the user writes there.
        literal: As of ``check_words``.
        instead: Where the row's type has its clips.

    Raises:
        BadRow: As ``check_words``, or if the words wait for a clip or are the name of one.
    """
    if names_clip_file(text):
        raise BadRow("clip in text", f"the user's words are the name of a recording: {text.strip()[:80]!r}; {instead}")
    for found in find_placeholders(text) if holds_tag(text) else ():
        if not literal or names_clip_file(found.path):
            tag = text[found.start : found.end]
            raise BadRow("clip in text", f"the user's words hold {tag[:80]!r}, for which nothing is heard; {instead}")
    return check_words(text, literal)


def holds_tag(text: str) -> bool:
    """Whether words hold a place for a clip or a picture; of most texts two characters tell that they do not."""
    return ("<" in text or "]" in text) and _ANY.search(text) is not None


def _check_lines(text: str) -> str:
    """Refuses a text that waits for what its row does not have: the tag of it stands alone on a line."""
    if (alone := _TAGGED_LINE.search(text)) is None:
        return text
    tag = alone[0].strip()
    # A tag that is closed, there or further on, is markup around words.
    closed = any(found.path for found in find_placeholders(tag)) or "</" in text[: alone.start()] + text[alone.end() :]
    if not closed:
        reason = "other media" if _PICTURE.match(tag) else "clip in text"
        raise BadRow(reason, f"{tag} stands alone on a line, and the row names nothing to be heard or seen there")
    return text
