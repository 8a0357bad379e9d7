"""Pointwise ops: arithmetic, comparison, powers, trigonometry, rounding, activations' kernels."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from torchlike._core import dtypes as dt
from torchlike._ops.table import Dtype, Number, binary, compare, op, unary

# ---- arithmetic --------------------------------------------------------------------------------


@op(promotes="result", computes="opmath", linear=True, forms=("function", "method", "inplace", "out"))
def add(input, other, *, alpha: Number = None):
    """input + alpha * other."""
    if input.dtype == bool:
        return input | (other if alpha is None else other & alpha)
    return input + (other if alpha is None else alpha * other)


@op(promotes="result", computes="opmath", linear=True, forms=("function", "method", "inplace", "out"))
def sub(input, other, *, alpha: Number = None):
    """input - alpha * other."""
    _no_bool_subtraction(input)
    return input - (other if alpha is None else alpha * other)


@op(promotes="result", computes="opmath", linear=True, forms=("function", "method"))
def rsub(input, other, *, alpha: Number = None):
    """other - alpha * input."""
    _no_bool_subtraction(input)
    return other - (input if alpha is None else alpha * input)


def _no_bool_subtraction(x):
    if x.dtype == bool:
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` operator instead."
        )


binary("mul", jnp.multiply, multilinear=True)
binary("true_divide", jnp.true_divide, promotes="float", grad_name="DivBackward0", forms=())


@op("to_dtype", linear=True, grad_name="ToCopyBackward0")
def to_dtype(input, dtype: Dtype):
    """The same numbers in another dtype."""
    if jnp.iscomplexobj(input) and dtype.category < dt.COMPLEX:
        input = input.real
    if dtype.category == dt.BOOL:
        return input != 0
    return input.astype(dtype.numpy)


@op("clone", linear=True)
def clone(input):
    """A copy."""
    return input


unary("neg", jnp.negative, promotes=None, linear=True)
compare("eq", jnp.equal)
compare("ne", jnp.not_equal)
compare("lt", jnp.less)
compare("le", jnp.less_equal)
compare("gt", jnp.greater)
compare("ge", jnp.greater_equal)


# ---- exponentials ------------------------------------------------------------------------------

unary("exp", jnp.exp, saves="result", vjp=lambda c, g: g * c.result.conj())
unary("log", jnp.log)
unary("tanh", jnp.tanh, saves="result", vjp=lambda c, g: g * (1 - c.result * c.result).conj())
unary(
    "sigmoid", jax.nn.sigmoid, saves="result",
    vjp=lambda c, g: g * (c.result * (1 - c.result)).conj(),
)  # fmt: skip
unary(
    "relu", lambda x: jnp.maximum(x, 0), promotes=None, saves="result",
    vjp=lambda c, g: jnp.where(c.result <= 0, 0, g),
)  # fmt: skip
