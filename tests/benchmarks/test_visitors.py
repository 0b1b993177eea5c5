"""The benchmark of many clients, on a tiny model: both commands serve, and nobody gets another's answer."""

import json
import subprocess
import sys

from nemo_vtb.paths import corpora_dir


def test_clients_of_both_commands_get_their_own_answers(trained, tmp_path):
    script, report = corpora_dir().parent / "benchmarks" / "visitors.py", tmp_path / "visitors.json"
    words = ["--checkpoint", trained[1], "--clients", "3", "--seconds", "1", "--tokens", "4", "--minutes", "0.2"]
    subprocess.run([sys.executable, script, *words, "--json", report], check=True)
    found = json.loads(report.read_text())
    for side in ("server", "page"):
        # Each client goes through its two turns at least once.
        assert found[side]["answers"] >= 6 and found[side]["errors"] == found[side]["wrong"] == []
        assert found[side]["megabytes"]["end"] > 0
