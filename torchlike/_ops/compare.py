"""Comparisons, logic, bits, and questions about single elements."""

from __future__ import annotations

import jax.numpy as jnp

from torchlike._core import dtypes as dt
from torchlike._ops import conventions
from torchlike._ops.arithmetic import not_implemented, refuse
from torchlike._ops.derivatives import NO_DERIVATIVE
from torchlike._ops.table import (
    FORMS,
    TABLE,
    Scalar,
    cast,
    check_broadcast,
    compare,
    computing_dtype,
    op,
    torch_dtype,
    unary,
)

# ---- comparisons -------------------------------------------------------------------------------

compare("eq", jnp.equal, numbers=("other",))
compare("ne", jnp.not_equal, numbers=("other",))


def _ordered(name, fn):
    def body(x, y):
        if jnp.iscomplexobj(x):
            raise not_implemented(f"{name}_cpu", x)
        return fn(x, y)

    compare(name, body, numbers=("other",))


for _name, _fn in {
    "lt": jnp.less, "le": jnp.less_equal, "gt": jnp.greater, "ge": jnp.greater_equal,
}.items():  # fmt: skip
    _ordered(_name, _fn)


_NOT_IN_PLACE = ("function", "method", "out")


def _extreme(name, fn, tie_slopes, **attributes):
    def body(input, other):
        if jnp.iscomplexobj(input):
            raise RuntimeError(f"{name} not implemented for complex tensors.")
        return smooth(input, other)

    smooth = conventions.with_slopes(fn, *tie_slopes)
    body.__doc__ = f"The elementwise {name}."
    op(name, promotes="result", numbers=(), forms=_NOT_IN_PLACE, pointwise=True, **attributes)(body)


def _fmax(x, y):
    return jnp.where(jnp.isnan(y) | (x >= y), x, y) if _inexact(x) else jnp.maximum(x, y)


def _fmin(x, y):
    return jnp.where(jnp.isnan(y) | (x <= y), x, y) if _inexact(x) else jnp.minimum(x, y)


def _inexact(x):
    return jnp.issubdtype(x.dtype, jnp.inexact)


_half = conventions.half_at_ties
_extreme("maximum", jnp.maximum, (_half, lambda r, x, y: _half(r, y, x)))
_extreme(
    "minimum", jnp.minimum, (lambda r, x, y: _half(r, -x, -y), lambda r, x, y: _half(r, -y, -x))
)
_extreme(
    "fmax", _fmax,
    (lambda r, x, y: jnp.isnan(y) | (x >= y), lambda r, x, y: ~(jnp.isnan(y) | (x >= y))),
)  # fmt: skip
_extreme(
    "fmin", _fmin,
    (lambda r, x, y: jnp.isnan(y) | (x <= y), lambda r, x, y: ~(jnp.isnan(y) | (x <= y))),
)  # fmt: skip


@op(differentiable=False, promotes="result", numbers=())
def isclose(input, other, rtol: float, atol: float, equal_nan: bool):
    """Whether |input - other| <= atol + rtol * |other|; equal infinities are close."""
    near = input == other
    if equal_nan and _inexact(input):
        near = near | (jnp.isnan(input) & jnp.isnan(other))
    if not _inexact(input):
        if rtol == 0 and atol == 0:
            return near
        floating = dt.get_default_dtype().numpy  # differences of integers may not fit into theirs
        input, other = input.astype(floating), other.astype(floating)
    spread = jnp.abs(input - other)
    return near | (jnp.isfinite(spread) & (spread <= atol + jnp.abs(rtol * other)))


# ---- choice ------------------------------------------------------------------------------------


@op(promotes="raw", forms=(), pointwise=True,
    needs={"input": ("condition",), "other": ("condition",)})  # fmt: skip
def where(condition, input, other):
    """``input`` where the condition holds, ``other`` elsewhere."""
    check_broadcast([condition, input, other])
    common = computing_dtype(TABLE["where"], [input, other]).numpy
    input, other = (cast(x.array if x.__class__ is Scalar else x, common) for x in (input, other))
    return jnp.where(condition if condition.dtype == bool else condition != 0, input, other)


# ---- logic -------------------------------------------------------------------------------------

for _name, _fn in {
    "logical_and": jnp.logical_and, "logical_or": jnp.logical_or, "logical_xor": jnp.logical_xor,
}.items():  # fmt: skip
    compare(_name, _fn, numbers=())
unary("logical_not", jnp.logical_not, promotes=None, computes=None, differentiable=False)


# ---- bits --------------------------------------------------------------------------------------


def _bits(name, fn, kernel=None, bools=True):
    kernel = kernel or f"{name}_cpu"
    kinds = (dt.FLOATING, dt.COMPLEX) if bools else (dt.BOOL, dt.FLOATING, dt.COMPLEX)

    def body(input, other):
        refuse(kernel, input, *kinds)
        return fn(input, other)

    body.__doc__ = f"{name}, elementwise."
    op(name, promotes="result", forms=FORMS, pointwise=True)(body)


def _shift_left(x, n):
    width = x.dtype.itemsize * 8
    fits = (n >= 0) & (n < width)
    return jnp.where(fits, jnp.left_shift(x, jnp.where(fits, n, 0)), 0).astype(x.dtype)


def _shift_right(x, n):
    width = x.dtype.itemsize * 8
    fits = (n >= 0) & (n < width)
    if torch_dtype(x).is_signed:
        return jnp.right_shift(x, jnp.where(fits, n, width - 1)).astype(x.dtype)
    return jnp.where(fits, jnp.right_shift(x, jnp.where(fits, n, 0)), 0).astype(x.dtype)


_bits("bitwise_and", jnp.bitwise_and)
_bits("bitwise_or", jnp.bitwise_or)
_bits("bitwise_xor", jnp.bitwise_xor)
_bits("bitwise_left_shift", _shift_left, "lshift_cpu", bools=False)
_bits("bitwise_right_shift", _shift_right, "rshift_cpu", bools=False)


@op(numbers=(), forms=FORMS)
def bitwise_not(input):
    """All bits flipped; ``not`` of a bool."""
    refuse("bitwise_not_cpu", input, dt.FLOATING, dt.COMPLEX)
    return jnp.logical_not(input) if input.dtype == bool else jnp.bitwise_not(input)


# ---- questions ---------------------------------------------------------------------------------

_QUESTION = {"promotes": None, "computes": None, "differentiable": False}


def _no_complex(name, fn):
    def body(x):
        if jnp.iscomplexobj(x):
            if name == "signbit":
                raise NotImplementedError("signbit is not implemented for complex tensors.")
            raise RuntimeError(f"{name} does not support complex inputs.")
        return fn(x)

    return body


def _never(x):
    return jnp.zeros(x.shape, bool)


unary("isnan", lambda x: jnp.isnan(x) if _inexact(x) else _never(x), forms=("function", "method"),
      **_QUESTION)  # fmt: skip
unary("isinf", lambda x: jnp.isinf(x) if _inexact(x) else _never(x), forms=("function", "method"),
      **_QUESTION)  # fmt: skip
unary("isfinite", lambda x: jnp.isfinite(x) if _inexact(x) else ~_never(x),
      forms=("function", "method"), **_QUESTION)  # fmt: skip
unary("isreal", lambda x: x.imag == 0 if jnp.iscomplexobj(x) else ~_never(x),
      forms=("function", "method"), **_QUESTION)  # fmt: skip
for _name, _sign in {"isposinf": 1, "isneginf": -1}.items():
    unary(
        _name,
        _no_complex(
            _name,
            lambda x, sign=_sign: x == sign * jnp.inf if _inexact(x) else _never(x),
        ),
        forms=("function", "method", "out"), **_QUESTION,
    )  # fmt: skip
unary(
    "signbit",
    _no_complex(
        "signbit",
        lambda x: jnp.signbit(x) if _inexact(x)
        else _never(x) if x.dtype == bool else x < 0,
    ),
    forms=("function", "method", "out"), **_QUESTION,
)  # fmt: skip


def _same_dtype(input, values):
    if hasattr(input, "shape") and hasattr(values, "shape") and input.dtype is not values.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")


@op(promotes="result", numbers=(), forms=FORMS, vjp=NO_DERIVATIVE, refuses=_same_dtype,
    grad_name="NotImplemented")  # fmt: skip
def heaviside(input, values):
    """0 below zero, 1 above, ``values`` at zero."""
    if jnp.iscomplexobj(input):
        raise RuntimeError("heaviside is not yet implemented for complex tensors.")
    above = (input > 0).astype(input.dtype)
    return jnp.where(input == 0, values, above)
