"""Gamma and Dirichlet samples: their gradients by the parameters, and draws on accelerators."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import digamma

from torchlike._ops import loops
from torchlike._ops.derivatives import NO_DERIVATIVE
from torchlike._ops.sample import compute_dtype, in_blocks, key_of
from torchlike._ops.table import Dtype, Shape, op

# ---- gradients of samples ----------------------------------------------------------------------

_SMALL = 1e-30  # what stands for zero in the continued fraction
_MOST_STEPS = 500


def _gamma_slope(alpha, sample):
    """d sample / d alpha where the sample's cdf stays as it is."""
    wide = jnp.promote_types(alpha.dtype, jnp.float32)
    return lax.random_gamma_grad(alpha.astype(wide), sample.astype(wide)).astype(alpha.dtype)


def _fraction(a, b, x, along):
    """The continued fraction of the incomplete beta function at x, and its relative slope.

    B(x; a, b) is x**a (1 - x)**b / a times the fraction; it converges fast for x < a / (a + b).
    Lentz's algorithm (Numerical Recipes, section 6.4), each step differentiated as it goes:
    ``along`` are the tangents of a and b.
    """

    def inverse(v):
        return 1 / jnp.where(jnp.abs(v) < _SMALL, _SMALL, v)

    def first(a, b):
        d = inverse(1 - (a + b) * x / (a + 1))
        return jnp.ones_like(d), d, d

    def step(m, a, b, c, d, h):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = inverse(1 + numerator * d)
            c = 1 + numerator * inverse(c)
            h = h * d * c
        return c, d, h

    def go(state):
        m, _, primal, slope = state
        m = m + 1
        new = jax.jvp(lambda *args: step(m, *args), (a, b, *primal), (*along, *slope))
        change = jnp.abs(new[1][2] - slope[2]) / (jnp.abs(new[1][2]) + 1e-3)
        return m, jnp.max(change, initial=0), *new

    eps = 4 * jnp.finfo(x.dtype).eps
    begin = jnp.zeros((), x.dtype), jnp.ones((), x.dtype), *jax.jvp(first, (a, b), along)
    done = loops.while_loop(lambda s: (s[0] < _MOST_STEPS) & (s[1] > eps), go, begin)
    return done[2][2], done[3][2] / done[2][2]


def _dirichlet_slope(sample, alpha, total):
    """d sample / d alpha / (1 - sample) of Beta(alpha, total - alpha) where its cdf stays."""
    x, a, total = (v.astype(jnp.float64) for v in (sample, alpha, total))
    b = total - a
    low = x < (a + 1) / (total + 2)
    by_a = low.astype(x.dtype)
    # Above the bound the fraction is that of 1 - x, with the parameters exchanged.
    value, slope = _fraction(
        jnp.where(low, a, b), jnp.where(low, b, a), jnp.where(low, x, 1 - x), (by_a, 1 - by_a)
    )
    # The derivative of log B(x; a, b) / B(a, b) but for the fraction; digamma(a + 1) holds 1 / a.
    rest = jnp.log(x) + digamma(total) - digamma(jnp.where(low, a + 1, a))
    result = jnp.where(low, -x / a, x / b) * value * (rest + slope)
    return result.astype(sample.dtype)


def _gamma_rule(c, g):
    return g * _gamma_slope(*c.operands), None


_gamma_rule.vjp = NO_DERIVATIVE  # nor has PyTorch; JAX would fail on the loop inside


@op("standard_gamma", vjp=_gamma_rule, grad_name="StandardGammaBackward0")
def standard_gamma(alpha, sample):
    """A gamma sample on the tape, as a function of its concentration."""
    return sample


@op("_standard_gamma_grad", forms=("function",), vjp=NO_DERIVATIVE)
def standard_gamma_grad(self, output):
    """The derivative of gamma samples by their concentration."""
    return _gamma_slope(self, output)


def _dirichlet_rule(c, g):
    alpha, x = c.operands
    slope = _dirichlet_slope(x, alpha, jnp.broadcast_to(alpha.sum(-1, keepdims=True), x.shape))
    return slope * (g - (x * g).sum(-1, keepdims=True)), None


_dirichlet_rule.vjp = NO_DERIVATIVE


@op("dirichlet_sample", vjp=_dirichlet_rule, grad_name="_DirichletBackward")
def dirichlet_sample(alpha, sample):
    """A Dirichlet sample on the tape, as a function of its concentrations."""
    return sample


@op("_dirichlet_grad", forms=("function",), vjp=NO_DERIVATIVE)
def dirichlet_grad(x, alpha, total):
    """The derivative of Dirichlet samples by their concentrations, divided by 1 - x."""
    return _dirichlet_slope(x, alpha, total)


# ---- draws on accelerators ---------------------------------------------------------------------


@op("draw_gamma", differentiable=False, promotes="raw")
def draw_gamma(seed, offset, alpha):
    """Gamma samples of scale 1."""
    wide = alpha.astype(jnp.promote_types(alpha.dtype, jnp.float32))
    drawn = jax.random.gamma(key_of(seed, offset), wide, wide.shape, wide.dtype)
    return jnp.maximum(drawn.astype(alpha.dtype), jnp.finfo(alpha.dtype).tiny)


@op("draw_dirichlet", differentiable=False, promotes="raw")
def draw_dirichlet(seed, offset, alpha):
    """Dirichlet samples along the last dimension."""
    wide = alpha.astype(jnp.promote_types(alpha.dtype, jnp.float32))
    # Their logarithms: gammas of small concentrations underflow.
    logs = jax.random.loggamma(key_of(seed, offset), wide, wide.shape, wide.dtype)
    info = jnp.finfo(alpha.dtype)
    shares = jax.nn.softmax(logs, axis=-1).astype(alpha.dtype)
    return jnp.clip(shares, info.tiny, 1 - info.epsneg)


@op("draw_poisson", differentiable=False, promotes="raw")
def draw_poisson(seed, offset, rate):
    """Poisson samples."""
    wide = rate.astype(jnp.promote_types(rate.dtype, jnp.float32))
    return jax.random.poisson(key_of(seed, offset), wide, wide.shape, jnp.int64).astype(rate.dtype)


@op("draw_binomial", differentiable=False, promotes="raw")
def draw_binomial(seed, offset, count, prob):
    """Binomial samples."""
    shape = jnp.broadcast_shapes(count.shape, prob.shape)
    wide = jnp.promote_types(prob.dtype, jnp.float32)
    n, p = (jnp.broadcast_to(v, shape).astype(wide) for v in (count, prob))
    return jax.random.binomial(key_of(seed, offset), n, p, shape, wide).astype(prob.dtype)


@op("draw_exponential", differentiable=False, promotes="raw")
def draw_exponential(seed, offset, size: Shape, dtype: Dtype):
    """Standard exponential numbers; none is zero, as PyTorch's are: they are divided by."""
    draw = partial(jax.random.exponential, dtype=compute_dtype(dtype))
    drawn = in_blocks(draw, seed, offset, size).astype(dtype.numpy)
    return jnp.maximum(drawn, jnp.finfo(dtype.numpy).eps / 2)


@op("draw_cauchy", differentiable=False, promotes="raw")
def draw_cauchy(seed, offset, size: Shape, dtype: Dtype):
    """Standard Cauchy numbers."""
    draw = partial(jax.random.cauchy, dtype=compute_dtype(dtype))
    return in_blocks(draw, seed, offset, size).astype(dtype.numpy)
