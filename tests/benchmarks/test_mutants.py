"""The faults that the mutation check puts in."""

import ast
from pathlib import Path

import pytest

_BENCHMARKS = Path(__file__).parents[2] / "examples" / "benchmarks"
_TEXT = '''
"""Not this one: 1 < 2."""
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import this
def f(x: int | None = 3) -> "int | None":
    """Nor this."""
    if not x <= 2 and x in (5,):
        raise ValueError(f"{x} + 1")
    return x * 4
'''


@pytest.fixture
def mutated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(_BENCHMARKS))
    import mutations

    count = len(list(mutations.mutations(ast.parse(_TEXT))))
    return [mutations.mutated(_TEXT, number) for number in range(count)]


def test_faults_are_in_what_runs_and_in_no_text_or_type(mutated):
    assert sorted(said for _, said, _ in mutated) == sorted(
        [
            "3  →  4",
            "not x <= 2 and x in (5,)  →  not x <= 2 or x in (5,)",
            "not x <= 2 and x in (5,)  →  x <= 2 and x in (5,)",
            "not x <= 2 and x in (5,)  →  not (not x <= 2 and x in (5,))",
            "x <= 2  →  x < 2",
            "x <= 2  →  x <= 3",
            "x in (5,)  →  x not in (5,)",
            "(5,)  →  (6,)",
            "return x * 4  →  return None",
            "x * 4  →  x / 4",
            "x * 4  →  x * 5",
        ]
    )
    assert len({ast.unparse(tree) for tree, _, _ in mutated}) == len(mutated)
    for tree, _, _ in mutated:
        compile(tree, "text", "exec")
