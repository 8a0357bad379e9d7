"""Bessel, modified and spherical Bessel functions and Airy's, as PyTorch has them: no gradients."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax.scipy import special

from torchlike._core import dtypes as dt
from torchlike._ops import chebyshev as ch
from torchlike._ops.arithmetic import not_implemented, refuse
from torchlike._ops.chebyshev import series
from torchlike._ops.table import register, torch_dtype


def refuse_half(kernel: str, x) -> None:
    """Raise for the dtypes that PyTorch's double-precision algorithms are not compiled for."""
    refuse(kernel, x, dt.COMPLEX)
    if torch_dtype(x) in dt.HALF:
        raise not_implemented(kernel, x)


def _function(name, fn):
    """Register a function of one operand that has neither half precision nor a gradient."""

    def body(input):
        refuse_half(f"{name}_cpu", input)
        return fn(input)

    body.__doc__ = fn.__doc__
    register(f"special_{name}", body, promotes="float", numbers=(), differentiable=False,
             pointwise=True, forms=("out",))  # fmt: skip


# ---- of integer order --------------------------------------------------------------------------


def _angle(order, x):
    """Cosine and sine of x - (2 order + 1) pi / 4, without the rounding of that difference."""
    c, s = jnp.cos(x) * math.sqrt(0.5), jnp.sin(x) * math.sqrt(0.5)
    return (c + s, s - c) if order == 0 else (s - c, -s - c)


def _far(order, second, x):
    """The function of the first or second kind for x >= 8."""
    t = 128 / (x * x) - 1
    p, q = (ch.P0, ch.Q0) if order == 0 else (ch.P1, ch.Q1)
    p, q = series(p, t), series(q, t) / x
    c, s = _angle(order, x)
    wave = p * s + q * c if second else p * c - q * s
    return jnp.sqrt(2 / (math.pi * x)) * wave


def _split(x, bound):
    """x on the near side and on the far side of a bound; elsewhere a number that does no harm."""
    return jnp.minimum(x, bound), jnp.maximum(x, bound)


def j0(x):
    """Bessel function of the first kind, order 0."""
    x = jnp.abs(x)
    near, far = _split(x, 8)
    return jnp.where(x < 8, series(ch.J0, near * near / 32 - 1), _far(0, False, far))


def j1(x):
    """Bessel function of the first kind, order 1."""
    near, far = _split(jnp.abs(x), 8)
    small = near * series(ch.J1_OVER_X, near * near / 32 - 1)
    return jnp.copysign(1, x) * jnp.where(jnp.abs(x) < 8, small, _far(1, False, far))


def _second_kind(x, small, large):
    value = jnp.where(x < 8, small, large)
    return jnp.where(x > 0, value, jnp.where(x == 0, -jnp.inf, jnp.nan)).astype(x.dtype)


def y0(x):
    """Bessel function of the second kind, order 0."""
    near, far = _split(x, 8)
    t = near * near / 32 - 1
    small = series(ch.Y0, t) + 2 / math.pi * jnp.log(near) * series(ch.J0, t)
    return _second_kind(x, small, _far(0, True, far))


def y1(x):
    """Bessel function of the second kind, order 1."""
    near, far = _split(x, 8)
    t = near * near / 32 - 1
    regular = near * series(ch.J1_OVER_X, t)
    small = near * series(ch.Y1_OVER_X, t) + 2 / math.pi * (jnp.log(near) * regular - 1 / near)
    return _second_kind(x, small, _far(1, True, far))


def _spherical(x):
    """Spherical Bessel function of the first kind, order 0."""
    ratio = jnp.sin(x) / jnp.where(x == 0, 1, x)
    return jnp.where(x == 0, 1, jnp.where(jnp.isinf(x), 0, ratio)).astype(x.dtype)


_function("bessel_j0", j0)
_function("bessel_j1", j1)
_function("bessel_y0", y0)
_function("bessel_y1", y1)
_function("spherical_bessel_j0", _spherical)


# ---- modified ----------------------------------------------------------------------------------


def _modified(order, scaled):
    """The modified function of the second kind, times exp(x) if scaled."""

    def body(x):
        near, far = _split(x, 2)
        t, logarithm = near * near / 2 - 1, jnp.log(near / 2)
        if order == 0:
            small = series(ch.K0_NEAR, t) - logarithm * special.i0(near)
        else:
            small = series(ch.K1_NEAR, t) / near + logarithm * special.i1(near)
        large = series(ch.K1_FAR if order else ch.K0_FAR, 4 / far - 1) / jnp.sqrt(far)
        if scaled:
            small = small * jnp.exp(near)
        else:
            large = large * jnp.exp(-far)
        value = jnp.where(x <= 2, small, large)
        value = jnp.where(x > 0, value, jnp.where(x == 0, jnp.inf, jnp.nan))
        return value.astype(x.dtype)

    body.__doc__ = (
        f"{'Scaled m' if scaled else 'M'}odified Bessel function of the second kind, order {order}."
    )
    return body


def _i0(x):
    """Modified Bessel function of the first kind, order 0."""
    return special.i0(x)


def _i1(x):
    """Modified Bessel function of the first kind, order 1."""
    return special.i1(x)


_function("modified_bessel_i0", _i0)
_function("modified_bessel_i1", _i1)
_function("modified_bessel_k0", _modified(0, False))
_function("modified_bessel_k1", _modified(1, False))
_function("scaled_modified_bessel_k0", _modified(0, True))
_function("scaled_modified_bessel_k1", _modified(1, True))


# ---- Airy --------------------------------------------------------------------------------------


def _phase(x):
    return 2 / 3 * x * x**0.5


def airy_ai(x):
    """Airy function Ai; nan at both infinities as PyTorch's."""
    middle = series(ch.AIRY_MIDDLE, (jnp.clip(x, -6, 2) + 2) / 4)
    right = jnp.maximum(x, 2)
    z = _phase(right)
    decaying = series(ch.AIRY_POSITIVE, 2 * _phase(2.0) / z - 1)
    decaying = decaying * jnp.exp(-z) / (2 * math.sqrt(math.pi) * jnp.sqrt(jnp.sqrt(right)))
    left = jnp.maximum(-x, 6)
    z = _phase(left)
    t = 2 * (_phase(6.0) / z) ** 2 - 1
    # cos(z - pi / 4) = sin(z + pi / 4), and sin(z - pi / 4) = -cos(z + pi / 4).
    sine, minus_cosine = _angle(0, z)
    wave = series(ch.AIRY_P, t) * sine + series(ch.AIRY_Q, t) / z * minus_cosine
    wave = wave / (math.sqrt(math.pi) * jnp.sqrt(jnp.sqrt(left)))
    value = jnp.where(x < -6, wave, jnp.where(x > 2, decaying, middle))
    return jnp.where(jnp.isinf(x), jnp.nan, value).astype(x.dtype)


_function("airy_ai", airy_ai)
