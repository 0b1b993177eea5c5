"""What was proved of each adapter and each speech encoder, on tiny models with random weights, no download:

python examples/support_matrix_adapters.py --json runs/adapters.json
python examples/support_matrix_adapters.py --only DoRA --only WavLM

Every row is built, trained a few steps, saved, loaded, exported in each form and compared with PEFT's or Hugging Face's
own computation, or it is refused and the sentence is shown. ``--markdown tutorials/adapters_and_encoders.md`` replaces
the tables there.
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).parent))

from support.guide import counts, replace_table, write_json  # noqa: E402
from support.proofs import prove_adapter, prove_encoder  # noqa: E402
from support.variants import ADAPTERS, ENCODERS, REFUSED  # noqa: E402

BOUND = 2e-4  # of losses and frames in float32, whose size is about 5 and 1
MARK = "<!-- {} matrix: examples/support_matrix_adapters.py -->"


def prove(prover: Callable[[str, Path], dict[str, Any]], name: str) -> dict[str, Any]:
    """A row in a folder of its own: ``proved``, ``refused`` with the sentence, or ``wrong``."""
    from nemo_vtb.errors import VTBError

    start = time.process_time()
    with tempfile.TemporaryDirectory(prefix="matrix_") as folder:
        try:
            row = prover(name, Path(folder))
            worst = max((v for v in row.values() if isinstance(v, float)), default=0.0)
            row["outcome"] = "proved" if worst < BOUND and name not in REFUSED else "wrong"
        except VTBError as error:
            expected = name in REFUSED or (name in ENCODERS and ENCODERS[name][2] is None)
            said = str(error).replace(folder, "FOLDER")
            row = {"outcome": "refused" if expected else "wrong", "said": said}
        except Exception as error:
            row = {"outcome": "wrong", "said": f"{type(error).__name__}: {error}"}
    row["seconds"] = round(time.process_time() - start, 1)
    return {"name": name, **row}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown: largest differences, or the sentence of a refusal."""
    proved = [row for row in rows if row["outcome"] != "refused"]
    columns = [key for key in (proved[0] if proved else {}) if key not in ("name", "outcome", "said", "seconds")]
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in proved:
        cells = [_cell(row.get(key)) for key in columns]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    lines += ["", "| refused | what is said |", "|---|---|"]
    lines += [
        f"| {row['name']} | {row['said'].replace('|', chr(92) + '|')} |" for row in rows if row["outcome"] == "refused"
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return "0" if value == 0 else f"{value:.0e}"
    return "refused" if isinstance(value, str) else "–"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the matrix; 1 if a row is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="a file in which the tables are replaced")
    parser.add_argument("--only", action="append", help="a row's name; may be given more than once")
    asked = parser.parse_args(arguments)
    found: dict[str, list[dict[str, Any]]] = {}
    for kind, names, prover in (("adapters", ADAPTERS, prove_adapter), ("encoders", ENCODERS, prove_encoder)):
        found[kind] = []
        for name in names:
            if asked.only is None or name in asked.only:
                row = prove(prover, name)
                found[kind].append(row)
                print(f"{kind[:-1]} {name}: {row['outcome']} {row.get('said', '')}", flush=True)
    every = counts([row for rows in found.values() for row in rows])
    if asked.json:
        write_json(asked.json, {**found, **every})
    if asked.markdown:
        for kind, rows in found.items():
            if rows:
                replace_table(asked.markdown, MARK.format(kind), table(rows))
    print(", ".join(f"{count} {outcome}" for outcome, count in every.items()))
    return int(every["wrong"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
