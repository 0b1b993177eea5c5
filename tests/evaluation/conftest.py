import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def tiny_sets(tmp_path: Path, clips: list[SimpleNamespace]) -> dict[str, Any]:
    """A section ``eval`` over two clips and a few texts, answers of four tokens."""

    def turn(who: str, said: Any) -> dict[str, Any]:
        if isinstance(said, str):
            return {"from": who, "type": "text", "value": said}
        return {"from": who, "type": "audio", "value": str(said.path), "text": said.text}

    def rows(name: str, *found: dict[str, Any]) -> str:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
        return str(path)

    def chat(name: str, *said: Any, **custom: Any) -> dict[str, Any]:
        *asked, answer = said
        turns = [*(turn("User", part) for part in asked), turn("Assistant", answer)]
        return {"id": name, "conversations": turns, "custom": custom}

    one, other = clips[:2]
    spoken = [{"audio_filepath": str(clip.path), "duration": clip.duration, "text": clip.text, "lang": "en", "id": name,
               "target_lang": "es", "answer": "hola"} for name, clip in (("one", one), ("other", other))]  # fmt: skip
    script = {
        "id": "talk",
        "conversations": [
            *(turn("User", one), turn("User", "Say it."), turn("Assistant", "yes")),
            *(turn("User", "And now?"), turn("Assistant", "no")),
        ],
        "custom": {"checks": [None, {"type": "words", "at_least": 0}]},
    }
    manifest = {"type": "nemo", "manifest_filepath": rows("spoken", *spoken)}
    mixed = rows(
        "mixed", chat("m1", one, other, "x", check={"type": "words", "at_least": 0}), chat("m2", "Say", one, "y")
    )
    return {
        "max_new_tokens": 4,
        "bootstrap": 50,
        "sets": {
            "clips": {"kind": "asr", **manifest},
            "translated": {"kind": "ast", **manifest},
            "asked": {"kind": "sqa", "manifest_filepath": rows("sqa", chat("q", one, "What?", "that"))},
            "each_way": {"kind": "mixed", "manifest_filepath": mixed},
            "talks": {"kind": "multiturn", "manifest_filepath": rows("talks", script)},
            "known": {"kind": "asr", "probe": True, "prompts": "quickstart", **manifest},
            "unseen": {"kind": "asr", "probe": True, "prompts": "unseen", "against": "known", **manifest},
        },
        "text": {
            "short": {
                "type": "replies",
                "path": rows("suite", {"id": "s", "prompt": "Say hi.", "check": {"type": "words", "at_least": 0}}),
            },
            "sums": {"type": "word_problems", "path": rows("sums", {"question": "1 + 1?", "answer": "So.\n#### 2"})},
            "chat": {"type": "likelihood", "path": rows("chats", chat("c", "Hello.", "Hello to you."))},
        },
    }
