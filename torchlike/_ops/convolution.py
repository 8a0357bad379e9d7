"""Convolutions and transposed convolutions in one to three dimensions."""

from __future__ import annotations

from math import prod

import jax.numpy as jnp
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops.table import Dim, Shape, torch_dtype
from torchlike._ops.windows import MAX_UNROLLED, layer, pad_spatial, slices, unbatched

_LAYOUT = {1: ("NCH", "OIH", "NCH"), 2: ("NCHW", "OIHW", "NCHW"), 3: ("NCDHW", "OIDHW", "NCDHW")}


def per_dim(value, rank: int, name: str) -> tuple:
    """One integer for each spatial dimension."""
    if isinstance(value, int):
        return (value,) * rank
    value = tuple(value)
    if len(value) == 1:
        return value * rank
    if len(value) != rank:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {rank} values to match the "
            f"convolution dimensions, but got {name}={list(value)}"
        )
    return value


def _check(input, weight, bias, groups, name, transposed):
    shape, channels = (
        list(weight.shape),
        weight.shape[0] if transposed else weight.shape[1] * groups,
    )
    given = f"transposed={1}" if transposed else f"groups={groups}"
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if shape[0] < groups or shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size [{shape}] instead"
        )
    if input.shape[1] != channels:
        raise RuntimeError(
            f"Given {given}, weight of size {shape}, expected input{list(input.shape)} to have "
            f"{channels} channels, but got {input.shape[1]} channels instead"
        )
    out = weight.shape[1] * groups if transposed else weight.shape[0]
    if bias is not None and bias.shape != (out,):
        given = "Given transposed=1, weight" if transposed else "Given weight"
        raise RuntimeError(
            f"{given} of size {shape}, expected bias to be 1-dimensional with {out} elements, but "
            f"got bias of size {list(bias.shape)} instead"
        )
    for other in (weight,) if bias is None else (weight, bias):
        if other.dtype != input.dtype:
            a, b = torch_dtype(input), torch_dtype(other)
            raise RuntimeError(
                f"expected scalar type {dt.SCALAR_NAMES[a]} but found {dt.SCALAR_NAMES[b]}"
            )


def _geometry(weight, stride, padding, dilation, rank):
    kernel = weight.shape[2:]
    stride = per_dim(stride, rank, "stride")
    dilation = per_dim(dilation, rank, "dilation")
    if any(s <= 0 for s in stride):
        raise RuntimeError("non-positive stride is not supported")
    if any(d <= 0 for d in dilation):
        raise RuntimeError("dilation should be greater than zero")
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise RuntimeError(f"Invalid padding string: '{padding}'")
        if padding == "same" and any(s != 1 for s in stride):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        total = [d * (k - 1) if padding == "same" else 0 for k, d in zip(kernel, dilation)]
        low = tuple(n // 2 for n in total)
        high = tuple(n - a for n, a in zip(total, low))
    else:
        low = high = per_dim(padding, rank, "padding")
        if any(p < 0 for p in low):
            raise RuntimeError("negative padding is not supported")
    return stride, low, high, dilation


_NEEDS = {"input": ("weight",), "weight": ("input",), "bias": ()}


@layer("convolution", needs=_NEEDS)
def convolution(
    input,
    weight,
    bias=None,
    *,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
    groups: Dim,
    rank: Dim,
):
    """Cross-correlation of (N, C, ...) with a kernel (out, C / groups, ...)."""
    lone = unbatched(input, rank, f"conv{rank}d")
    stride, low, high, dilation = _geometry(weight, stride, padding, dilation, rank)
    if lone:
        input = input[None]
    if weight.ndim != rank + 2:
        raise RuntimeError(
            f"expected weight to have {rank + 2} dimensions, but got weight of size "
            f"{list(weight.shape)}"
        )
    _check(input, weight, bias, groups, f"conv{rank}d", False)
    kernel = weight.shape[2:]
    padded = [n + a + b for n, a, b in zip(input.shape[2:], low, high)]
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    if any(n < r for n, r in zip(padded, reach)):
        sizes = " x ".join(map(str, padded)), " x ".join(map(str, reach))
        raise RuntimeError(
            f"Calculated padded input size per channel: ({sizes[0]}). Kernel size: ({sizes[1]}). "
            "Kernel size can't be greater than actual input size"
        )
    whole = lambda x, w: lax.conv_general_dilated(  # noqa: E731
        x, w, stride, list(zip(low, high)), rhs_dilation=dilation,
        dimension_numbers=_LAYOUT[rank], feature_group_count=groups,
    )  # fmt: skip
    if groups > 1 and prod(kernel) <= MAX_UNROLLED:
        # XLA's grouped convolution on a CPU is 10 to 60 times slower than the sum over the kernel.
        out = [(n - r) // s + 1 for n, r, s in zip(padded, reach, stride)]
        body = _depthwise if weight.shape[1] == 1 else _grouped
        shifted = lambda x, w: body(  # noqa: E731
            pad_spatial(x, low, high, 0), w, kernel, stride, dilation, out, groups
        )
        result = lax.platform_dependent(input, weight, cpu=shifted, default=whole)
    else:
        result = whole(input, weight)
    if bias is not None:
        result = result + bias.reshape(-1, *[1] * rank)
    return result[0] if lone else result


def _depthwise(x, w, kernel, stride, dilation, out, groups):
    """Each channel on its own: a sum of shifted inputs."""
    n, many = x.shape[0], w.shape[0] // groups
    total = None
    for offset, part in slices(x, kernel, stride, dilation, out):
        factor = w[(slice(None), 0, *offset)].reshape(groups, many, *[1] * len(out))
        term = part[:, :, None] * factor
        total = term if total is None else total + term
    return total.reshape(n, groups * many, *out)


def _grouped(x, w, kernel, stride, dilation, out, groups):
    """Windows side by side, then one product a group."""
    n, count = x.shape[0], prod(out)
    parts = [p.reshape(n, groups, -1, count) for _, p in slices(x, kernel, stride, dilation, out)]
    windows = jnp.stack(parts, 3).reshape(n, groups, -1, count)
    factor = w.reshape(groups, w.shape[0] // groups, -1)
    y = lax.dot_general(factor, windows, (((2,), (2,)), ((0,), (1,))))  # (G, O / G, N, out)
    return jnp.moveaxis(y, 2, 0).reshape(n, w.shape[0], *out)


@layer("conv_transpose", needs=_NEEDS, grad_name="ConvolutionBackward0")
def conv_transpose(
    input, weight, bias=None, *, stride: Shape, padding: Shape, output_padding: Shape, groups: Dim,
    dilation: Shape, rank: Dim,
):  # fmt: skip
    """A convolution's gradient by its input, as a layer; the kernel is (C, out / groups, ...)."""
    lone = unbatched(input, rank, f"conv_transpose{rank}d")
    stride, pad, _, dilation = _geometry(weight, stride, padding, dilation, rank)
    extra = per_dim(output_padding, rank, "output_padding")
    if lone:
        input = input[None]
    _check(input, weight, bias, groups, f"conv_transpose{rank}d", True)
    if any(e >= s and e >= d for e, s, d in zip(extra, stride, dilation)):
        names = ("depth", "height", "width")[-rank:]
        parts = [
            f"{what}_{name}: {n}"
            for what, ns in (("output_padding", extra), ("stride", stride), ("dilation", dilation))
            for name, n in zip(names, ns)
        ]
        raise RuntimeError(
            "output padding must be smaller than either stride or dilation, but got "
            + " ".join(parts)
        )
    kernel = weight.shape[2:]
    cin, per_group = weight.shape[:2]
    w = jnp.flip(weight, range(2, 2 + rank)).reshape(groups, cin // groups, per_group, *kernel)
    w = w.swapaxes(1, 2).reshape(groups * per_group, cin // groups, *kernel)
    edges = [
        (d * (k - 1) - p, d * (k - 1) - p + e) for k, d, p, e in zip(kernel, dilation, pad, extra)
    ]
    out = lax.conv_general_dilated(
        input, w, (1,) * rank, edges, lhs_dilation=stride, rhs_dilation=dilation,
        dimension_numbers=_LAYOUT[rank], feature_group_count=groups,
    )  # fmt: skip
    if bias is not None:
        out = out + bias.reshape(-1, *[1] * rank)
    return out[0] if lone else out
