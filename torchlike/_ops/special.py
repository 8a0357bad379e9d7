"""Special functions: error function and normal distribution, entropy, modified Bessel, zeta."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import lax
from jax.scipy import special

from torchlike._core import dtypes as dt
from torchlike._ops.arithmetic import refuse
from torchlike._ops.bessel import refuse_half
from torchlike._ops.chebyshev import ERFCX, series
from torchlike._ops.conventions import with_slopes, zero_where
from torchlike._ops.overloads import by_sides
from torchlike._ops.table import op, unary
from torchlike._ops.trigonometry import hurwitz


def _real(kernel, fn, half=True):
    """``fn`` for real operands, or those without half precision."""

    def body(x):
        refuse(kernel, x, dt.COMPLEX) if half else refuse_half(kernel, x)
        return fn(x)

    return body


def _function(name, fn, half=True, kernel=None, **attributes):
    """Register a function of ``torch.special`` alone."""
    body = _real(kernel or f"{name}_cpu", fn, half)
    unary(f"special_{name}", body, computes="opmath" if half else None, forms=("out",),
          **attributes)  # fmt: skip


# ---- error function and normal distribution ----------------------------------------------------


def _erfcx_value(x):
    a = jnp.abs(x)
    t = jnp.where(jnp.isinf(a), 1, (a - 3.75) / (a + 3.75)).astype(x.dtype)
    right = series(ERFCX, t) / (1 + 2 * a)
    return jnp.where(x < 0, 2 * jnp.exp(x * x) - right, right)


_erfcx = with_slopes(_erfcx_value, lambda r, x: 2 * x * r - 2 / math.sqrt(math.pi))


def _log_ndtr_value(x):
    # Where 1 - erf loses its digits, exp(-x ** 2 / 2) is taken out and its logarithm is exact.
    far = x < -1
    tail = jnp.log(_erfcx(-jnp.where(far, x, 0) * math.sqrt(0.5)) / 2) - x * x / 2
    return jnp.where(far, tail, jnp.log1p(-lax.erfc(x * math.sqrt(0.5)) / 2))


_log_ndtr = with_slopes(
    _log_ndtr_value, lambda r, x: math.sqrt(2 / math.pi) / _erfcx(-x * math.sqrt(0.5))
)
_ndtri = with_slopes(special.ndtri, lambda r, x: math.sqrt(2 * math.pi) * jnp.exp(r * r / 2))

_function("erfcx", _erfcx, half=False)
_function("log_ndtr", _log_ndtr, half=False)
_function("ndtri", _ndtri, half=False)
_function("ndtr", lambda x: lax.erfc(-x * math.sqrt(0.5)) / 2, kernel="erf_vml_cpu",
          grad_name="MulBackward1")  # fmt: skip


# ---- entropies ---------------------------------------------------------------------------------


def _entr_value(x):
    value = jnp.where(x > 0, -x * jnp.log(x), jnp.where(x == 0, 0, -jnp.inf))
    return jnp.where(jnp.isnan(x), x, value).astype(x.dtype)


_function("entr", with_slopes(_entr_value, lambda r, x: -(1 + jnp.log(x))))


@op("special_xlog1py", promotes="float", computes="opmath", forms=("out",),
    grad_name=by_sides("SpecialXlog1Py"))  # fmt: skip
def xlog1py(input, other):
    """input * log1p(other), 0 where the input is 0 and the other no nan."""
    refuse("xlog1py_cpu", input, dt.COMPLEX)
    return _xlog1py(input, other)


_xlog1py = with_slopes(
    lambda x, y: jnp.where(jnp.isnan(y), y, zero_where(x == 0, x * jnp.log1p(y))),
    lambda r, x, y: zero_where((x == 0) & (y <= -1), jnp.log1p(y)),
    lambda r, x, y: x / (y + 1),
)


# ---- modified Bessel functions -----------------------------------------------------------------


def _beyond_eps(x, slope):
    """A slope that divides by x, and its limit of one half about 0."""
    away = jnp.abs(x) > jnp.finfo(x.dtype).eps
    return jnp.where(away, slope(jnp.where(away, x, 1)), 0.5).astype(x.dtype)


_i1 = with_slopes(special.i1, lambda r, x: _beyond_eps(x, lambda y: special.i0(x) - r / y))
_i0e = with_slopes(special.i0e, lambda r, x: _i1e(x) - jnp.sign(x) * r)
_i1e = with_slopes(
    special.i1e, lambda r, x: _beyond_eps(x, lambda y: _i0e(x) - r * (jnp.sign(x) + 1 / y))
)

unary("i0", _real("i0_vml_cpu", with_slopes(special.i0, lambda r, x: _i1(x))))
_function("i1", _i1)
_function("i0e", _i0e, grad_name="SpecialI0EBackward0")
_function("i1e", _i1e, grad_name="SpecialI1EBackward0")


# ---- zeta --------------------------------------------------------------------------------------


_zeta = with_slopes(hurwitz, None, lambda r, x, q: -x * _zeta(x + 1, q))


def _zeta_rule(c, g):
    x, q = (getattr(a, "array", a).astype(g.dtype) for a in c.operands)
    return None, -g * x * _zeta(x + 1, q)


_zeta_rule.undefined = {"input": "zeta"}


@op("special_zeta", promotes="float", forms=("out",), grad_name=by_sides("SpecialZeta"),
    vjp=_zeta_rule)  # fmt: skip
def zeta(input, other):
    """The Hurwitz zeta function, the sum of (k + other) ** -input over k >= 0."""
    refuse_half("zeta_cpu", input)
    return _zeta(input, other)
