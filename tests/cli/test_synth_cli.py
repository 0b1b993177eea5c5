from pathlib import Path

import pytest

from nemo_vtb.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "vtb synth text: say llm.model=..., out=..."),
        (["llm.model=m", "out=x", "shard_size=0"], "shard_size=0: a whole number of at least 1"),
        (["llm.model=m", "out=x", "processes=two"], "processes=two: a whole number of at least 1"),
        (["llm.model=m", "out=x", "part=4/4"], "part=4/4: parts are numbered from 0, as in part=0/4"),
        (["llm.model=m", "out=x", "--config-name=synth/poems"], "synth/poems"),
    ],
)
def test_what_cannot_run_is_named(arguments: list[str], said: str, capsys: pytest.CaptureFixture, tmp_path: Path):
    arguments = [text.replace("out=x", f"out={tmp_path / 'x'}") for text in arguments]
    assert main(["synth", "text", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
