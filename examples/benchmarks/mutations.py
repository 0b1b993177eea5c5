"""The small faults that can be put into a Python file, one at a time.

A comparison at its edge or turned round, another operator, `and` for `or`, a sign or a `not` left out, a constant one
higher, True for False, None returned, a condition turned round, `break` for `continue`. Left as they are: annotations,
decorators, docstrings and other texts, what `raise` says, and what only type checkers read.
"""

import ast
from collections.abc import Iterator
from typing import NamedTuple

_SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
_UNREAD = {"annotation", "returns", "decorator_list"}


class Mutation(NamedTuple):
    """One fault: where, what is read there, and what puts the fault in."""

    node: ast.AST
    field: str
    index: int | None
    new: ast.AST

    def apply(self) -> str:
        """Changes the tree; says what was there and what is now."""
        part = getattr(self.node, self.field)
        old = part if self.index is None else part[self.index]
        whole = not isinstance(self.node, ast.stmt | ast.arguments) or isinstance(self.node, ast.Return | ast.AugAssign)
        before = ast.unparse(self.node if whole else old)
        if self.index is None:
            setattr(self.node, self.field, self.new)
        else:
            part[self.index] = self.new
        return f"{_short(before)}  →  {_short(ast.unparse(self.node if whole else self.new))}"


def mutations(tree: ast.AST) -> Iterator[Mutation]:
    """Every fault of a tree, in an order that depends on the text alone."""
    for name, index, child in _children(tree):
        new = _SWAPPED.get(type(child))
        if new is not None:
            yield Mutation(tree, name, index, new())
        for other in _others(child):
            yield Mutation(tree, name, index, ast.copy_location(other, child))
        if name == "test" or (name == "ifs" and isinstance(tree, ast.comprehension)):
            yield Mutation(tree, name, index, ast.copy_location(ast.UnaryOp(ast.Not(), child), child))
        if isinstance(tree, ast.Return) and not (isinstance(child, ast.Constant) and child.value is None):
            yield Mutation(tree, name, index, ast.copy_location(ast.Constant(None), child))
        yield from mutations(child)


def mutated(text: str, number: int) -> tuple[ast.Module, str, int]:
    """A file's tree with that fault, what the fault is, and its line."""
    tree = ast.parse(text)
    fault = list(mutations(tree))[number]
    said = fault.apply()
    return ast.fix_missing_locations(tree), said, getattr(fault.node, "lineno", getattr(fault.new, "lineno", 0))


def _children(tree: ast.AST) -> Iterator[tuple[str, int | None, ast.AST]]:
    for name, value in ast.iter_fields(tree):
        if name in _UNREAD:
            continue
        if isinstance(value, list):
            for index, child in enumerate(value):
                if isinstance(child, ast.AST) and not _skipped(child):
                    yield name, index, child
        elif isinstance(value, ast.AST) and not _skipped(value):
            yield name, None, value


def _skipped(node: ast.AST) -> bool:
    for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return for_types or isinstance(node, ast.Raise | ast.JoinedStr)


def _others(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield ast.Constant(not node.value)
        elif isinstance(node.value, int | float):
            yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.Break):
        yield ast.Continue()
    elif isinstance(node, ast.Continue):
        yield ast.Break()


def _short(text: str) -> str:
    first = " ".join(text.split())
    return first if len(first) < 90 else f"{first[:88]}…"
