"""The benchmark of many clients, on a tiny model: both commands serve, and nobody gets another's answer."""

import json
import runpy
import sys

from nemo_vtb.paths import corpora_dir


def test_clients_of_both_commands_get_their_own_answers(trained, tmp_path, forking, monkeypatch):
    script, report = corpora_dir().parent / "benchmarks" / "visitors.py", tmp_path / "visitors.json"
    words = ["--checkpoint", trained[1], "--clients", "3", "--seconds", "1", "--tokens", "4", "--minutes", "0.05"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in (script, *words, "--json", report)])
    runpy.run_path(str(script), run_name="__main__")
    found = json.loads(report.read_text())
    for side in ("server", "page"):
        # Each client goes through its two turns at least once.
        assert found[side]["answers"] >= 6 and found[side]["errors"] == found[side]["wrong"] == []
        assert found[side]["megabytes"]["end"] > 0
