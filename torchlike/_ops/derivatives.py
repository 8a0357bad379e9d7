"""The op that differentiates another op: jax.vjp, or the op's own rule, as an op of its own."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from torchlike._core import dtypes as dt
from torchlike._ops.table import Arrays, Op, Scalar, evaluate, ignoring_bad_indices

# The ``vjp`` of an op whose derivative PyTorch lacks: its result requires grad, backward raises.
# A rule that lacks it for some operands has an attribute ``undefined``: {operand: PyTorch's name}.
# A rule's attribute ``vjp`` is the rule of the derivative itself; ``refuse`` raises why there is
# none.
NO_DERIVATIVE = "none"


class Spec:
    """What a derivative must know of the forward call; interned, as part of the program's key.

    statics   the forward call's static arguments
    avals     of its operands: an aval, a number's class, a (class, number) pair, or None
    need      which operands want a gradient
    outs      how many results it had
    has_result   whether its results were saved
    """

    __slots__ = ("avals", "has_result", "need", "outs", "statics")
    _interned: ClassVar[dict] = {}

    def __new__(cls, statics, avals, need, outs, has_result):
        # Ops share the specs: without their classes, one op's 2 would be another's equal 2.0.
        key = (statics, _kinds(statics), avals, need, outs, has_result)
        found = cls._interned.get(key)
        if found is None:
            if len(cls._interned) > _MAX_SPECS:
                cls._interned.clear()
            found = object.__new__(cls)
            found.statics, found.avals, found.need = statics, avals, need
            found.outs, found.has_result = outs, has_result
            cls._interned[key] = found
        return found


_MAX_SPECS = 100_000


def _kinds(x):
    """The classes of the values in a static argument."""
    return tuple(map(_kinds, x)) if isinstance(x, tuple) else x.__class__


class Call:
    """A forward call as a derivative rule sees it; ``operands`` not saved are None."""

    __slots__ = ("need", "op", "operands", "results", "shapes", "statics")

    def __init__(self, op, operands, results, shapes, statics, need):
        self.op, self.operands, self.results = op, operands, results
        self.shapes, self.need = shapes, need
        self.statics = {p.name: s for p, s in zip(op.statics, statics, strict=True)}

    @property
    def result(self):
        """The only result."""
        return self.results[0]


def derivative(op: Op) -> Op:
    """The derivative of ``op`` as an op: operands are saved operands, saved results, gradients."""
    found = op.vjp_ops.get("vjp")
    if found is None:

        def backward(operands: Arrays, spec: Spec):
            return _pull(op, operands, spec)

        def refused(statics, in_avals):
            raise RuntimeError(f"derivative for aten::{op.name} is not implemented")

        def partly_refused(statics, in_avals):
            for p, wanted in zip(op.inputs, statics[0].need, strict=True):
                if wanted and p.name in op.vjp.undefined:
                    raise NotImplementedError(
                        f"the derivative for '{op.vjp.undefined[p.name]}' is not implemented."
                    )
            return _shapes(statics, in_avals)

        def without_numbers(statics, in_avals):
            for i, name in op.run_time.items():
                if statics[0].need[i]:
                    raise TypeError(
                        f"{op.public_name}(): argument '{name}' must be Number, not Tensor"
                    )
            return _shapes(statics, in_avals)

        shapes = without_numbers if op.run_time else _shapes
        if op.vjp is NO_DERIVATIVE:
            shapes = refused
        if hasattr(op.vjp, "undefined"):
            shapes = partly_refused
        if hasattr(op.vjp, "refuse"):  # raises its reason
            shapes = op.vjp.refuse
        found = Op(
            f"{op.name}_backward", backward, promotes="raw", shapes=shapes, forward=op,
            vjp=getattr(op.vjp, "vjp", None), made_of=("backward", op),
        )  # fmt: skip
        op.vjp_ops["vjp"] = found
    return found


def _shapes(statics, in_avals):
    spec = statics[0]
    return [(a.shape, a.dtype) for a, n in zip(spec.avals, spec.need, strict=True) if n]


def _pull(op: Op, operands, spec: Spec):
    n = len(spec.avals)
    given = operands[:n]
    results = operands[n : n + spec.outs] if spec.has_result else None
    grads = operands[len(operands) - spec.outs :]
    if op.vjp is not None:
        out = op.vjp(Call(op, given, results, spec.avals, spec.statics, spec.need), *grads)
        out = out if isinstance(out, tuple) else (out,)
        return tuple(
            shape_like(g, a)
            for g, a, wanted in zip(out, spec.avals, spec.need, strict=True)
            if wanted
        )
    full = [
        jnp.zeros(a.shape, a.dtype.numpy) if x is None and hasattr(a, "shape") else x
        for x, a in zip(given, spec.avals, strict=True)
    ]
    at = [i for i, wanted in enumerate(spec.need) if wanted]

    def forward(*wanted):
        call = list(full)
        for i, x in zip(at, wanted, strict=True):
            call[i] = x
        outs = evaluate(op, call, spec.statics)
        return [o for o in outs if jnp.issubdtype(o.dtype, jnp.inexact)]

    with ignoring_bad_indices():
        outs, pull = jax.vjp(forward, *[full[i] for i in at])
    grads = [g for g, keep in zip(grads, _inexact(op, full, spec), strict=True) if keep]
    cotangents = [
        jnp.zeros(o.shape, o.dtype) if g is None else _conj(g).astype(o.dtype)
        for g, o in zip(grads, outs, strict=True)
    ]
    return tuple(_conj(g).astype(full[i].dtype) for g, i in zip(pull(cotangents), at, strict=True))


def _inexact(op, full, spec):
    if spec.outs == 1:
        return [True]
    with ignoring_bad_indices():
        shapes = jax.eval_shape(
            lambda *xs: evaluate(op, _merge(full, xs), spec.statics),
            *[x for x in full if x is not None and x.__class__ is not Scalar],
        )
    return [jnp.issubdtype(s.dtype, jnp.inexact) for s in shapes]


def _merge(full, given):
    given = iter(given)
    return [x if x is None or x.__class__ is Scalar else next(given) for x in full]


def _conj(g):
    """PyTorch's gradient of a complex value is the conjugate of JAX's cotangent."""
    return g.conj() if jnp.iscomplexobj(g) else g


def shape_like(g, a):
    """Undo broadcasting and promotion: the gradient as the operand's aval wants it."""
    if g is None:
        return jnp.zeros(a.shape, a.dtype.numpy)
    if g.shape != a.shape:
        extra = g.ndim - len(a.shape)
        g = g.sum(tuple(range(extra)))
        axes = tuple(i for i, n in enumerate(a.shape) if n == 1 and g.shape[i] != 1)
        g = g.sum(axes, keepdims=True)
    if a.dtype.category < dt.COMPLEX and jnp.iscomplexobj(g):
        g = g.real
    return g.astype(a.dtype.numpy)
