import importlib
import sys

import pytest

from nemo_vtb.paths import corpora_dir


@pytest.fixture(scope="module")
def script():
    """Imports a script of examples/corpora by name."""
    sys.path.insert(0, str(corpora_dir()))
    yield importlib.import_module
    sys.path.remove(str(corpora_dir()))
