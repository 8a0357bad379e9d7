"""Convolutions and transposed convolutions in one to three dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from torchlike._core import dtypes as dt
from torchlike._ops.convolution_forms import Plan, by_input, by_weight, forward
from torchlike._ops.table import Dim, Shape, torch_dtype
from torchlike._ops.windows import layer, unbatched


def per_dim(value, rank: int, name: str) -> tuple:
    """One integer for each spatial dimension."""
    if hasattr(value, "__index__"):
        return (int(value),) * rank
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
    if 0 in shape[2:]:
        raise RuntimeError(f"kernel size should be greater than zero, but got {shape[2:]}")
    if shape[0] < groups or shape[0] % groups:
        want, size = ("at least", shape) if shape[0] < groups else ("divisible by", [shape])
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be {want} {groups} at dimension 0, but "
            f"got weight of size {size} instead"
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
    a, b = torch_dtype(input), torch_dtype(weight)
    if bias is not None and bias.dtype != input.dtype and not (transposed and a is not b):
        c = torch_dtype(bias)
        raise RuntimeError(
            f"Input type ({dt.C_NAMES.get(a, a.name)}) and bias type "
            f"({dt.C_NAMES.get(c, c.name)}) should be the same"
        )
    if a is not b and a is dt.float64:
        raise RuntimeError(
            f"expected scalar type {dt.SCALAR_NAMES[a]} but found {dt.SCALAR_NAMES[b]}"
        )
    if a is not b:
        raise RuntimeError(
            f"Input type ({_tensor_type(a)}) and weight type ({_tensor_type(b)}) should be the "
            "same or input should be a MKLDNN tensor and weight is a dense tensor"
        )


def _check_kind(input, dilation, rank: int, transposed: bool) -> None:
    """Raise for dtypes that PyTorch's kernels do not have: short integers only in the plainest."""
    d = torch_dtype(input)
    if d.category >= dt.FLOATING or d is dt.int64:
        return
    if transposed:
        kernel = f"slow_conv_transpose{max(rank, 2)}d_out_cpu"
    elif any(n != 1 for n in dilation):
        kernel = "slow_conv_dilated<>"
    elif d.category != dt.BOOL:
        return
    else:
        kernel = "compute_columns3d" if rank == 3 else "slow_conv2d_cpu"
    raise NotImplementedError(f"\"{kernel}\" not implemented for '{dt.SCALAR_NAMES[d]}'")


def _tensor_type(d) -> str:
    if d in (dt.bfloat16, dt.complex64, dt.complex128):
        return f"CPU{dt.SCALAR_NAMES[d]}Type"
    return f"torch.{dt.SCALAR_NAMES[d]}Tensor"


def _geometry(weight: tuple, stride, padding, dilation, rank):
    kernel = weight[2:]
    stride = per_dim(stride, rank, "stride")
    dilation = per_dim(dilation, rank, "dilation")
    if any(s <= 0 for s in stride):
        raise RuntimeError("non-positive stride is not supported")
    if any(d <= 0 for d in dilation):
        raise RuntimeError(f"dilation should be greater than zero, but got {list(dilation)}")
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


def _plan(kernel: tuple, spatial: tuple, s: dict) -> Plan:
    """The plan of a convolution of an input of these sizes."""
    rank = len(spatial)
    stride, low, high, dilation = _geometry(kernel, s["stride"], s["padding"], s["dilation"], rank)
    out = tuple(
        (n + a + b - d * (k - 1) - 1) // step + 1
        for n, a, b, d, k, step in zip(spatial, low, high, dilation, kernel[2:], stride)
    )
    return Plan(stride, low, high, dilation, out, s["groups"])


def _transposed(kernel: tuple, spatial: tuple, s: dict):
    """The plan of the convolution whose input's gradient is wanted, and that input's sizes."""
    rank = len(spatial)
    stride, pad, _, dilation = _geometry(kernel, s["stride"], s["padding"], s["dilation"], rank)
    extra = per_dim(s["output_padding"], rank, "output_padding")
    sizes = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + 1 + e
        for n, s, p, d, k, e in zip(spatial, stride, pad, dilation, kernel[2:], extra)
    )
    high = tuple(p - e for p, e in zip(pad, extra))
    return Plan(stride, pad, high, dilation, spatial, s["groups"]), sizes


class _Maps(NamedTuple):
    """A layer that is linear in input and kernel, and the gradients by both, without batch or not.

    The gradients of the gradients are made of the same three.
    """

    apply: Callable  # (input, kernel)
    back: Callable  # (gradient of the result, kernel)
    kernel: Callable  # (input, gradient of the result)


def _maps(input: tuple, kernel: tuple, s: dict, transposed: bool) -> _Maps:
    rank = s["rank"]
    lone = len(input) == rank + 1
    up = lambda x: x[None] if lone else x  # noqa: E731
    down = lambda x: x[0] if lone else x  # noqa: E731
    n = 1 if lone else input[0]
    if transposed:
        plan, sizes = _transposed(kernel, input[-rank:], s)
        shape = (n, kernel[1] * s["groups"], *sizes)
    else:
        plan, shape = _plan(kernel, input[-rank:], s), (n, *input[-rank - 1 :])
    ahead = lambda x, w: down(forward(up(x), w, plan))  # noqa: E731
    back = lambda g, w: down(by_input(up(g), w, plan, shape))  # noqa: E731
    by_kernel = lambda x, g: by_weight(up(x), up(g), plan, kernel)  # noqa: E731
    if transposed:
        return _Maps(back, ahead, lambda x, g: by_kernel(g, x))
    return _Maps(ahead, back, by_kernel)


def _rule(transposed: bool):
    """The derivative of a convolution or of a transposed one, which knows its own derivative."""

    def first(c, g):
        if _hollow(c.shapes[0].shape, c.statics["rank"], transposed):
            return _zeros(c, 3)
        maps = _maps(c.shapes[0].shape, c.shapes[1].shape, c.statics, transposed)
        x, w = (v if v is None else v.conj() for v in c.operands[:2])
        dx = maps.back(g, w) if c.need[0] else None
        dw = maps.kernel(x, g) if c.need[1] else None
        db = g.sum(_but_channels(g, c.statics["rank"])) if c.need[2] else None
        return dx, dw, db

    def second(c, *given):
        spec, given = c.statics["spec"], iter(given)
        statics = {p.name: v for p, v in zip(c.op.forward.statics, spec.statics, strict=True)}
        if _hollow(spec.avals[0].shape, statics["rank"], transposed):
            return _zeros(c, 4)
        maps = _maps(spec.avals[0].shape, spec.avals[1].shape, statics, transposed)
        x, w, _, g = c.operands
        ddx, ddw, ddb = (next(given) if wanted else None for wanted in spec.need)
        gx = gw = gg = None
        if c.need[0] and ddw is not None:
            gx = maps.back(g, ddw.conj())
        if c.need[1] and ddx is not None:
            gw = maps.kernel(ddx.conj(), g)
        if c.need[3]:
            terms = [] if ddx is None else [maps.apply(ddx, w)]
            terms += [] if ddw is None else [maps.apply(x, ddw)]
            if ddb is not None:
                rank = statics["rank"]
                terms.append(jnp.broadcast_to(ddb.reshape(-1, *[1] * rank), c.shapes[3].shape))
            gg = sum(terms[1:], terms[0]) if terms else None
        return gx, gw, None, gg

    first.vjp = second
    return first


def _hollow(input: tuple, rank: int, transposed: bool) -> bool:
    return not transposed and not input[-rank - 1]


def _zeros(c, count: int) -> tuple:
    """The derivatives of a convolution of no channels."""
    kinds = zip(c.need, c.shapes, strict=True)
    found = [jnp.zeros(a.shape, a.dtype.numpy) if need else None for need, a in kinds]
    return tuple(found[:count])


def _but_channels(g, rank: int) -> tuple:
    return tuple(i for i in range(g.ndim) if i != g.ndim - rank - 1)


def _node(c):
    return "SqueezeBackward1" if c.input.ndim == c.rank + 1 else "ConvolutionBackward0"


@layer(
    "convolution", needs=_NEEDS, vjp=_rule(False), grad_name=_node,
    signature="conv{rank}d(input, weight, bias, stride, padding, dilation, groups)",
)  # fmt: skip
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
    stride, low, high, dilation = _geometry(weight.shape, stride, padding, dilation, rank)
    if lone:
        input = input[None]
    if weight.ndim != rank + 2:
        raise RuntimeError(
            f"expected weight to have {rank + 2} dimensions, but got weight of size "
            f"{list(weight.shape)}"
        )
    _check(input, weight, bias, groups, f"conv{rank}d", False)
    _check_kind(input, dilation, rank, False)
    kernel = weight.shape[2:]
    padded = [n + a + b for n, a, b in zip(input.shape[2:], low, high)]
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    if any(n < r for n, r in zip(padded, reach)):
        sizes = " x ".join(map(str, padded)), " x ".join(map(str, reach))
        raise RuntimeError(
            f"Calculated padded input size per channel: ({sizes[0]}). Kernel size: ({sizes[1]}). "
            "Kernel size can't be greater than actual input size"
        )
    if 0 in input.shape[2:]:
        raise RuntimeError(
            "Only zero batch or zero channel inputs are supported, but got input shape: "
            f"{list(input.shape)}"
        )
    out = tuple((n - r) // s + 1 for n, r, s in zip(padded, reach, stride))
    if not input.shape[1]:  # what has no channels stays so, in PyTorch
        result, bias = jnp.zeros((input.shape[0], 0, *out), input.dtype), None
    else:
        result = forward(input, weight, Plan(stride, low, high, dilation, out, groups))
    if bias is not None:
        result = result + bias.reshape(-1, *[1] * rank)
    return result[0] if lone else result


@layer(
    "conv_transpose", needs=_NEEDS, vjp=_rule(True), grad_name=_node,
    signature="conv_transpose{rank}d(input, weight, bias, stride, padding, output_padding, groups, "
    "dilation)",
)  # fmt: skip
def conv_transpose(
    input, weight, bias=None, *, stride: Shape, padding: Shape, output_padding: Shape, groups: Dim,
    dilation: Shape, rank: Dim,
):  # fmt: skip
    """A convolution's gradient by its input, as a layer; the kernel is (C, out / groups, ...)."""
    if isinstance(padding, str):
        raise TypeError(
            f"conv_transpose{rank}d(): argument 'padding' must be tuple of ints, not str"
        )
    lone = unbatched(input, rank, f"conv_transpose{rank}d")
    stride, pad, _, dilation = _geometry(weight.shape, stride, padding, dilation, rank)
    extra = per_dim(output_padding, rank, "output_padding")
    if lone:
        input = input[None]
    _check(input, weight, bias, groups, f"conv_transpose{rank}d", True)
    if weight.ndim != input.ndim:
        raise RuntimeError(
            f"Expected {weight.ndim}-dimensional input for {weight.ndim}-dimensional weight "
            f"{list(weight.shape)}, but got {input.ndim}-dimensional input of size "
            f"{list(input.shape)} instead"
        )
    if any(e < 0 for e in extra):
        raise RuntimeError("negative output_padding is not supported")
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
    given = {"stride": stride, "padding": pad, "dilation": dilation, "output_padding": extra}
    plan, sizes = _transposed(weight.shape, input.shape[2:], {**given, "groups": groups})
    if any(n < 1 for n in sizes):
        before, after = (
            " x ".join(map(str, ((1, *ns) if rank == 1 else ns))) for ns in (input.shape[2:], sizes)
        )
        raise RuntimeError(
            f"Given input size per channel: ({before}). Calculated output size per channel: "
            f"({after}). Output size is too small"
        )
    _check_kind(input, dilation, rank, True)
    if 0 in input.shape[2:]:
        raise RuntimeError(
            "Only zero batch or zero channel inputs are supported, but got input shape: "
            f"{list(input.shape)}"
        )
    out = by_input(input, weight, plan, (input.shape[0], weight.shape[1] * groups, *sizes))
    if bias is not None:
        out = out + bias.reshape(-1, *[1] * rank)
    return out[0] if lone else out
