"""lmms-eval on a tiny checkpoint: its answers are those of a conversation, by its own command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from nemo_vtb.cli import main
from nemo_vtb.inference.chat import ChatSession

pytest.importorskip("lmms_eval", reason="in an environment of its own: pip install lmms-eval==0.7.3")

TASK = """
task: heard
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/rows.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.heard
doc_to_text: !function utils.words
doc_to_target: path
generation_kwargs: {{max_new_tokens: 6, temperature: 0, num_beams: 1, do_sample: false}}
process_results: !function utils.results
metric_list: [{{metric: said, aggregation: mean, higher_is_better: true}}]
metadata: [{{version: 0.0}}]
"""
UTILS = """
import json, pathlib, soundfile
def heard(doc):
    samples, rate = soundfile.read(doc["path"], dtype="float32")
    return [{"array": samples, "sampling_rate": rate}]
def words(doc, lmms_eval_specific_kwargs=None):
    return "What is said?"
def results(doc, results):
    with pathlib.Path(__file__).with_name("said.jsonl").open("a") as file:
        file.write(json.dumps([doc["path"], results[0]]) + "\\n")
    return {"said": 1.0}
"""


def test_its_command_line_asks_what_a_session_asks(trained: Any, clips: Any, tmp_path: Path):
    model, path = trained
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"path": str(clip.path)}) + "\n" for clip in clips[:2]))
    (tmp_path / "heard.yaml").write_text(TASK.format(folder=tmp_path))
    (tmp_path / "utils.py").write_text(UTILS)
    options = [f"--include_path={tmp_path}", "--batch_size=2", f"--output_path={tmp_path / 'out'}"]
    assert main(["lmms-eval", str(path), "--tasks=heard", *options]) == 0
    for clip, answer in map(json.loads, (tmp_path / "said.jsonl").read_text().splitlines()):
        parts = [{"type": "text", "text": "What is said?"}, {"type": "audio", "audio": clip}]
        assert answer == ChatSession(model).say(parts, max_new_tokens=6)
