"""Pools of ``torch.nn.functional``."""

from __future__ import annotations

import math

from torchlike._core import dtypes as dt
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply, aval_of
from torchlike._tensor.flags import alert_not_deterministic
from torchlike._tensor.indexing import host_bounds

_MAX, _MAX_AT, _AVG = TABLE["max_pool"], TABLE["max_pool_with_indices"], TABLE["avg_pool"]
_ADAPTIVE_MAX, _ADAPTIVE_AVG = TABLE["adaptive_max_pool"], TABLE["adaptive_avg_pool"]


def _max_pools(rank):
    def max_pool(
        input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False,
        return_indices: bool = False,
    ):  # fmt: skip
        statics = (kernel_size, stride, padding, dilation, ceil_mode, rank)
        return apply(_MAX_AT if return_indices else _MAX, (input,), statics)

    def max_pool_with_indices(
        input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False,
        return_indices: bool = False,
    ):  # fmt: skip
        statics = (kernel_size, stride, padding, dilation, ceil_mode, rank)
        return apply(_MAX_AT, (input,), statics)

    return (
        _named(max_pool, f"max_pool{rank}d", "The maximum of each window."),
        _named(max_pool_with_indices, f"max_pool{rank}d_with_indices", "Maxima and their places."),
    )


def _named(fn, name, doc):
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = doc
    return fn


max_pool1d, max_pool1d_with_indices = _max_pools(1)
max_pool2d, max_pool2d_with_indices = _max_pools(2)
max_pool3d, max_pool3d_with_indices = _max_pools(3)


def avg_pool1d(
    input, kernel_size, stride=None, padding=0, ceil_mode: bool = False,
    count_include_pad: bool = True,
):  # fmt: skip
    """The mean of each window."""
    statics = (kernel_size, stride, padding, ceil_mode, count_include_pad, None, 1)
    return apply(_AVG, (input,), statics)


def _avg_pool(rank):
    def avg_pool(
        input, kernel_size, stride=None, padding=0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None, *, out=None,
    ):  # fmt: skip
        statics = (
            kernel_size, stride, padding, ceil_mode, count_include_pad,
            divisor_override, rank,
        )  # fmt: skip
        result = apply(_AVG, (input,), statics)
        return result if out is None else dispatch.copy_out(out, result, True)

    return _named(avg_pool, f"avg_pool{rank}d", "The mean of each window.")


avg_pool2d, avg_pool3d = _avg_pool(2), _avg_pool(3)


def _adaptive(rank):
    def adaptive_avg_pool(input, output_size):
        return apply(_ADAPTIVE_AVG, (input,), (output_size, rank))

    def adaptive_max_pool(input, output_size, return_indices: bool = False):
        out = apply(_ADAPTIVE_MAX, (input,), (output_size, rank))
        return out if return_indices else out[0]

    def adaptive_max_pool_with_indices(input, output_size, return_indices: bool = False):
        return apply(_ADAPTIVE_MAX, (input,), (output_size, rank))

    doc = "over windows that divide the input evenly into the output's size."
    return (
        _named(adaptive_avg_pool, f"adaptive_avg_pool{rank}d", f"Means {doc}"),
        _named(adaptive_max_pool, f"adaptive_max_pool{rank}d", f"Maxima {doc}"),
        _named(
            adaptive_max_pool_with_indices,
            f"adaptive_max_pool{rank}d_with_indices",
            f"Maxima and their places {doc}",
        ),
    )


adaptive_avg_pool1d, adaptive_max_pool1d, adaptive_max_pool1d_with_indices = _adaptive(1)
adaptive_avg_pool2d, adaptive_max_pool2d, adaptive_max_pool2d_with_indices = _adaptive(2)
adaptive_avg_pool3d, adaptive_max_pool3d, adaptive_max_pool3d_with_indices = _adaptive(3)


def _lp_pool(rank):
    average = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}[rank]
    largest = {1: max_pool1d, 2: max_pool2d, 3: max_pool3d}[rank]

    def lp_pool(input, norm_type, kernel_size, stride=None, ceil_mode: bool = False):
        if norm_type in (math.inf, -math.inf):
            sign = math.copysign(1, norm_type)
            return sign * largest(sign * input.abs(), kernel_size, stride, 0, 1, ceil_mode)
        count = 1
        each = (kernel_size,) * rank if hasattr(kernel_size, "__index__") else kernel_size
        for k in each:
            count *= int(k)
        mean = average(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
        return (mean.sign() * mean.abs().relu() * count).pow(1.0 / norm_type)

    return _named(lp_pool, f"lp_pool{rank}d", "The p-norm of each window.")


lp_pool1d, lp_pool2d, lp_pool3d = map(_lp_pool, (1, 2, 3))


_COUNTS = {
    1: "two elements (height, width)",
    2: "two elements (height, width)",
    3: "three elements (depth, height, width)",
}


def _max_unpool(rank):
    def max_unpool(input, indices, kernel_size, stride=None, padding=0, output_size=None):
        each = lambda v: (v,) * rank if isinstance(v, int) else tuple(v)  # noqa: E731
        if len(each(kernel_size)) < rank:
            raise RuntimeError(
                f"There should be exactly {_COUNTS[rank]} in output_size, "
                f"but got {len(each(kernel_size))} elements."
            )
        alert_not_deterministic(f"max_unpooling{max(rank, 2)}d_forward_out")
        kernel = each(kernel_size)
        step = kernel if stride is None else each(stride)
        spatial = aval_of(input).shape[-rank:]
        size = tuple(
            (n - 1) * s - 2 * p + k for n, s, p, k in zip(spatial, step, each(padding), kernel)
        )
        if output_size is not None:
            wanted = tuple(output_size)
            wanted = wanted[2:] if len(wanted) == rank + 2 else wanted
            if len(wanted) != rank:
                raise ValueError(
                    f"output_size should be a sequence containing {rank} or {rank + 2} elements, "
                    f"but it has a length of '{len(wanted)}'"
                )
            for d, (a, b, s) in enumerate(zip(wanted, size, step)):
                if not b - s < a < b + s:
                    raise ValueError(
                        f'invalid output_size "{wanted}" (dim {d} must be between '
                        f"{b - s} and {b + s})"
                    )
            size = wanted
        if rank == 3 and min(step) <= 0:
            raise RuntimeError(f"strides should be greater than zero, but got stride: {list(step)}")
        kind = getattr(indices, "dtype", None)
        if kind is not dt.int64:
            raise RuntimeError(
                f"elements in indices should be type int64 but got: {dt.SCALAR_NAMES.get(kind)}"
            )
        if indices.shape != input.shape:
            raise RuntimeError(
                "Expected shape of indices to be same as that of the input tensor "
                f"({list(input.shape)}) but got indices tensor with shape: {list(indices.shape)}"
            )
        bounds, places = host_bounds(indices), math.prod(size)
        for found in bounds or ():
            if bounds[1] >= bounds[0] and not 0 <= found < places:
                volume = "x".join(map(str, size if rank > 1 else (*size, 1)))
                raise RuntimeError(
                    f"Found an invalid max index: {found} (output volumes are of size {volume})"
                )
        return apply(TABLE["max_unpool"], (input, indices), (size, rank))

    return _named(
        max_unpool, f"max_unpool{rank}d", "Zeros, with the input where a max pool found it."
    )


max_unpool1d, max_unpool2d, max_unpool3d = map(_max_unpool, (1, 2, 3))
