"""Signs, magnitudes, rounding, limits, and the parts of complex numbers."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops import conventions
from torchlike._ops.arithmetic import is_floating, not_implemented, refuse
from torchlike._ops.overloads import by_operand, is_tensor
from torchlike._ops.table import FORMS, Number, op, torch_dtype, unary

# ---- signs and magnitudes ----------------------------------------------------------------------


def _neg(x):
    if x.dtype == bool:
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
            "invert a mask, use the `~` or `logical_not()` operator instead."
        )
    return jnp.negative(x)


unary("neg", _neg, promotes=None, computes=None, linear=True)


def _abs(x):
    refuse("abs_cpu", x, dt.BOOL)
    return conventions.magnitude(x)


unary("abs", _abs, promotes=None, computes=None, forms=("method",))


def _sign(x):
    if jnp.iscomplexobj(x):
        raise NotImplementedError(
            "Unlike NumPy, torch.sign is not intended to support complex numbers. Please use "
            "torch.sgn instead."
        )
    return _sign_value(x)


def _sign_value(x):
    if x.dtype == bool:
        return x
    if is_floating(x):
        return conventions.sign(x)
    return jnp.sign(x)


def _sgn(x):
    if not jnp.iscomplexobj(x):
        return _sign_value(x)
    size = jnp.abs(x)
    return jnp.where(size == 0, 0, x / jnp.where(size == 0, 1, size))


unary("sign", _sign, promotes=None, computes=None, linear=True)
unary("sgn", _sgn, promotes=None, computes=None)


# ---- rounding ----------------------------------------------------------------------------------


def _rounding(name, fn):
    def body(x):
        refuse(f"{name}_vml_cpu", x, dt.BOOL, dt.COMPLEX)
        return fn(x) if is_floating(x) else x

    unary(name, body, promotes=None, linear=True)


_rounding("floor", jnp.floor)
_rounding("ceil", jnp.ceil)
_rounding("trunc", jnp.trunc)


def _frac(x):
    refuse("frac_cpu", x, dt.BOOL, dt.INTEGRAL, dt.COMPLEX)
    return x - lax.stop_gradient(jnp.trunc(x))


unary("frac", _frac, promotes=None, linear=True)


@op("round", computes="opmath", promotes="result", numbers=(), linear=True, forms=FORMS,
    grad_name=lambda c: f"RoundBackward{int(bool(c.decimals))}")  # fmt: skip
def round_(input, *, decimals: int = 0):
    """To the nearest integer, halves to even; or to so many decimals."""
    refuse("round_vml_cpu", input, dt.BOOL, dt.COMPLEX)
    if not is_floating(input):
        if decimals:
            raise not_implemented("round_cpu", input)
        return input
    if not decimals:
        return jnp.round(input)
    scale = jnp.asarray(float(f"1e{abs(decimals)}"), input.dtype)  # infinite, where 10.0**n raises
    if decimals < 0:
        return jnp.round(conventions.by_number(input, scale)) * scale
    return conventions.by_number(jnp.round(input * scale), scale)


# ---- limits ------------------------------------------------------------------------------------

# An element at the limit passes the gradient, nan does not; a tensor limit gets the gradient of
# what is beyond it.
raise_to = conventions.with_slopes(
    jnp.maximum,
    lambda r, x, low: x >= low,
    lambda r, x, low: x < low,
)
lower_to = conventions.with_slopes(
    jnp.minimum,
    lambda r, x, high: x <= high,
    lambda r, x, high: x > high,
)


def _no_limit(input, min=None, max=None):
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    given = [x for x in (min, max) if x is not None]
    ranks = [getattr(x, "ndim", None) for x in given]
    if None in ranks and any(ranks):
        raise TypeError(
            "clamp() received an invalid combination of arguments - got (Tensor, a Tensor and a "
            "number as limits)"
        )
    kernel = "clamp_max" if min is None else "clamp_min" if max is None else "clamp"
    _no_truth_limits(input, *given, kernel=kernel)


def _no_truth_limits(input, *limits, kernel):
    numbers = [x.__class__ is tuple and x[0] is bool for x in limits]
    if all(numbers) and input.dtype is dt.bool_:
        raise NotImplementedError(f"\"{kernel}_scalar_cpu\" not implemented for 'Bool'")


@op(promotes="result", forms=FORMS, pointwise=True, numbers=("min", "max"), refuses=_no_limit,
    grad_name=lambda c: f"ClampBackward{int(not is_tensor(c.min) and not is_tensor(c.max))}",
)  # fmt: skip
def clamp(input, min=None, max=None):
    """Into the range from ``min`` to ``max``; ``max`` wins if they cross."""
    if jnp.iscomplexobj(input):
        raise NotImplementedError("clamp is not supported for complex types")
    out = input if min is None else raise_to(input, min)
    return out if max is None else lower_to(out, max)


@op(promotes="result", forms=FORMS, pointwise=True, numbers=("min",),
    refuses=lambda input, min: _no_truth_limits(input, min, kernel="clamp_min"),
    grad_name=by_operand("ClampMin", "min", 1, 0))  # fmt: skip
def clamp_min(input, min):
    """Not below ``min``."""
    if jnp.iscomplexobj(input):
        raise NotImplementedError("clamp is not supported for complex types")
    return raise_to(input, min)


@op(promotes="result", forms=FORMS, pointwise=True, numbers=("max",),
    refuses=lambda input, max: _no_truth_limits(input, max, kernel="clamp_max"),
    grad_name=by_operand("ClampMax", "max", 1, 0))  # fmt: skip
def clamp_max(input, max):
    """Not above ``max``."""
    if jnp.iscomplexobj(input):
        raise NotImplementedError("clamp is not supported for complex types")
    return lower_to(input, max)


@op(numbers=(), forms=FORMS)
def nan_to_num(input, nan: Number = None, posinf: Number = None, neginf: Number = None):
    """Finite numbers in the place of nan and of infinities (the largest ones by default)."""
    if not jnp.issubdtype(input.dtype, jnp.inexact):
        return input
    if jnp.iscomplexobj(input):
        parts = (nan_to_num(p, nan, posinf, neginf) for p in (input.real, input.imag))
        return lax.complex(*parts)
    limits = jnp.finfo(input.dtype)
    given = (
        (0, nan, jnp.isnan(input)),
        (limits.max, posinf, input == jnp.inf),
        (limits.min, neginf, input == -jnp.inf),
    )
    out = input
    for default, number, at in given:
        value = jnp.asarray(default if number is None else number, input.dtype)
        out = jnp.where(at, value, out)
    return out


# ---- complex numbers ---------------------------------------------------------------------------


@op("conj_physical", numbers=(), linear=True, forms=("inplace",))
def conj_physical(input):
    """The complex conjugate; a real tensor as it is."""
    return jnp.conj(input) if jnp.iscomplexobj(input) else input


def _angle(x):
    if jnp.iscomplexobj(x):
        # The angle of a signed zero still tells its sign; it has no slope.
        zero, still = x == 0, lax.stop_gradient(x)
        x = jnp.where(zero, 1, x)
        at_zero = jnp.arctan2(still.imag, still.real)
        return jnp.where(zero, at_zero, jnp.arctan2(x.imag, x.real))
    out = jnp.where(x < 0, jnp.asarray(jnp.pi, x.dtype), jnp.zeros((), x.dtype))
    return jnp.where(jnp.isnan(x), lax.stop_gradient(x), out)


unary("angle", _angle, forms=("function", "method", "out"))


def _parts(kernel):
    def refuses(a, b):
        for x in (a, b):
            if x.dtype not in (dt.float16, dt.float32, dt.float64):
                raise RuntimeError(
                    "Expected both inputs to be Half, Float or Double tensors but got "
                    f"{dt.SCALAR_NAMES[a.dtype]} and {dt.SCALAR_NAMES[b.dtype]}"
                )
        if a.dtype is not b.dtype:
            raise RuntimeError(
                f"Expected object of scalar type {dt.SCALAR_NAMES[a.dtype]} but got scalar type "
                f"{dt.SCALAR_NAMES[b.dtype]} for second argument"
            )

    def guarded(*avals):
        if all(hasattr(a, "shape") for a in avals):
            refuses(*avals)

    return guarded


@op(numbers=(), promotes="result", forms=("function", "out"), needs={"real": (), "imag": ()},
    refuses=_parts("complex"))  # fmt: skip
def complex(real, imag):
    """real + imag * i."""
    return lax.complex(*jnp.broadcast_arrays(real, imag))


@op(numbers=(), promotes="result", forms=("function", "out"), refuses=_parts("polar"))
def polar(abs, angle):
    """The complex number of an absolute value and an angle."""
    abs, angle = jnp.broadcast_arrays(abs, angle)
    return lax.complex(abs * jnp.cos(angle), abs * jnp.sin(angle))


_ = torch_dtype
