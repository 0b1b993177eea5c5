"""What becomes of the fields of a row: read, harmless, refused because they change what the row means, or reported."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.row_forms.values import is_empty

# Nothing reads these, and nothing is lost by that.
HARMLESS = frozenset((
    # whose row it is, and where it comes from
    *("id", "uid", "uuid", "key", "utt_id", "utterance_id", "conversation_id", "idx", "index", "name", "author"),
    *("source", "dataset", "dataset_name", "corpus", "category", "task", "taskname", "domain", "topic", "subset"),
    *("split", "license", "url_source", "created_at", "timestamp", "model", "orig_audio_filepath", "ori_sound"),
    # NeMo's chat SFT, its manifests and prompt slots, its tars
    *("canonical_form", "label", "type", "_skipme", "shard_id", "pnc", "itn", "diarize", "decodercontext", "emotion"),
    *("pred_text", "wer", "cer", "score", "num_channels", "orig_sr", "dur", "num_samples"),
    # who speaks, as Common Voice, FLEURS and VoxPopuli say it
    *("speaker", "speaker_id", "client_id", "gender", "sex", "age", "accent", "accents", "locale", "variant"),
    *("up_votes", "down_votes", "segment", "sentence_id", "raw_transcription", "normalized_text", "lang_id"),
    # OpenAI and the exports of chat programs
    *("refusal", "annotations", "logprobs", "finish_reason", "markdown", "metadata", "meta", "detail", "cache_control"),
    # how the shipped corpora were made
    *("speed", "form", "slots", "spanish", "voice", "written", "spoken"),
    # a clip as `datasets` keeps it
    *("path", "format", "sampling_rate"),
))  # fmt: skip
# Harmless names of which some reader looks at the value.
_LOOKED_AT = frozenset("label _skipme num_channels dur num_samples sampling_rate".split())
# Travels with the conversation as it is.
_CARRIED = ("custom",)

_MEANING = {
    "tool turn": "tools functions function tool_calls tool_call function_call tool_call_id tool_choice tool_responses "
    "available_tools tool_results",
    "other media": "image images image_url image_path image_paths img pixel_values picture pictures video videos "
    "video_url video_path video_paths frames objects",
    "reasoning": "reasoning reasoning_content reasoning_details thinking thinking_blocks thought thoughts rationale "
    "chain_of_thought cot think",
}
# Pictures under these names are lists; a number counts samples, or what is seen by nobody.
_COUNTED = ("frames", "objects")
_REFUSED = {name: reason for reason, names in _MEANING.items() for name in names.split()}
_WHY = {
    "tool turn": "calls of tools cannot be learnt",
    "other media": "images and videos cannot be learnt",
    "reasoning": "reasoning apart from the answer cannot be learnt",
}
# Fields that are words, or hold messages, which are looked at one by one.
_WORDS = frozenset(
    "messages conversations content value text transcript question answer translation system system_prompt context "
    "sentence transcription normalized_text raw_text".split()
)
_KNOWN = HARMLESS | _WORDS
# What is refused by no name of a field.
_SAFE = "safe"
_DEPTH = 3
# Names of fields are few; a file with names of its own in every row shall not be kept in memory.
_NAMES_KEPT = 4096
_PICTURE = re.compile(r"(?i)^(data:(image|video)/|\S{1,1000}\.(png|jpe?g|gif|webp|bmp|tiff?|mp4|mkv|avi|mov|webm)$)")
_CLIP = re.compile(r"(?i)^(data:audio/|\S{1,1000}\.(wav|wave|flac|mp3|ogg|oga|opus|m4a|aac|wma|aiff?|sph|amr|au)$)")
_CLIP_KEY = re.compile(
    r"^((\w+_)?(audio|audios|sound|sounds|speech|wav|wavs|wave|mp3|flac|clip|clips|recording|recordings|input_audio)"
    r"(_?(path|paths|file|files|filepath|filepaths|filename|filenames|url|urls|uri|bytes|base64|array|data|list))?)$"
)


class Tracked(dict):
    """An object of a row that remembers which of its fields were read; what is nested in it does likewise."""

    def __init__(self, pairs: Any = ()) -> None:
        super().__init__(pairs)
        if isinstance(pairs, list) and len(pairs) > len(self):
            twice = [key for key, value in pairs if value != dict.get(self, key)]
            if twice:
                raise BadRow("broken JSON", f"broken JSON: {twice[0]!r} stands twice, with different values")
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """As of a dict."""
        self.read.add(key)
        return super().get(key, default)

    def read_all(self) -> None:
        """Says that somebody has read everything in it."""
        self.read.update(self)
        for value in self.values():
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, Tracked):
                    item.read_all()


def unread(row: Tracked, inside: str = "") -> Iterator[str]:
    """Yields the fields that nobody has read and that might matter: ``weather``, ``messages[].mood``."""
    for key, value in row.items():
        # A false or a 0 may switch something off.
        if key in _CARRIED or (is_empty(value) and (value not in (False, 0) or normal(key) in _REFUSED)):
            continue
        if key not in row.read:
            if normal(key) not in HARMLESS:
                yield f"{inside}{key}"
            continue
        nested, name = (value, f"{key}[].") if isinstance(value, list) else ([value], f"{key}.")
        for item in nested:
            if isinstance(item, Tracked):
                yield from unread(item, inside + name)


@lru_cache(maxsize=_NAMES_KEPT)
def normal(key: str) -> str:
    """Returns a field's name as the tables have it: ``Tool-Calls`` is ``tool_calls``."""
    spread = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(key)) if not str(key).isupper() else str(key)
    return spread.strip().lower().replace("-", "_").replace(" ", "_")


def check_meaning(fields: Mapping[str, Any]) -> None:
    """Refuses fields that change what a row means and that cannot be obeyed.

    Raises:
        BadRow: Names the field.
    """
    for key, value in fields.items():
        if key in _CARRIED or (_meant(key) is _SAFE) or is_empty(value):
            continue
        reason = _meant(key)
        if normal(key) in _COUNTED and isinstance(value, (int, float)):
            continue
        if reason is None and _looks(value, _PICTURE):
            reason = "other media"
        if reason is not None:
            raise BadRow(reason, f"the field '{key}': {_WHY[reason]}")


@lru_cache(maxsize=_NAMES_KEPT)
def _meant(key: str) -> str | None:
    """Why a field of this name is refused; ``_SAFE`` where it never is, None where that hangs on what stands in it."""
    name = normal(key)
    return _REFUSED.get(name, _SAFE if name in _KNOWN or _CLIP_KEY.match(name) else None)


@lru_cache(maxsize=_NAMES_KEPT)
def is_inert(key: str) -> bool:
    """Whether a field of this name changes nothing and is missed by nobody, whatever text or number stands in it."""
    harmless = normal(key) in HARMLESS and key not in _LOOKED_AT
    return harmless and _meant(key) is _SAFE and _named_for(key) is False


def clip_fields(fields: Mapping[str, Any]) -> list[str]:
    """Returns the fields that name a clip, by what they are called or by what stands in them."""
    return [key for key, value in fields.items() if _named_for(key) is not False and _names_clip(key, value)]


def names_clip_file(text: str) -> bool:
    """Whether a text is nothing but the name of a recording."""
    return _CLIP.match(text.strip()) is not None


@lru_cache(maxsize=_NAMES_KEPT)
def _named_for(key: str) -> bool | None:
    """Whether a field of this name holds clips; None where that hangs on what stands in it."""
    name = normal(key)
    if key in _CARRIED:
        return False
    return True if _CLIP_KEY.match(name) else False if name in _KNOWN else None


def _names_clip(key: str, value: Any) -> bool:
    if is_empty(value) or isinstance(value, (bool, int, float)):
        return False
    return _named_for(key) or _looks(value, _CLIP)


def _looks(value: Any, pattern: re.Pattern[str], depth: int = 0) -> bool:
    if isinstance(value, str):
        return pattern.match(value.strip()) is not None
    inner = value[:64] if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    return depth < _DEPTH and any(_looks(item, pattern, depth + 1) for item in inner)
