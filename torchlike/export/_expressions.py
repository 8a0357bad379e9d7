"""Expressions in the names of open sizes: as text in a file, and what they are for given sizes."""

from __future__ import annotations

import ast
import functools
import operator

_OPERATORS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Pow: operator.pow,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip


def _max(a, b):
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return a.max(b) if not isinstance(a, int) else b.rmax(a)


def _min(a, b):
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return a.min(b) if not isinstance(a, int) else b.rmin(a)


_FUNCTIONS = {"floordiv": operator.floordiv, "mod": operator.mod, "max": _max, "min": _min}


@functools.lru_cache(4096)
def _parsed(text: str):
    return ast.parse(text.strip().replace("^", "**"), mode="eval").body


def evaluate(text: str, sizes: dict):
    """What an expression is for these sizes; raises ``ValueError`` for what is no expression."""
    return _value(_parsed(text), sizes)


def _value(node, sizes):
    if isinstance(node, ast.Constant) and node.value.__class__ is int:
        return node.value
    if isinstance(node, ast.Name):
        return sizes[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, sizes)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left, sizes), _value(node.right, sizes))
    if isinstance(node, ast.Call) and getattr(node.func, "id", None) in _FUNCTIONS:
        return _FUNCTIONS[node.func.id](*[_value(a, sizes) for a in node.args])
    raise ValueError(f"no expression of sizes: {ast.unparse(node)}")


@functools.lru_cache(4096)
def names(text: str) -> frozenset:
    """The names of open sizes in an expression."""
    functions, found = set(), set()
    for node in ast.walk(_parsed(text)):
        if isinstance(node, ast.Call):
            functions.add(node.func)
        elif isinstance(node, ast.Name):
            found.add(node)
    return frozenset(n.id for n in found - functions)
