"""Which ops of the table have a rule for sparse tensors; dispatch asks here when one came to it."""

from __future__ import annotations

from torchlike._core.errors import SparseView
from torchlike._tensor import dispatch
from torchlike._tensor.sparse import parts

RULES: dict = {}  # by the op's name: rule(*operands, *statics), or None where it has no answer


def rule(*names):
    """Decorator: the rule of ops; it gets the operands, then the static arguments."""

    def put(fn):
        for name in names:
            RULES[name] = fn
        return fn

    return put


def call(op, operands, statics):
    """The result of an op on operands of which some are sparse; raises where it has none."""
    found = RULES.get(op.name)
    out = None if found is None else found(*operands, *statics)
    if out is None:
        raise parts.refuse(op.name.removesuffix("_dim"), operands)
    if op.view:
        raise SparseView(out)
    return out


dispatch._sparse_call = call
