import subprocess
import sys

from nemo_vtb.cli import main
from nemo_vtb.doctor import missing_names


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nimport nemo_vtb.cli\nprint([m for m in ('torch', 'nemo', 'lhotse', 'hydra') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_user_error_is_one_line_without_traceback(capsys, tmp_path):
    assert main(["chat", str(tmp_path / "none.ckpt")]) == 2
    assert capsys.readouterr().err.splitlines() == [f"vtb: no checkpoint at {tmp_path / 'none.ckpt'}"]


def test_doctor_finds_what_a_launcher_lacks(tmp_path):
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text("from nemo.collections.speechlm2 import SALM, DataModule, SALMDataset\n")
    bad.write_text("from nemo.collections.speechlm2 import SALM\n")
    assert missing_names(str(good)) == []
    assert missing_names(str(bad)) == ["SALMDataset", "DataModule"]


def test_unknown_config_is_named(capsys):
    assert main(["train", "--config-name=nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_folder_that_hides_a_key_from_its_override_is_named(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("out: runs/mine\n")
    (tmp_path / "out").mkdir()
    assert main(["study", "--config-name=mine", f"--config-dir={tmp_path}", "out=runs/other"]) == 2
    assert f"the folder {tmp_path / 'out'} makes out= a config group" in capsys.readouterr().err
