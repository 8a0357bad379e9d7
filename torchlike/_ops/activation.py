"""Activations: pointwise nonlinearities and gates; their edges have PyTorch's derivatives."""

from __future__ import annotations

from math import isfinite

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops import conventions
from torchlike._ops.table import Dim, torch_dtype, unary
from torchlike._ops.windows import layer, require_floating


def _activation(name, **attributes):
    """Register a pointwise function of one operand, computed in float32 for half precision."""
    return layer(name, promotes="result", computes="opmath", **attributes)


def _negative_part(x):
    """x where it is negative, else 0, so that an overflow of the unused branch leaves no nan."""
    return jnp.where(x > 0, 0, x)


def _no_bool(c_name, x):
    if x.dtype == bool:
        raise NotImplementedError(f"\"{c_name}\" not implemented for 'Bool'")


# ---- piecewise linear --------------------------------------------------------------------------


def _held(limit: float, kind) -> int:
    """A limit as a number of an integer dtype."""
    if not isfinite(limit):
        raise dt.does_not_fit(dt.int64)
    limit, range_ = int(limit), np.iinfo(kind.numpy)
    if limit < 0 and not kind.is_signed:
        raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    if not range_.min <= limit <= range_.max:
        raise dt.does_not_fit(kind)
    return limit


@_activation("hardtanh")
def hardtanh(input, min_val: float, max_val: float):
    """Clamped to [min_val, max_val]; no gradient at the edges themselves."""
    _no_bool("hardtanh", input)
    if jnp.iscomplexobj(input):
        raise NotImplementedError("clamp is not supported for complex types")
    if input.dtype.kind in "iu":
        min_val, max_val = (_held(x, torch_dtype(input)) for x in (min_val, max_val))
    low, high = jnp.asarray(min_val, input.dtype), jnp.asarray(max_val, input.dtype)
    if min_val != min_val or max_val != max_val:
        return jnp.full_like(input, jnp.nan)
    return jnp.where(input <= low, low, jnp.where(input >= high, high, input))


@_activation("leaky_relu")
def leaky_relu(input, negative_slope: float):
    """x where positive, else negative_slope * x."""
    require_floating(input, "leaky_relu_cpu")
    return jnp.where(input > 0, input, input * negative_slope)


@layer("prelu", forms=("function", "method"), grad_name="PreluKernelBackward0")
def prelu(input, weight):
    """x where positive, else weight * x, with one weight for all channels or one for each."""
    if weight.dtype != input.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {dt.SCALAR_NAMES[torch_dtype(input)]} and "
            f"{dt.SCALAR_NAMES[torch_dtype(weight)]}"
        )
    require_floating(input, "prelu_cpu")
    if weight.ndim > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
        )
    if weight.size != 1:
        channels = input.shape[1] if input.ndim > 1 else 1
        if input.ndim == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        if weight.size != channels:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.size} and channel size = {channels}."
            )
        weight = weight.reshape(-1, *[1] * (input.ndim - 2))
    else:
        weight = weight.reshape(())
    return jnp.where(input > 0, input, weight * input)


@_activation("threshold", forms=("function", "out"))
def threshold(input, threshold: float, value: float):
    """x where above the threshold, else the value."""
    _no_bool("threshold_cpu", input)
    return jnp.where(input <= threshold, jnp.asarray(value, input.dtype), input)


@_activation("hardsigmoid")
def hardsigmoid(input):
    """relu6(x + 3) / 6."""
    require_floating(input, "hardsigmoid_cpu")
    return _hardsigmoid(input)


# A sixth in single precision, whatever the dtype.
_hardsigmoid = conventions.with_slopes(
    lambda x: conventions.by_number(jnp.clip(x + 3, 0, 6), 6),
    lambda r, x: ((x > -3) & (x < 3), jnp.asarray(np.float32(1 / 6), x.dtype)),
)


@_activation("hardswish")
def hardswish(input):
    """x * relu6(x + 3) / 6."""
    require_floating(input, "hardswish_cpu")
    return _hardswish(input)


_hardswish = conventions.with_slopes(
    lambda x: conventions.by_number(x * jnp.clip(x + 3, 0, 6), 6),
    lambda r, x: jnp.where(
        x <= -3, 0, jnp.where(x < 3, conventions.by_number(x, 3) + 0.5, 1)
    ).astype(x.dtype),
)


@_activation("hardshrink", forms=("function", "method", "out"))
def hardshrink(input, lambd: float = 0.5):
    """x outside [-lambd, lambd], else 0."""
    require_floating(input, "hardshrink_cpu")
    return jnp.where((input >= -lambd) & (input <= lambd), jnp.zeros((), input.dtype), input)


@_activation("softshrink")
def softshrink(input, lambd: float):
    """x moved by lambd towards zero, and 0 within."""
    require_floating(input, "softshrink_cpu")
    if lambd < 0:
        top = f"{float(jnp.finfo(input.dtype).max):g}"
        raise RuntimeError(
            f"lambda must be in range [0, {top}] for input dtype "
            f"{dt.SCALAR_NAMES[torch_dtype(input)]}, but found {lambd:g}"
        )
    inner = jnp.where(jnp.isnan(input), input, 0)
    return jnp.where(input > lambd, input - lambd, jnp.where(input < -lambd, input + lambd, inner))


# ---- smooth ------------------------------------------------------------------------------------


def _elu(x, alpha, scale, input_scale):
    def value(x):
        inner = jnp.expm1(_negative_part(x) * input_scale)
        return jnp.where(x > 0, x * scale, alpha * scale * inner)

    def slope(r, x):  # at 0 that of the left, whose own is 0 there
        inner = jnp.exp(jnp.where(x < 0, x, 0) * input_scale)
        return jnp.where(x <= 0, alpha * scale * input_scale * inner, scale).astype(x.dtype)

    return conventions.with_slopes(value, slope)(x)


@_activation("elu")
def elu(input, alpha: float):
    """x where positive, else alpha * (exp(x) - 1)."""
    require_floating(input, "elu_cpu")
    return _elu(input, alpha, 1.0, 1.0)


@_activation("celu", forms=("function",))
def celu(input, alpha: float = 1.0):
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    require_floating(input, "elu_cpu")
    return _elu(input, alpha, 1.0, 1.0 / alpha)


@_activation("selu", forms=("function",), grad_name="EluBackward0")
def selu(input):
    """elu scaled so that activations keep zero mean and unit variance."""
    require_floating(input, "elu_cpu")
    return _elu(input, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0)


@_activation("gelu")
def gelu(input, *, approximate: str):
    """x times the normal distribution function of x, exactly or by tanh."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    require_floating(input, "GeluKernelImpl")
    if approximate == "tanh":
        inner = 0.7978845608028654 * (input + 0.044715 * input * input * input)
        return 0.5 * input * (1 + jnp.tanh(inner))
    return 0.5 * input * (1 + lax.erf(input * 0.7071067811865476))


@_activation("silu")
def silu(input):
    """x * sigmoid(x)."""
    require_floating(input, "silu_cpu", complex=True)
    return input * jax.nn.sigmoid(input)


@_activation("mish")
def mish(input):
    """x * tanh(softplus(x))."""
    require_floating(input, "mish_cpu")
    return input * jnp.tanh(jax.nn.softplus(input))


@_activation("softplus")
def softplus(input, beta: float, threshold: float):
    """log(1 + exp(beta * x)) / beta, and x itself above the threshold."""
    require_floating(input, "softplus_cpu")
    scaled = input * beta
    linear = scaled > threshold
    soft = jnp.log1p(jnp.exp(jnp.where(linear, 0, scaled)))
    return jnp.where(linear, input, conventions.by_number(soft, beta))


@_activation("log_sigmoid", grad_name="LogSigmoidBackward0")
def log_sigmoid(input):
    """log(sigmoid(x))."""
    require_floating(input, "log_sigmoid_cpu")
    return jax.nn.log_sigmoid(input)


unary("softsign", lambda x: x / (1 + conventions.magnitude(x)), forms=(), grad_name="DivBackward0")
unary("tanhshrink", lambda x: x - jnp.tanh(x), saves="nothing", forms=(), grad_name="SubBackward0")


@layer("glu", computes="opmath", promotes="result")
def glu(input, dim: Dim):
    """First half of a dimension times the sigmoid of the second."""
    if input.ndim == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    if not -input.ndim <= dim < input.ndim:
        raise IndexError(
            "Dimension out of range (expected to be in range of "
            f"[{-input.ndim}, {input.ndim - 1}], but got {dim})"
        )
    n = input.shape[dim]
    if n % 2:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {dim % input.ndim} is size {n}"
        )
    require_floating(input, "glu_cpu")
    a, b = jnp.split(input, 2, dim)
    return a * jax.nn.sigmoid(b)


@layer("rrelu_with_noise", grad_name="RreluWithNoiseBackward0")
def rrelu_with_noise(input, noise):
    """Leaky relu with a slope of its own for each negative element."""
    return jnp.where(input > 0, input, input * noise)
