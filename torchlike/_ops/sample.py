"""Counter-based random draws for accelerators: the same numbers for (seed, offset) anywhere."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from torchlike._core import dtypes as dt
from torchlike._ops.table import Dtype, Shape, op


def _key(seed, offset):
    seed, offset = (getattr(x, "array", x) for x in (seed, offset))
    # The high and low words of the seed both count: threefry keys take 64 bits.
    key = jax.random.fold_in(jax.random.PRNGKey(0, impl="threefry2x32"), seed & 0xFFFFFFFF)
    key = jax.random.fold_in(key, (seed >> 32) & 0xFFFFFFFF)
    return jax.random.fold_in(key, offset & 0xFFFFFFFF)


def _compute(dtype):
    return jnp.float64 if dtype in (dt.float64, dt.complex128) else jnp.float32


@op("draw_uniform", differentiable=False, promotes="raw")
def draw_uniform(seed, offset, size: Shape, dtype: Dtype):
    """Uniform numbers in [0, 1)."""
    return jax.random.uniform(_key(seed, offset), size, _compute(dtype)).astype(dtype.numpy)


@op("draw_normal", differentiable=False, promotes="raw")
def draw_normal(seed, offset, size: Shape, dtype: Dtype):
    """Standard normal numbers."""
    kind = dtype.numpy if dtype.is_complex else _compute(dtype)
    return jax.random.normal(_key(seed, offset), size, kind).astype(dtype.numpy)


@op("draw_integers", differentiable=False, promotes="raw")
def draw_integers(seed, offset, low, high, size: Shape, dtype: Dtype):
    """Integers in [low, high)."""
    low, high = low.array, high.array
    drawn = jax.random.randint(_key(seed, offset), size, low, high, jnp.int64)
    return drawn.astype(dtype.numpy)


@op("draw_permutation", differentiable=False, promotes="raw")
def draw_permutation(seed, offset, size: Shape, dtype: Dtype):
    """A permutation of range(n)."""
    return jax.random.permutation(_key(seed, offset), size[0]).astype(dtype.numpy)


# ---- draws on the tape -------------------------------------------------------------------------
# PyTorch defines the derivatives of a draw by its parameters as zero.


def _zeros(c, g):
    return tuple(jnp.zeros(getattr(a, "shape", ()), g.dtype) for a in c.shapes)


@op("drawn_bernoulli", needs={"draw": (), "p": ()}, vjp=_zeros, grad_name="BernoulliBackward0")
def drawn_bernoulli(draw, p):
    """The draw, as a result of the probabilities."""
    return draw


_NORMAL = {"draw": (), "mean": (), "std": ()}


@op("drawn_normal", needs=_NORMAL, vjp=_zeros, grad_name="NormalBackward3")
def drawn_normal(draw, mean, std=None):
    """The draw, as a result of mean and standard deviation."""
    return draw
