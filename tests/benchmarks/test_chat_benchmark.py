"""The benchmark of ten turns, on a tiny model: its report has what readers of it look for."""

import importlib.util

from nemo_vtb.paths import corpora_dir


def test_ten_turns_are_measured_three_ways(trained):
    path = corpora_dir().parent / "benchmarks" / "chat.py"
    spec = importlib.util.spec_from_file_location("chat_benchmark", path)
    chat = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(chat)
    report = chat.measure(str(trained[1]), 4, 1)
    for arm in chat.ARMS:
        assert len(report[arm]["ttft_ms"]) == len(report[arm]["tokens_per_s"]) == len(report["turns"]) == 10
        assert all(value > 0 for value in report[arm]["ttft_ms"])
    assert report["equal_answers"]["recomputed"] == 10 and set(report["ratio"]) == {"recomputed", "salm"}
    assert sum(report["ours"]["encoded"]) == 5 and report["recomputed"]["encoded"] == report["salm"]["encoded"]
    assert report["gate_flip"]["turn"] == 3
