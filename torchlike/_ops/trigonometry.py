"""Exponentials, logarithms, roots, trigonometric and special functions of one operand."""

from __future__ import annotations

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops import conventions
from torchlike._ops.arithmetic import refuse
from torchlike._ops.table import FORMS, binary, op, unary

# ---- powers, exponentials, logarithms ----------------------------------------------------------

unary("sqrt", jnp.sqrt, saves="result", vjp=conventions.sqrt)
unary("rsqrt", lambda x: 1 / jnp.sqrt(x) if jnp.iscomplexobj(x) else lax.rsqrt(x),
      saves="result", vjp=conventions.rsqrt)  # fmt: skip
unary("exp", jnp.exp, saves="result", vjp=conventions.exp)


def _exp2(x):
    if jnp.iscomplexobj(x):
        return jnp.exp2(x)
    # XLA's exp2 is the exp of a product: its error grows with x, and 2**13 is no whole number.
    return lax.pow(jnp.full((), 2, x.dtype), x)


unary("exp2", _exp2, saves="result", vjp=conventions.exp2)
unary("expm1", jnp.expm1, saves="result", vjp=conventions.expm1)
unary("log", jnp.log)


def _parts(x):
    """m and e of x = m * 2**e, e a whole number and m around 1."""
    kind = jnp.finfo(x.dtype)
    integer = jnp.int64 if kind.bits == 64 else jnp.int32
    bits = lax.bitcast_convert_type(x, integer)
    half = lax.bitcast_convert_type(jnp.full((), math.sqrt(0.5), x.dtype), integer)
    e = (bits - half) >> kind.nmant
    m = lax.bitcast_convert_type(bits - (e << kind.nmant), x.dtype)
    normal = (x >= kind.tiny) & (x < jnp.inf)
    return jnp.where(normal, m, x), jnp.where(normal, e, 0).astype(x.dtype)


# A logarithm of all of x, divided by one of the base, would miss the whole numbers: the floor of
# log2(8) is no 2.


def _log2(x):
    m, e = _parts(x)
    return e + jnp.log(m) * (1 / math.log(2))


_LOG10_OF_2 = Fraction("0.301029995663981195213738894724493026768")


def _log10(x):
    m, e = _parts(x)
    fine = 2**40 if x.dtype == jnp.float64 else 2**16
    high = Fraction(math.floor(_LOG10_OF_2 * fine), fine)  # so short that its product is exact
    return e * float(high) + (e * float(_LOG10_OF_2 - high) + jnp.log(m) * (1 / math.log(10)))


def _log_to(base, value, general):
    real = conventions.with_slopes(value, lambda r, x: 1 / (x * math.log(base)))
    return lambda x: (general if jnp.iscomplexobj(x) else real)(x)


unary("log2", _log_to(2, _log2, jnp.log2))
unary("log10", _log_to(10, _log10, jnp.log10))
unary("log1p", jnp.log1p, grad_name="Log1PBackward0")


# ---- trigonometric and hyperbolic --------------------------------------------------------------

unary("sin", jnp.sin)
unary("cos", jnp.cos)
unary("tan", jnp.tan, saves="result", vjp=conventions.tan)
unary("asin", jnp.arcsin)
unary("acos", jnp.arccos)
unary("atan", jnp.arctan)
unary("sinh", jnp.sinh)
unary("cosh", jnp.cosh)
unary("tanh", jnp.tanh, saves="result", vjp=conventions.tanh)
unary("asinh", jnp.arcsinh)
unary("acosh", jnp.arccosh)
# Not 1 - x * x, which is another number near 1 where it is computed in one step.
_atanh_slope = conventions.with_slopes(
    lambda x: 1 / ((1 - x) * (1 + x)), lambda slope, x: 2 * x * slope * slope
)
unary("atanh", conventions.with_slopes(jnp.arctanh, lambda r, x: _atanh_slope(x)))


def _sinc_slope(r, x):
    square = math.pi * x * x
    at = square == 0  # also where it underflows
    angle = math.pi * x
    slope = (angle * jnp.cos(angle) - jnp.sin(angle)) / jnp.where(at, 1, square)
    return conventions.zero_where(at, slope)


unary("sinc", conventions.with_slopes(jnp.sinc, _sinc_slope))


def _no_complex(name, factor):
    def body(x):
        if jnp.iscomplexobj(x):
            raise RuntimeError(f"{name} is not supported for complex tensors.")
        return x * factor

    return body


unary("deg2rad", _no_complex("deg2rad", math.pi / 180), linear=True, grad_name="Deg2RadBackward0")
unary("rad2deg", _no_complex("rad2deg", 180 / math.pi), linear=True, grad_name="Rad2DegBackward0")


def _atan2(x, y):
    refuse("atan2_cpu", x, dt.COMPLEX)
    return _arctan2(x, y)


def _per_square(a, y, x):
    """a / (x² + y²); 0 where both are."""
    square = x * x + y * y
    return conventions.zero_where(square == 0, a / square)


_arctan2 = conventions.with_slopes(
    jnp.arctan2,
    lambda r, y, x: _per_square(x, y, x),
    lambda r, y, x: _per_square(-y, y, x),
)
binary("atan2", _atan2, promotes="float", numbers=())


# ---- activations -------------------------------------------------------------------------------

unary("sigmoid", jax.nn.sigmoid, saves="result", vjp=conventions.sigmoid)


def _relu(x):
    if x.dtype == bool:
        raise RuntimeError("Boolean inputs not supported for relu")
    if jnp.iscomplexobj(x):
        raise NotImplementedError("clamp is not supported for complex types")
    return jnp.maximum(x, 0)


unary("relu", _relu, promotes=None, computes=None, saves="result", vjp=conventions.relu,
      forms=("function", "method", "inplace"))  # fmt: skip


@op(promotes="float", computes="opmath", numbers=(), forms=FORMS)
def logit(input, eps: float | None = None):
    """log(x / (1 - x)), x first clamped to [eps, 1 - eps] if eps is given."""
    refuse("logit_cpu", input, dt.COMPLEX)
    return _logit(eps)(input)


def _logit(eps):
    low, high = (0.0, 1.0) if eps is None else (eps, 1 - eps)

    def value(x):
        if eps is not None:  # beyond one half the lower limit is the upper one, and wins
            x = jnp.where(x < low, low, jnp.where(x > high, high, x)).astype(x.dtype)
        return jnp.log(x / (1 - x))

    def slope(r, x):
        outside = (x < low) | (x > high)
        return jnp.where(outside, jnp.nan if eps is None else 0.0, 1 / (x * (1 - x))).astype(
            r.dtype
        )

    return conventions.with_slopes(value, slope)


# ---- special -----------------------------------------------------------------------------------


def _real(name, fn):
    def body(x):
        refuse(name, x, dt.COMPLEX)
        return fn(x)

    return body


unary("erf", _real("erf_vml_cpu", lax.erf))
unary("erfc", _real("erfc_vml_cpu", lax.erfc))
unary("erfinv", _real("erfinv_vml_cpu", lax.erf_inv))


def hurwitz(s, q):
    """The Hurwitz zeta function, the sum of (k + q) ** -s over k >= 0; below 0 for whole s only."""
    s, q = jnp.broadcast_arrays(s, q)
    # XLA's is good for positive q. The terms of negative k + q mirror a piece of such a sum:
    # near + 0, near + 1, ... up to -q.
    below = (q < 0) & (s > 1)
    count = jnp.where(below, jnp.ceil(-q), 0)
    first = q + count
    near, beyond = -(q + (count - 1)), 1 - q
    sums = lax.zeta(
        jnp.broadcast_to(s, (3, *s.shape)),
        jnp.stack([first, jnp.where(below, near, 1), jnp.where(below, beyond, 1)]),
    )
    mirrored = jnp.where(s % 2 == 0, sums[1] - sums[2], sums[2] - sums[1])
    value = jnp.where(below, sums[0] + mirrored, sums[0])
    value = jnp.where(below & (s != jnp.floor(s)), jnp.nan, value)
    # One of the terms is 1 / 0 or, with an infinite exponent, the power of a number below 1.
    pole = (q <= 0) & (q == jnp.floor(q)) | (s == jnp.inf) & (q < 1)
    return jnp.where(pole & ~(s <= 1), jnp.inf, value).astype(q.dtype)


def polygamma_value(n, x):
    """The n-th derivative of digamma, with PyTorch's values at the poles."""
    if n == 0:
        # At zero digamma goes to minus infinity from above.
        pole = jnp.copysign(jnp.asarray(jnp.inf, x.dtype), -x)
        return jnp.where(x == 0, pole, lax.digamma(jnp.where(x == 0, 1, x)))
    sign = 1.0 if n % 2 else -1.0
    factor = jnp.asarray(sign * math.gamma(n + 1), x.dtype)
    return factor * hurwitz(jnp.asarray(float(n + 1), x.dtype), x)


def polygamma_of(n):
    """``polygamma_value`` of an order, whose slope is that of the next."""
    return conventions.with_slopes(
        lambda x: polygamma_value(n, x), lambda r, x: polygamma_of(n + 1)(x)
    )


def _log_gamma(x):
    """log|gamma(x)|, of float32 by way of float64 on a CPU: XLA's own is 2 ulp off at 6, and wrong
    in the third digit near its zeros between negative numbers."""
    if x.dtype != jnp.float32:
        return lax.lgamma(x)
    wide = lambda x: lax.lgamma(x.astype(jnp.float64)).astype(jnp.float32)  # noqa: E731
    return lax.platform_dependent(x, cpu=wide, default=lax.lgamma)


_lgamma = conventions.with_slopes(_log_gamma, lambda r, x: polygamma_of(0)(x))
unary("lgamma", _real("lgamma_vml_cpu", _lgamma))
unary("digamma", _real("digamma", lambda x: polygamma_of(0)(x)))


@op("polygamma_of_order", promotes="float", computes="opmath", grad_name="PolygammaBackward0")
def polygamma(input, n: int):
    """The n-th derivative of digamma."""
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    refuse("polygamma", input, dt.COMPLEX)
    return polygamma_of(n)(input)


@op(promotes="float", computes="opmath", numbers=(), forms=FORMS)
def mvlgamma(input, p: int):
    """The logarithm of the multivariate gamma function of dimension p."""
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    refuse("mvlgamma", input, dt.COMPLEX)
    shifts = jnp.asarray([-i / 2 for i in range(p)], input.dtype)
    total = _log_gamma(input[..., None] + shifts).sum(-1)
    return total + p * (p - 1) / 4 * math.log(math.pi)


@op(promotes="result", computes="opmath", numbers=(), forms=FORMS)
def igamma(input, other):
    """The regularised lower incomplete gamma function."""
    refuse("igamma_cpu", input, dt.BOOL, dt.INTEGRAL, dt.COMPLEX)
    return lax.igamma(*jnp.broadcast_arrays(input, other))


@op(promotes="result", computes="opmath", numbers=(), forms=FORMS)
def igammac(input, other):
    """The regularised upper incomplete gamma function."""
    refuse("igammac_cpu", input, dt.BOOL, dt.INTEGRAL, dt.COMPLEX)
    return lax.igammac(*jnp.broadcast_arrays(input, other))


@op("frexp", numbers=(), forms=("function", "method", "out", ("mantissa", "exponent")))
def frexp(input):
    """Mantissa and exponent of floating numbers."""
    if not jnp.issubdtype(input.dtype, jnp.floating):
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    exponent = jnp.frexp(lax.stop_gradient(input))[1].astype(jnp.int32)
    return _mantissa(input), jnp.where(jnp.isfinite(input), exponent, 0)


_mantissa = conventions.with_slopes(
    lambda x: jnp.where(jnp.isfinite(x), jnp.frexp(x)[0], x).astype(x.dtype),
    lambda r, x: jnp.exp2(-jnp.frexp(x)[1].astype(x.dtype)),
)
