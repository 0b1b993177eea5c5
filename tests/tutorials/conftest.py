import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

# The real Slurm of two nodes that tests/launch starts.
_LAUNCH = Path(__file__).parents[1] / "launch"
sys.path.append(str(_LAUNCH))
sys.path.append(str(Path(__file__).parents[2] / "tutorials"))
_spec = spec_from_file_location("launch_conftest", _LAUNCH / "conftest.py")
_module = module_from_spec(_spec)
_spec.loader.exec_module(_module)
slurm = _module.slurm
