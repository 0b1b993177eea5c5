"""Measures a checkpoint beside its untouched LLM: the command `vtb eval` as a script.

python examples/vtb_eval.py runs/quickstart/last.ckpt --config-name=eval/quickstart out=runs/eval
"""

import sys

from nemo_vtb.cli import main

if __name__ == "__main__":
    sys.exit(main(["eval", *sys.argv[1:]]))
