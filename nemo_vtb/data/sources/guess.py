"""What a file of rows probably is, from its first row: for people who lint a file without a config."""

from nemo_vtb.data.conversations.instructed import KINDS
from nemo_vtb.data.files.disk import open_rows
from nemo_vtb.data.files.rows import BadRow, parse_line
from nemo_vtb.data.sources.formats import TYPES
from nemo_vtb.errors import VTBError

_KEYS = {"nemo_sft_jsonl": "paths", "lhotse": "cuts_path", "lhotse_shar": "shar_path"}


def guess_type(path: str, data_type: str | None = None) -> tuple[str, str]:
    """Returns the data type of a file and the key that names it in an ``input_cfg`` entry.

    Args:
        path: The file.
        data_type: Where the user said it.

    Raises:
        VTBError: If the type is unknown, or nothing can be told from the file.
    """
    data_type = data_type or _looks_like(path)
    if data_type not in TYPES:
        raise VTBError(f"unknown type '{data_type}'; known: {', '.join(TYPES)}")
    return data_type, _KEYS.get(data_type, "manifest_filepath")


def guess_kind(path: str, data_type: str) -> str:
    """Returns the kind a file is checked as: how its rows would be used."""
    row = _first_row(path)
    if data_type in ("nemo", "nemo_tarred", "lhotse", "lhotse_shar"):
        fields = row.keys() | (row.get("custom") or {}).keys()
        kind = "sqa" if "question" in fields else "ast" if fields & {"translation", "target_lang"} else "asr"
        assert kind in KINDS
        return kind
    return "mixed" if data_type != "nemo_sft_jsonl" else "text"


def _looks_like(path: str) -> str:
    row = _first_row(path)
    if "audio_filepath" in row:
        return "nemo"
    if "recording" in row or "tracks" in row:
        return "lhotse"
    if "messages" in row or row.keys() & {"audios", "sound", "ori_sound"}:
        return "share_gpt"
    turns = row.get("conversations")
    if isinstance(turns, list) and turns and isinstance(turns[0], dict):
        if any(isinstance(turn, dict) and str(turn.get("from", "")).lower() in ("human", "gpt") for turn in turns):
            return "share_gpt"
        return "multimodal_conversation" if "type" in turns[0] else "nemo_sft_jsonl"
    raise VTBError(f"{path}: the first row is of no known type; name it with --type: {', '.join(TYPES)}")


def _first_row(path: str) -> dict:
    with open_rows(path) as lines:
        for line in lines:
            if line.strip():
                try:
                    return parse_line(line)
                except BadRow:
                    continue
    raise VTBError(f"{path} holds no row")
