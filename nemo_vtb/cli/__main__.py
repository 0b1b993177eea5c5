"""``python -m nemo_vtb.cli``: the ``vtb`` command where its script is not on the path."""

import sys

from nemo_vtb.cli import main

sys.exit(main())
