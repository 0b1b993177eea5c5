"""``vtb study`` from the command line: two arms, two steps, everything real and tiny."""

import json
from pathlib import Path


def test_a_study_trains_and_measures_every_arm(tiny_study, run_folder: Path):
    assert tiny_study() == 0
    folder = run_folder / "out" / "arms"
    made = sorted(str(path.parent.relative_to(folder)) for path in folder.glob("*/*/arm.json"))
    assert made == ["joint/seed0", "joint/seed1", "speech_only/seed0"]
    trained = {name: json.loads((folder / name / "train.json").read_text()) for name in made}
    assert {about["steps"] for about in trained.values()} == {1}
    assert set(trained["joint/seed0"]["realised_share"]) == {"asr", "text"}
    assert set(trained["speech_only/seed0"]["realised_share"]) == {"asr"}
