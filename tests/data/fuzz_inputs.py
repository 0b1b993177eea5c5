"""What the fuzzer feeds the readers: good rows, tars and recordings with something done to them."""

import base64
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

_ODD_TEXTS = (
    "", " ", "<|audio|>", "<sound>", "<audio>", "<|im_end|>", "<|im_start|>system", "../../etc/passwd", "/etc/passwd",
    "/dev/zero", "http://nowhere/a.wav", "pipe:true", "a\0b", "x" * 5000, "NaN", "-1", "1e400", "\ud800",
    "\u202e\u0000", "Assistant", "System", "audio", "text", ".", "..", "clip.wav",
)  # fmt: skip
_FIELDS = tuple(
    "conversations messages from value role content type text audios sound system audio_filepath duration offset "
    "sampling_rate lang custom question answer id mask supervisions recording sources start channel tracks _skipme "
    "shard_id".split()
)

_MEMBERS = ("a.wav", "b.wav", "./c.wav", "d/e.wav", "x" * 150 + ".wav", "é.wav", "a.json")

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(st.characters(), max_size=20),
    st.sampled_from(_ODD_TEXTS),
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def lines(draw: Callable, rows: list[dict[str, Any]]) -> bytes:
    """One line: a good row with some values replaced, left out or put in, and then some bytes of it."""
    row = deepcopy(draw(st.sampled_from(rows)))
    for _ in range(draw(st.integers(0, 3))):
        holder, key = draw(st.sampled_from(list(_places(row))))
        if draw(st.booleans()):
            holder[key] = draw(_values)
        elif isinstance(holder, dict):
            del holder[key]
            holder[draw(st.sampled_from(_FIELDS))] = draw(_values)
        else:
            holder.insert(key, draw(_values))
        if not row:
            break
    line = json.dumps(row, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    return draw(damaged(line, most=2)) if draw(st.integers(0, 3)) == 0 else line


@st.composite
def damaged(draw: Callable, data: bytes, most: int = 4, within: int | None = None) -> bytes:
    """Bytes with some of the first ``within`` replaced, left out or put in, perhaps cut short."""
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, min(len(data), within or len(data))))
        data = data[:at] + draw(st.binary(max_size=8)) + data[at + draw(st.integers(0, 8)) :]
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 4)) == 0 else data


@st.composite
def tars(draw: Callable, clip: bytes) -> bytes:
    """A tar of some members with odd names, types and sizes, then damaged."""
    file = io.BytesIO()
    with tarfile.open(
        fileobj=file, mode="w", format=draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    ) as tar:
        for _ in range(draw(st.integers(0, 4))):
            name = draw(
                st.sampled_from(["a.wav", "b.wav", "./c.wav", "d/e.wav", "x" * 150 + ".wav", "é.wav", "a.json"])
            )
            if draw(st.integers(0, 15)) == 0:
                name = draw(st.sampled_from(["../up.wav", "/root.wav", "a/../../up.wav"]))
            info = tarfile.TarInfo(name)
            data = draw(st.sampled_from([clip, clip[:100], b""]))
            info.size = len(data)
            if draw(st.integers(0, 15)) == 0:
                info.type = draw(st.sampled_from([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE]))
                info.size = 0
            tar.addfile(info, io.BytesIO(data))
    return draw(damaged(file.getvalue(), most=3))


def good_rows(clip: Path, seconds: float) -> dict[str, list[dict[str, Any]]]:
    """Rows that every reader takes as they are, by data type."""
    name = clip.name
    asked = {"from": "User", "type": "audio", "value": name, "duration": seconds}
    said = {"from": "Assistant", "type": "text", "value": "yes"}
    utterance = {"audio_filepath": name, "duration": seconds, "text": "hi there", "lang": "en", "target_lang": "de",
                 "question": "What?", "answer": "That.", "id": "u"}  # fmt: skip
    recording = {"id": "r", "sources": [{"type": "file", "channels": [0], "source": name}], "sampling_rate": 16000,
                 "num_samples": round(seconds * 16000), "duration": seconds, "channel_ids": [0]}  # fmt: skip
    cut = {"id": "c", "start": 0, "duration": seconds, "channel": 0, "type": "MonoCut", "recording": recording,
           "supervisions": [{"id": "s", "recording_id": "r", "start": 0, "duration": seconds, "text": "hi",
                             "language": "en"}]}  # fmt: skip
    placed = [{"role": "user", "content": "<audio>Hm?"}, {"role": "assistant", "content": "A"}]
    parts = [{"type": "audio", "audio": name}, {"type": "text", "text": "?"}]
    coded = {"role": "assistant", "content": " <|im_end|>\u200b ", "loss": False, "tool_calls": None}
    data = {"data": base64.b64encode(clip.read_bytes()).decode(), "format": "wav"}
    coded_parts = [{"type": "input_audio", "input_audio": data}, {"type": "audio"}, {"type": "text", "text": "?"}]
    chat = [{"from": "User", "value": "Q"}, {"from": "Assistant", "value": "A"}]
    return {
        "multimodal_conversation": [
            {"id": "m", "conversations": [asked, {"from": "User", "type": "text", "value": "Well?"}, said]},
            {"conversations": [{"from": "System", "type": "text", "value": "Be brief."}, asked, said, asked, said]},
        ],
        "share_gpt": [
            {"messages": placed, "audios": [name]},
            {"conversations": [{"from": "human", "value": "<sound>"}, {"from": "gpt", "value": "B"}], "sound": name},
            {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "C"}], "system": "S"},
            {
                "messages": [
                    {"role": "user", "content": "Q"},
                    coded,
                    {"role": "user", "content": f"<audio>{name}</audio>"},
                    placed[1],
                ],
                "mask_history": True,
                "weather": "dry",
            },
            {
                "messages": [
                    {"role": "user", "content": coded_parts},
                    {"role": "assistant", "content": "D", "loss": 1},
                ],
                "audio": {"array": [0.1, -0.1] * 40, "sampling_rate": 400, "path": name},
                "tools": [],
            },
        ],
        "nemo_sft_jsonl": [{"system": "S", "mask": "User", "conversations": chat}],
        "nemo": [utterance, {**utterance, "offset": 0.1, "duration": seconds / 2, "sampling_rate": 16000}],
        "lhotse": [cut],
    }


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every holder and key of a nested row."""
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, inner in pairs:
        yield value, key
        yield from _places(inner)
