"""What the fuzzer in ``tests/data/test_fuzz.py`` has found, each find as small as it was reduced to."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nemo_vtb.data.files.rows import BadRows


@pytest.mark.parametrize(
    "field", [{"start": None}, {"duration": "x"}, {"supervisions": [None]}, {"supervisions": 3}, {"custom": [1]}]
)
def test_cuts_whose_fields_lhotse_takes_as_they_are(
    field: dict[str, Any], tmp_path: Path, clip: SimpleNamespace, conversation: Any
):
    """Lhotse 1.33 deserialises any value; the first use of it was a TypeError from the middle of the reader."""
    from lhotse import Recording
    from row_reader import parsed_rows

    from nemo_vtb.data.conversations.chat_rows import RowContext
    from nemo_vtb.data.conversations.turns import ClipRules
    from nemo_vtb.data.sources.formats import row_files

    good = Recording.from_file(clip.path).to_cut().to_dict()
    good["custom"] = {"text": "hi"}
    path = tmp_path / "cuts.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ({**good, **field}, good)))
    context = RowContext("asr", "test", ClipRules("<|audio|>"), 0.08)
    [file] = row_files({"type": "lhotse", "cuts_path": str(path), "audio_root": str(clip.path.parent)}, context)
    bad = BadRows(1.0)
    draws = list(parsed_rows(path, file.parse, bad))
    assert len(draws) == 1 and dict(bad.reasons) == {"missing field": 1}
    assert "no Lhotse cut" in bad.first["missing field"]
