"""The support matrix: one family of each kind."""

import json
from pathlib import Path

from forks import Forks

SCRIPT = Path(__file__).parents[2] / "examples" / "support_matrix.py"


def test_the_sample_is_proved_or_refused_by_name(forked: Forks, tmp_path: Path):
    guide = tmp_path / "guide.md"
    mark = "<!-- support matrix: examples/support_matrix.py -->"
    guide.write_text(f"before\n{mark}\nold\n{mark}\nafter\n")
    files = ["--json", str(tmp_path / "support.json"), "--markdown", str(guide)]
    [(code, said)] = forked.run([("sample", ["--sample", *files])], tmp_path, str(SCRIPT)).values()
    assert code == 0, said
    report = json.loads((tmp_path / "support.json").read_text())
    rows = {row["family"]: row for row in report["llms"]}
    assert report["wrong"] == 0 and rows["bert"]["outcome"] == "refused" and "no causal LLM" in rows["bert"]["why"]
    proved = [row for row in rows.values() if row["outcome"] == "proved"]
    assert len(proved) == len(rows) - 1
    assert {row["packing"] for row in proved} == {"rows", "apart"}
    text = guide.read_text()
    assert text.count("\n|") == len(rows) + 2
    assert "old" not in text and text.startswith("before\n") and text.endswith("\nafter\n")
