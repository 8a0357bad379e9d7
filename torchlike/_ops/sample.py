"""Counter-based random draws for accelerators: the same numbers for (seed, offset) anywhere."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp

from torchlike._core import dtypes as dt
from torchlike._ops.table import Dtype, Shape, op


def key_of(seed, offset):
    seed, offset = (getattr(x, "array", x) for x in (seed, offset))
    # The high and low words of the seed both count: threefry keys take 64 bits.
    key = jax.random.fold_in(jax.random.PRNGKey(0, impl="threefry2x32"), seed & 0xFFFFFFFF)
    key = jax.random.fold_in(key, (seed >> 32) & 0xFFFFFFFF)
    return jax.random.fold_in(key, offset & 0xFFFFFFFF)


# Numbers drawn by one key. XLA counts up to it when it compiles: seconds for 30 million numbers.
_BLOCK = 1 << 16


def in_blocks(draw, seed, offset, size):
    """``draw(key, shape)``; where that is large block by block, each by a key of its own."""
    key, count = key_of(seed, offset), math.prod(size)
    if count <= _BLOCK:
        return draw(key, size)
    keys = jax.random.split(key, -(-count // _BLOCK))
    blocks = jax.vmap(lambda key: draw(key, (_BLOCK,)))(keys)
    return blocks.reshape(-1)[:count].reshape(size)


def compute_dtype(dtype):
    return jnp.float64 if dtype in (dt.float64, dt.complex128) else jnp.float32


@op("draw_uniform", differentiable=False, promotes="raw")
def draw_uniform(seed, offset, size: Shape, dtype: Dtype):
    """Uniform numbers in [0, 1)."""
    draw = partial(jax.random.uniform, dtype=compute_dtype(dtype))
    return in_blocks(draw, seed, offset, size).astype(dtype.numpy)


@op("draw_normal", differentiable=False, promotes="raw")
def draw_normal(seed, offset, size: Shape, dtype: Dtype):
    """Standard normal numbers."""
    kind = dtype.numpy if dtype.is_complex else compute_dtype(dtype)
    draw = partial(jax.random.normal, dtype=kind)
    return in_blocks(draw, seed, offset, size).astype(dtype.numpy)


@op("draw_integers", differentiable=False, promotes="raw")
def draw_integers(seed, offset, low, high, size: Shape, dtype: Dtype):
    """Integers in [low, high)."""
    low, high = low.array, high.array
    draw = partial(jax.random.randint, minval=low, maxval=high, dtype=jnp.int64)
    return in_blocks(draw, seed, offset, size).astype(dtype.numpy)


@op("draw_permutation", differentiable=False, promotes="raw")
def draw_permutation(seed, offset, size: Shape, dtype: Dtype):
    """A permutation of range(n)."""
    return jax.random.permutation(key_of(seed, offset), size[0]).astype(dtype.numpy)


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
