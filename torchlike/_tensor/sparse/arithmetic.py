"""Elementwise rules of sparse tensors, and the sums of gradients on the tape."""

from __future__ import annotations

import math

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._engine.values import Value
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, layouts, tape
from torchlike._tensor.creation import from_host
from torchlike._tensor.dispatch import apply
from torchlike._tensor.function import Function
from torchlike._tensor.modes import no_grad
from torchlike._tensor.sparse.conversion import converted, scattered
from torchlike._tensor.sparse.creation import cleared
from torchlike._tensor.sparse.parts import (
    LAYOUT_NAMES,
    build,
    coalesced,
    coo,
    derived,
    flat_values,
    is_coo,
    named,
    others,
    parts_of,
    read,
    values_of,
)
from torchlike._tensor.sparse.rules import RULES, rule
from torchlike._tensor.sparse.slices import joined, unsqueeze
from torchlike._tensor.tensor import Tensor

# ---- one tensor --------------------------------------------------------------------------------

_LINEAR = {  # the op: its derivative
    "neg": lambda grad: -grad, "clone": lambda grad: grad, "to_dtype": lambda grad: grad,
    "conj_view": lambda grad: grad.conj(), "conj_physical": lambda grad: grad.conj(),
    "real": lambda grad: grad, "alias": lambda grad: grad,
}  # fmt: skip
ZERO_PRESERVING = (
    "abs", "asin", "asinh", "atan", "atanh", "ceil", "erf", "erfinv", "expm1", "floor", "frac",
    "isinf", "isnan", "isneginf", "isposinf", "log1p", "nan_to_num", "relu", "round", "sgn", "sign",
    "signbit", "sin", "sinh", "sqrt", "tan", "tanh", "trunc", "deg2rad", "rad2deg",
)  # fmt: skip


def _nothing(grad):
    return zeros_like(grad) if grad._sparse else grad.new_zeros(grad.shape)


# Of the others PyTorch has no derivative: theirs is taken through the values.
_FORMULAS = _LINEAR | {
    "abs": lambda grad, x: grad * x.sgn(),
    "deg2rad": lambda grad: grad * (math.pi / 180), "rad2deg": lambda grad: grad * (180 / math.pi),
    "frac": lambda grad: grad,
    "log1p": lambda grad, x: grad * (x.to_dense() + 1).conj().reciprocal(),
    **dict.fromkeys(("ceil", "floor", "round", "sign", "trunc"), _nothing),
}  # fmt: skip


def _unary(op, linear, formula):
    saves = formula is not None and formula.__code__.co_argcount > 1

    def on_values(x, *rest):
        if not x._sparse:
            return None
        n = len(op.inputs) - 1
        name = op.node_name(rest[n:], (x._value.aval, *rest[:n]))

        def run(x):
            if not linear:
                x = coalesced(x)
            values = apply(op, (values_of(x), *rest[:n]), rest[n:])
            return build(parts_of(x), values, name)

        if formula is None:
            return run(x)
        back = (lambda grad, needs, x: formula(grad, x)) if saves else lambda g, needs: formula(g)
        return derived(name, run, back, x, saved=(x,) if saves else ())

    RULES[op.name] = on_values


for _name in (*_LINEAR, *ZERO_PRESERVING):
    _unary(TABLE[_name], _name in _LINEAR, _FORMULAS.get(_name))


@rule("pow", "pow_constant")
def power(x, exponent):
    """x ** a number: of the values alone, as in PyTorch."""
    if not isinstance(exponent, (int, float)) or not isinstance(x, Tensor):
        return None
    if exponent == 0:
        raise RuntimeError(
            "pow: cannot raise to zeroth power on sparse tensor; it would make the result tensor "
            "dense"
        )

    def run(x):
        x = coalesced(x)
        return build(parts_of(x), values_of(x) ** exponent)

    def formula(grad, needs, x):
        return grad * ((x ** (exponent - 1)) * exponent).conj()

    if exponent == 1:  # the power of zero is dense
        return derived("PowBackward0", run, lambda grad, needs: grad, x)
    return derived("PowBackward0", run, formula, x, saved=(x,))


@rule("zeros_like")
def zeros_like(x, dtype=None):
    """A sparse tensor of the same size in which nothing is specified."""
    return cleared(x, dtype)


def _of_compressed(name):
    op = TABLE[name]

    def on_values(x, *rest):
        if not isinstance(x, Tensor) or not x._sparse or is_coo(x):
            return None
        n = len(op.inputs) - 1
        return build(parts_of(x), apply(op, (values_of(x), *rest[:n]), rest[n:]), op.grad_name)

    RULES[name] = on_values


for _name in ("angle", "ones_like", "full_like"):  # of what is specified, in PyTorch too
    _of_compressed(_name)


# ---- sums --------------------------------------------------------------------------------------


class _Add(Function):
    """a + alpha * b; the gradient goes to both as it comes, as PyTorch's does."""

    @staticmethod
    def forward(ctx, a, b, alpha):
        ctx.alpha = alpha
        return _add_sparse(a, b, alpha) if a._sparse else _add_dense(a, b, alpha)

    @staticmethod
    def backward(ctx, grad):
        second = grad if ctx.alpha is None else grad * ctx.alpha
        return grad, second, None


def _as_number(x):
    return isinstance(x, Tensor) and not x._sparse and not x.ndim


@rule("add")
def add(a, b, alpha=None):
    """Sparse + sparse is sparse, dense + sparse dense; sparse + dense only if compressed."""
    alpha = None if alpha == 1 else alpha
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    if a._sparse and not b._sparse:
        if is_coo(a):
            raise RuntimeError(
                "add(sparse, dense) is not supported. Use add(dense, sparse) instead."
            )
        a, b, alpha = (b if alpha is None else b * alpha), a, None
    if a.shape != b.shape:
        if a._sparse:
            raise RuntimeError(
                f"add: expected sizes of 'self' and 'other' to match, but {list(a.shape)} != "
                f"{list(b.shape)}"
            )
        raise RuntimeError(
            f"add: expected 'self' and 'other' to have same size, but self has size "
            f"{list(a.shape)} while other has size {list(b.shape)} (FYI: dense-sparse addition "
            "does not currently support broadcasting)"
        )
    if a._sparse and a.layout is not b.layout:
        raise RuntimeError(
            f"add(sparse, sparse): expected the same layout, but got {LAYOUT_NAMES[a.layout]} and "
            f"{LAYOUT_NAMES[b.layout]}"
        )
    return named(_Add.apply(a, b, alpha), "AddBackward0")


@rule("sub")
def sub(a, b, alpha=None):
    """``add`` of the negative."""
    return named(add(a, b, -1 if alpha is None else -alpha), "SubBackward0")


def _add_dense(a, b, alpha):
    values = flat_values(b)
    values = values if alpha is None else values * alpha
    kind = dt.promote_types(a.dtype, values.dtype)
    index = parts_of(b).index()
    a, values = a.to(kind), values.to(kind)
    if not index:
        return a + values.sum(0)
    return a.index_put(index, values, accumulate=True)


def _add_sparse(a, b, alpha):
    p, q = parts_of(a), parts_of(b)
    v, w = flat_values(a), flat_values(b)
    w = w if alpha is None else w * alpha
    kind = dt.promote_types(v.dtype, w.dtype)
    v, w = v.to(kind), w.to(kind)
    if p.is_like(q):
        return build(p, (v + w).reshape(p.values_shape))
    if is_coo(a) and (p.sparse_dim != q.sparse_dim):
        raise RuntimeError(
            "add: expected 'self' and 'other' to have same number of sparse dimensions, but "
            f"{p.sparse_dim} != {q.sparse_dim}"
        )
    found = np.concatenate([p.coordinates(), q.coordinates()], axis=1)
    out = coo(found, joined((v, w)), p.size, False)
    if is_coo(a):
        return coalesced(out) if p.coalesced and q.coalesced else out
    return converted(coalesced(out), a.layout, p.block or None)


# ---- products of elements ----------------------------------------------------------------------


def _scaled(name):
    op = TABLE[name]

    def scale(a, b):
        if not isinstance(a, Tensor) or not a._sparse:
            return None
        if isinstance(b, Tensor) and (b._sparse or b.ndim):
            raise RuntimeError(
                "Sparse division requires a scalar or zero-dim dense tensor divisor (got shape "
                f"{list(b.shape)} for divisor)"
            )

        def run(a, b):
            if name != "true_divide":
                a = coalesced(a)
            return build(parts_of(a), apply(op, (values_of(a), b)))

        if name == "floor_divide":  # has no derivative
            return named(run(a, b), op.grad_name)
        formula = _of_quotient if name == "true_divide" else _of_rounded
        return derived(op.grad_name, run, formula, a, b, saved=others(a, b))

    RULES[name] = scale


def _conj(x):
    return x.conj() if isinstance(x, Tensor) else x.conjugate()


def _of_product(grad, needs, a, b):
    return (
        grad * _conj(b) if needs[0] else None,
        grad * _conj(a) if needs[1] else None,
    )


def _of_quotient(grad, needs, a, b):
    return (
        grad / _conj(b) if needs[0] else None,
        -grad * _conj(a / b / b) if needs[1] else None,
    )


def _of_rounded(grad, needs, a, b):
    return tuple([_nothing(grad) if need else None for need in needs])


for _name in ("true_divide", "div_floor", "div_trunc", "floor_divide"):
    _scaled(_name)


@rule("mul")
def mul(a, b):
    """Elementwise: a number scales, a dense tensor keeps the pattern, two sparse ones share it."""
    if not isinstance(a, Tensor) or not a._sparse:
        a, b = b, a
    if isinstance(b, Tensor) and b._sparse and a.ndim != b.ndim and 0 in (a.ndim, b.ndim):
        a, b = (b, a) if not a.ndim else (a, b)
        b = scattered(b)
    return derived("MulBackward0", _mul, _of_product, a, b, saved=others(a, b))


def _mul(a, b):
    if not isinstance(b, Tensor) or _as_number(b):
        return build(parts_of(a), apply(TABLE["mul"], (values_of(a), b)))
    if b._sparse:
        return _mul_sparse(a, b)
    shape = np.broadcast_shapes(tuple(a.shape), tuple(b.shape))
    if shape != tuple(a.shape):
        a = _broadcast(a, shape)
    pattern = parts_of(a)
    return build(pattern, values_of(a) * read(b.expand(shape), pattern))


def _broadcast(x, shape):
    """A COO tensor repeated along dimensions of size one, and new ones in front."""
    if not is_coo(x):
        raise RuntimeError("expand is unsupported for compressed sparse tensors")
    pattern = parts_of(x)
    while len(pattern.size) < len(shape):
        x = unsqueeze(x, 0)
        pattern = parts_of(x)
    for d, n in enumerate(shape):
        if pattern.size[d] == n:
            continue
        size = (*pattern.size[:d], n, *pattern.size[d + 1 :])
        found, values = pattern.coordinates(), values_of(x)
        if d >= pattern.sparse_dim:
            at = d - pattern.sparse_dim + 1
            wide = (*values.shape[:at], n, *values.shape[at + 1 :])
            x = coo(found, values.expand(wide), size, pattern.coalesced)
        else:
            count = found.shape[1]
            found = np.repeat(found, n, axis=1)
            found[d] = np.tile(np.arange(n), count)
            take = from_host(np.repeat(np.arange(count), n), x.device)
            x = coalesced(coo(found, values[take], size, False))
        pattern = parts_of(x)
    return x


def _mul_sparse(a, b):
    if a.layout is layouts.sparse_csr and b.layout is not a.layout:
        b = converted(b, a.layout)
    if a.layout is not b.layout:
        raise RuntimeError(
            f"mul(sparse, sparse): expected the same layout, but got {LAYOUT_NAMES[a.layout]} and "
            f"{LAYOUT_NAMES[b.layout]}"
        )
    if a.shape != b.shape:
        shape = np.broadcast_shapes(tuple(a.shape), tuple(b.shape))
        a, b = _broadcast(a, shape), _broadcast(b, shape)
    p, q = parts_of(a), parts_of(b)
    if p.is_like(q) and p.coalesced and q.coalesced:
        return build(p, values_of(a) * values_of(b))
    if not is_coo(a):
        layout, block = a.layout, p.block or None
        out = _mul_sparse(converted(a, layouts.sparse_coo), converted(b, layouts.sparse_coo))
        return converted(out, layout, block)
    if not p.coalesced or not q.coalesced:  # the pattern of one of them, as PyTorch picks it
        if p.coalesced or (not q.coalesced and p.nnz >= q.nnz):
            a, b, p = b, a, q
        return build(p, values_of(a) * read(b, p))
    _, left, right = np.intersect1d(
        p.keys(), q.keys(), assume_unique=True, return_indices=True
    )  # fmt: skip
    device = a.device
    values = values_of(a)[from_host(left, device)] * values_of(b)[from_host(right, device)]
    return coo(p.coordinates()[:, left], values, p.size, True)


@rule("overwrite")
def overwrite(x, new):
    """The new tensor, where nothing flows to the old one."""
    return new if new._sparse else None


# ---- gradients on the tape ---------------------------------------------------------------------


def add_gradients(a, b):
    """The sum of two gradients of the tape: dense ones are Values, sparse ones tensors."""
    with no_grad():
        a, b = dispatch.to_tensor(a), dispatch.to_tensor(b)
        out = add(b, a) if a._sparse and not b._sparse else add(a, b)
    return out if out._sparse else out._value


def dense_gradients(grads, graph):
    """Gradients of the tape with the sparse ones made dense."""
    out = []
    for g in grads:
        if g is not None and g.__class__ is not Value and g._sparse:
            g = scattered(g)
            g = g if graph is not None else g._value
        out.append(g)
    return out


def fit(target, result):
    """The result of an in-place op on a tensor of another layout."""
    if result._sparse:
        return scattered(result)
    raise RuntimeError(
        f"the result of an in-place operation on a tensor of layout {target.layout} has layout "
        f"{result.layout}"
    )


class _Gradients:
    add, dense = staticmethod(add_gradients), staticmethod(dense_gradients)


dispatch._sparse_fit, tape._sparse = fit, _Gradients
