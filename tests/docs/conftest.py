import importlib.util
import sys
from pathlib import Path

# The real Slurm of two nodes that tests/launch starts.
_LAUNCH = Path(__file__).parents[1] / "launch"
sys.path.append(str(_LAUNCH))
# Tiny speech encoders.
sys.path.append(str(Path(__file__).parents[2] / "examples"))
# Public corpora in small.
sys.path.append(str(Path(__file__).parents[1] / "data" / "corpora"))
_spec = importlib.util.spec_from_file_location("launch_conftest", _LAUNCH / "conftest.py")
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
slurm = _module.slurm
