"""Normalizations over batches, layers, groups and neighbouring channels."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import max_dim

from torchlike._core import dtypes as dt
from torchlike._ops import conventions
from torchlike._ops.table import Number, Shape, torch_dtype
from torchlike._ops.windows import floating, layer, require_floating, require_real, widen


def _standardize(x, axes, eps):
    """(x - mean) / std over the axes, and 1 / std."""
    mean = x.mean(axes, keepdims=True)
    centered = x - mean
    rstd = lax.rsqrt((centered * centered).mean(axes, keepdims=True) + eps)
    # Without the barrier XLA recomputes both statistics in each consumer: 1.45 against 1.02 ms for
    # a layer norm of (512, 128) and its gradient, and 4% of an encoder's whole step.
    mean, rstd = lax.optimization_barrier((mean, rstd))
    return (x - mean) * rstd, rstd


def _pull_standardize(g, normal, rstd, axes):
    """The gradient through ``_standardize``."""
    return rstd * (
        g - g.mean(axes, keepdims=True) - normal * (g * normal).mean(axes, keepdims=True)
    )


def _affine(x, weight, bias):
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias


# ---- batch -------------------------------------------------------------------------------------


def _per_channel(v, ndim):
    return None if v is None else widen(v).reshape(-1, *[1] * (ndim - 2))


def _check_channels(channels, **tensors):
    for name, t in tensors.items():
        if t is not None and t.size != channels:
            raise RuntimeError(f"{name} should contain {channels} elements not {t.size}")


def _check_parameters(input, *tensors):
    """Parameters are of the input's dtype, or float32 beside an input in half precision."""
    given = torch_dtype(input)
    for t in tensors:
        d = given if t is None else torch_dtype(t)
        if d is given or (d is dt.float32 and given in dt.HALF):
            continue
        if d is dt.float32:
            raise RuntimeError("mixed dtype (CPU): all inputs must share same datatype.")
        raise RuntimeError("mixed dtype (CPU): expect parameter to have scalar type of Float")


def _batch_axes(x):
    return (0, *range(2, x.ndim))


def _batch_norm_vjp(c, g, *_):
    input, weight, _ = c.operands
    g, axes = widen(g), _batch_axes(g)
    x = widen(input)
    normal, rstd = _standardize(x, axes, c.statics["eps"])
    scaled = g if weight is None else g * _per_channel(weight, x.ndim)
    dx = _pull_standardize(scaled, normal, rstd, axes) if c.need[0] else None
    return dx, (g * normal).sum(axes) if c.need[1] else None, g.sum(axes) if c.need[2] else None


_SAVED = ("input", "weight")  # whichever gradient is wanted


@layer(
    "batch_norm_train", vjp=_batch_norm_vjp, grad_name="NativeBatchNormBackward0",
    needs={"input": _SAVED, "weight": _SAVED, "bias": _SAVED},
)  # fmt: skip
def batch_norm_train(input, weight=None, bias=None, *, eps: float):
    """(result, mean, variance) by the statistics of the batch; the variance is unbiased."""
    require_floating(input, "batch_norm")
    _check_parameters(input, weight, bias)
    _check_channels(input.shape[1], weight=weight, bias=bias)
    x, axes = widen(input), _batch_axes(input)
    count = input.size // max(input.shape[1], 1)
    mean = x.mean(axes, keepdims=True)
    centered = x - mean
    variance = (centered * centered).mean(axes, keepdims=True)
    normal = centered * lax.rsqrt(variance + eps)
    out = _affine(normal, _per_channel(weight, x.ndim), _per_channel(bias, x.ndim))
    unbiased = variance.reshape(-1) * (count / max_dim(count - 1, 1))
    return out.astype(input.dtype), mean.reshape(-1), unbiased


@layer("batch_norm_eval", grad_name="NativeBatchNormBackward0")
def batch_norm_eval(input, running_mean, running_var, weight=None, bias=None, *, eps: float):
    """The result by given statistics."""
    require_floating(input, "batch_norm")
    if input.ndim < 2:
        if not input.size:
            return input
        raise RuntimeError(f"batch_norm: expected at least 2 dimensions, got {input.ndim}")
    _check_channels(
        input.shape[1], running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    _check_parameters(input, running_mean, running_var, weight, bias)
    x = widen(input)
    spread = lambda v: _per_channel(v, x.ndim)  # noqa: E731
    scale = lax.rsqrt(spread(running_var) + eps)
    if weight is not None:
        scale = scale * spread(weight)
    out = (x - spread(running_mean)) * scale
    return (out if bias is None else out + spread(bias)).astype(input.dtype)


@layer("update_running", differentiable=False)
def update_running(running, new, momentum: Number):
    """running + momentum * (new - running), in the dtype of ``running``."""
    if running.shape != new.shape:
        raise RuntimeError(f"running_mean should contain {new.size} elements not {running.size}")
    if torch_dtype(running) not in dt.HALF:
        _check_parameters(new, running)
    m = momentum.astype(running.dtype)
    return (1 - m) * running + m * new.astype(running.dtype)


@layer("instance_norm", grad_name="ViewBackward0")
def instance_norm(input, weight=None, bias=None, *, eps: float):
    """(result, mean, variance), each channel of each sample by its own statistics; the last two are
    means over the batch."""
    require_floating(input, "batch_norm")
    _check_parameters(input, weight, bias)
    _check_channels(input.shape[1], weight=weight, bias=bias)
    x, axes = widen(input), tuple(range(2, input.ndim))
    normal, _ = _standardize(x, axes, eps)
    out = _affine(normal, _per_channel(weight, x.ndim), _per_channel(bias, x.ndim))
    mean, variance = x.mean(axes), x.var(axes, ddof=1)
    return out.astype(input.dtype), mean.mean(0), variance.mean(0)


# ---- layer and group ---------------------------------------------------------------------------


def _check_normalized(input, shape, weight, bias):
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one "
            f"element, but got normalized_shape = {list(shape)}"
        )
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t.shape != tuple(shape):
            raise RuntimeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                f"{list(t.shape)} and normalized_shape = {list(shape)}"
            )
    if input.shape[-len(shape) :] != tuple(shape) or input.ndim < len(shape):
        wanted = ", ".join(map(str, shape))
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {wanted}], but "
            f"got input of size{list(input.shape)}"
        )


def _layer_norm_vjp(c, g):
    input, weight, _ = c.operands
    x, g, rank = widen(input), widen(g), len(c.statics["normalized_shape"])
    axes, lead = tuple(range(-rank, 0)), tuple(range(input.ndim - rank))
    normal, rstd = _standardize(x, axes, c.statics["eps"])
    dx = None
    if c.need[0]:
        scaled = g if weight is None else g * widen(weight)
        dx = _pull_standardize(scaled, normal, rstd, axes)
    return dx, (g * normal).sum(lead) if c.need[1] else None, g.sum(lead) if c.need[2] else None


@layer(
    "native_layer_norm", vjp=_layer_norm_vjp, grad_name="NativeLayerNormBackward0",
    signature="layer_norm(input, normalized_shape, weight, bias, eps)",
)  # fmt: skip
def native_layer_norm(input, weight=None, bias=None, *, normalized_shape: Shape, eps: float):
    """Normalized over the last dimensions, then scaled and shifted."""
    _check_normalized(input, normalized_shape, weight, bias)
    require_floating(input, "LayerNormKernelImpl")
    _check_parameters(input, weight, bias)
    axes = tuple(range(-len(normalized_shape), 0))
    normal, _ = _standardize(widen(input), axes, eps)
    return _affine(normal, widen(weight), widen(bias)).astype(input.dtype)


@layer("native_rms_norm", grad_name="MulBackward0")
def native_rms_norm(input, weight=None, *, normalized_shape: Shape, eps: float):
    """Divided by the root mean square over the last dimensions, then scaled."""
    _check_normalized(input, normalized_shape, weight, None)
    require_floating(input, "rms_norm", complex=True)
    x = widen(input)
    if eps is None:
        eps = float(jnp.finfo(x.dtype).eps)
    axes = tuple(range(-len(normalized_shape), 0))
    x = x * lax.rsqrt((x * x).mean(axes, keepdims=True) + eps)
    return _affine(x, widen(weight), None).astype(input.dtype)


@layer(
    "native_group_norm", grad_name="NativeGroupNormBackward0",
    signature="group_norm(input, num_groups, weight, bias, eps)",
)  # fmt: skip
def native_group_norm(input, weight=None, bias=None, *, num_groups: int, eps: float):
    """Normalized over each group of channels, then scaled and shifted by channel."""
    if input.ndim < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {input.ndim}"
        )
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if input.shape[1] % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape {list(input.shape)} and num_groups={num_groups}"
        )
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t.shape != (input.shape[1],):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, "
                f"but got {name} of shape {list(t.shape)} and input of shape {list(input.shape)}"
            )
    require_floating(input, "GroupNormKernelImpl")
    _check_parameters(input, weight, bias)
    if not input.size:
        return input
    x = widen(input).reshape(input.shape[0], num_groups, -1)
    normal = _standardize(x, (2,), eps)[0].reshape(input.shape)
    out = _affine(normal, _per_channel(weight, input.ndim), _per_channel(bias, input.ndim))
    return out.astype(input.dtype)


# ---- others ------------------------------------------------------------------------------------


@layer("local_response_norm", grad_name="DivBackward0")
def local_response_norm(input, size: int, alpha: float, beta: float, k: float):
    """Divided by a power of the mean square over ``size`` neighbouring channels."""
    require_real(input, "avg_pool2d" if input.ndim == 3 else "avg_pool3d_out_frame")
    if size < 1:
        raise RuntimeError(f"kernel size should be greater than zero, but got kH: {size} kW: 1")
    square = input * input
    window = [1] * input.ndim
    window[1] = size
    edges = [(0, 0)] * input.ndim
    edges[1] = (size // 2, (size - 1) // 2)
    total = lax.reduce_window(
        square, np.zeros((), input.dtype), lax.add, window, [1] * input.ndim, edges
    )
    mean = total / size if jnp.issubdtype(input.dtype, jnp.inexact) else floating(total // size)
    return floating(input) / (mean * alpha + k) ** beta


def safe_norm(x, p, dim, keepdim):
    """The p-norm, with gradient 0 where it is 0."""
    dim = dim if x.ndim else None  # a number is a vector of one
    if p == 2:
        square = (x * x.conj()).real.sum(dim, keepdims=keepdim)
        zero = square == 0
        return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square)))
    size = conventions.magnitude(x)
    if p == float("inf"):
        return size.max(dim, keepdims=keepdim)
    if p == float("-inf"):
        return size.min(dim, keepdims=keepdim)
    if p == 0:
        return (size != 0).sum(dim, keepdims=keepdim).astype(size.dtype)
    if p == 1:
        return size.sum(dim, keepdims=keepdim)
    blank = size == 0
    none = 0 if p > 0 else jnp.inf
    power = jnp.where(blank, none, jnp.where(blank, 1, size) ** p).sum(dim, keepdims=keepdim)
    zero = power == 0
    return jnp.where(zero, 0, jnp.where(zero, 1, power) ** (1 / p))


@layer("normalize", grad_name="DivBackward0")
def normalize(input, p: float, dim: Shape, eps: float):
    """Divided by the p-norm along a dimension, or by eps where that is larger."""
    if torch_dtype(input).category < dt.FLOATING:
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{dt.SCALAR_NAMES[torch_dtype(input)]}"
        )
    norm = conventions.at_least(safe_norm(input, p, dim, True), eps)
    return conventions.quotient(input, norm.astype(input.dtype))
