"""What a row looks like: the data type that would read it, and the kind it would be used as."""

from collections.abc import Mapping
from typing import Any

from nemo_vtb.data.audio.tables import CELL
from nemo_vtb.data.row_forms.fields import names_clip_file
from nemo_vtb.data.row_forms.languages import base_language, language_tag
from nemo_vtb.data.row_forms.placeholders import find_placeholders

# Types of which each row is an utterance: what is asked about it is up to the kind.
UTTERANCES = (
    "nemo",
    "nemo_tarred",
    "parquet",
    "lhotse",
    "lhotse_shar",
    "lhotse_as_conversation",
    "sqa_as_conversation",
)
_CLIP_CELL = frozenset((CELL, "bytes", "array"))
_ANSWERS = ("assistant", "gpt", "model")


def type_of(row: Mapping[str, Any], in_table: bool = False) -> str | None:
    """Returns the data type that reads a row; None where it looks like none.

    Args:
        row: The row.
        in_table: Whether it is one of a parquet or Arrow file, whose cells hold recordings.
    """
    if "audio_filepath" in row:
        return "nemo"
    if "recording" in row or "tracks" in row:
        return "lhotse"
    if "messages" in row or row.keys() & {"audios", "sound", "ori_sound"}:
        return "share_gpt"
    turns = row.get("conversations")
    if isinstance(turns, dict) or (isinstance(turns, str) and turns.lstrip().startswith(("[", "{"))):
        return "share_gpt"  # columns of tables often hold JSON, or a list for each field of a turn
    if isinstance(turns, list) and turns and isinstance(turns[0], dict):
        return _chat_type([turn for turn in turns if isinstance(turn, dict)])
    return "parquet" if in_table and clip_column(row) else None


def clip_column(row: Mapping[str, Any]) -> str | None:
    """Returns the column of a table that holds recordings, as `datasets` writes them."""
    found = [name for name, value in row.items() if isinstance(value, dict) and value.keys() & _CLIP_CELL]
    return "audio" if "audio" in row else next(iter(found), None)


def kind_of_row(row: Mapping[str, Any], data_type: str) -> str:
    """Returns the kind that a row would be used as."""
    if data_type not in UTTERANCES:
        return "text" if data_type == "nemo_sft_jsonl" else "mixed"
    said = _first(row.get("supervisions"))
    fields = {**said, **_object(said.get("custom")), **row, **_object(row.get("custom"))}
    if "question" in fields or data_type == "sqa_as_conversation":
        return "sqa"
    target = language_tag(fields.get("target_lang"))
    source = language_tag(fields.get("source_lang")) or language_tag(fields.get("lang") or fields.get("language"))
    # Canary's manifests name a target in rows of recognition too: the language that is spoken.
    translated = target is not None and (source is None or base_language(source) != base_language(target))
    return "ast" if translated or "translation" in fields else "asr"


def _chat_type(turns: list[dict[str, Any]]) -> str:
    if any(str(turn.get("from", "")).lower() in ("human", "gpt") for turn in turns):
        return "share_gpt"
    if "from" not in turns[0] and turns[0].keys() & {"role", "content"}:
        return "share_gpt"
    if "type" in turns[0]:
        return "multimodal_conversation"
    asked = [turn.get("value") for turn in turns if str(turn.get("from", "")).lower() not in _ANSWERS]
    # NeMo's nemo_sft_jsonl is text alone: a clip in it would be read as words.
    heard = any(isinstance(value, str) and (find_placeholders(value) or names_clip_file(value)) for value in asked)
    return "share_gpt" if heard else "nemo_sft_jsonl"


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(value: Any) -> Mapping[str, Any]:
    return _object(value[0]) if isinstance(value, list) and value else {}
