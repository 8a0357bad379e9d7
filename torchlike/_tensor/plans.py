"""How recorded calls are differentiated: what is kept for it, and what depends on what."""

from __future__ import annotations

from torchlike._core.dtypes import FLOATING
from torchlike._ops.derivatives import Spec, derivative


class Plan:
    """How a recorded call is differentiated; made once per prefix and kept there.

    vjp, statics   the derivative op and its static argument
    drop           operands whose values are not saved
    keep_results   whether the results are saved
    need           per operand, whether it wants a gradient
    saves          whether any array is saved: what saves none may be walked again
    moved_by       of a derivative: per operand that wants a gradient, which results depend on it,
                   None for all; where none of these has a gradient, the operand has none either
    backwards      whether the hooks of the last operand run first, as where PyTorch adds a bias
    """

    __slots__ = (
        "backwards", "call", "drop", "keep_results", "moved_by", "need", "op", "saves", "statics",
        "vjp",
    )  # fmt: skip

    def __init__(self, op, call, mask):
        n = len(call.in_avals)
        self.need = need = tuple(bool(mask >> i & 1) for i in range(n))
        self.keep_results = op.vjp is not None and op.saves in ("result", "both", "all")
        self.vjp = derivative(op)
        self.statics = (Spec(call.statics, call.in_avals, need, call.outs, self.keep_results),)
        if op.linear or (op.saves == "result" and op.vjp is not None):
            keep = [False] * n
        elif op.multilinear:
            keep = [sum(need) > need[i] for i in range(n)]
        elif op.needs is not None:
            keep = _needed(op, need)
        else:
            keep = [True] * n
        # Numbers are always kept: they are run-time arguments of the derivative too.
        arrays = [i for i, a in enumerate(call.in_avals) if hasattr(a, "numel")]
        self.drop = [i for i in arrays if not keep[i]]
        self.saves = self.keep_results or len(self.drop) < len(arrays)
        if op.name in _KEEPS_NUMBERS and len(arrays) < n:
            self.saves = True
        self.op, self.call = op, call
        derives = op.made_of is not None and op.made_of[0] == "backward"
        self.moved_by = _moved_by(op.made_of[1], call.statics[0], need) if derives else None
        self.backwards = op.name == "linear" and self.need[-1]

    @property
    def constants(self) -> tuple:
        """Per operand, whether it is a constant to autograd that could have a gradient."""
        return tuple([
            not n and hasattr(a, "dtype") and a.dtype.category >= FLOATING
            for n, a in zip(self.need, self.call.in_avals, strict=True)
        ])  # fmt: skip


_KEEPS_NUMBERS = ("mul", "true_divide")  # PyTorch saves the number that is one operand


def _parameters(op, count) -> list:
    """Which parameter an operand belongs to."""
    at, extra = op.list_at, count - len(op.inputs)
    names = list(range(count))
    return names if at is None else [i if i < at else max(at, i - extra) for i in names]


def _moved_by(op, spec, need):
    """``Plan.moved_by`` of the derivative of an op, from what the op's gradients need."""
    given = [i for i, wanted in enumerate(spec.need) if wanted]
    names = _parameters(op, len(spec.need))

    def moves(operand, result):
        if op.multilinear:
            return operand != given[result]
        return names[operand] in op.needs.get(names[given[result]], ())

    if not op.multilinear and op.needs is None:
        return None
    return [
        {j for j in range(len(given)) if moves(i, j)} if i < len(names) else None
        for i, wanted in enumerate(need) if wanted
    ]  # fmt: skip


def _needed(op, need):
    """Per operand, whether the gradients wanted need its value, by the op's ``needs``."""
    names = _parameters(op, len(need))
    wanted = set()
    for name, n in zip(names, need, strict=True):
        if n:
            wanted |= op.needs.get(name, frozenset())
    return [name in wanted for name in names]
