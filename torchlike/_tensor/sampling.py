"""Gradients by differences, histograms over several dimensions, tensors over buffers."""

from __future__ import annotations

import warnings

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._ops.dims import axes
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.creation import as_leaf, from_numpy, python_number
from torchlike._tensor.dispatch import apply
from torchlike._tensor.forms import function, structseq
from torchlike._tensor.products import need_tensor
from torchlike._tensor.searches import _check_bins, _like, _no_kernel, without_derivative

# ---- gradients ---------------------------------------------------------------------------------


def _spacings(spacing, count: int, ndim: int, given: bool) -> list:
    """One spacing (a number or a tensor of coordinates) for each dimension."""
    if not isinstance(spacing, (tuple, list)):
        number = 1 if spacing is None else python_number("gradient", "spacing", 2, spacing)
        return [number] * count
    if given and len(spacing) != count:
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar or it's spacing and dim "
            f"arguments to have the same length, but got a spacing argument of length "
            f"{len(spacing)} and a dim argument of length {count}."
        )
    if not given and len(spacing) != ndim:
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar, or a list of length "
            f"equal to 'self.dim() = {ndim}', since dim argument was not given, but got a list of "
            f"length {len(spacing)}"
        )
    tensors = [isinstance(x, dispatch._Tensor) for x in spacing]
    if not any(tensors):
        return [python_number("gradient", "spacing", 2, x) for x in spacing]
    for i, (x, is_tensor) in enumerate(zip(spacing, tensors, strict=True)):
        if not is_tensor:
            raise TypeError(
                f"expected Tensor as element {i} in argument 1, but got {type(x).__name__}"
            )
        if x.ndim != 1:
            raise RuntimeError(
                "torch.gradient expected each element of spacing to have one dimension, but got "
                f"an element with {x.ndim} dimensions!"
            )
    return list(spacing)


@function()
def gradient(input, *, spacing=None, dim=None, edge_order=1):
    """Derivatives along dimensions by finite differences, as a tuple
    (https://pytorch.org/docs/stable/generated/torch.gradient.html)."""
    need_tensor("gradient", "input", 1, input)
    a = input._value.aval
    if a.dtype is dt.uint8:
        raise RuntimeError("torch.gradient does not support uint8 input.")
    if isinstance(dim, list):
        dim = tuple(dim)
    none = dim.__class__ is tuple and not dim
    dims = tuple(range(len(a.shape))) if dim is None else () if none else axes(dim, a.ndim)
    spacings = _spacings(spacing, len(dims), a.ndim, dim is not None)
    if isinstance(edge_order, bool) or not isinstance(edge_order, int):
        raise TypeError(
            f"gradient(): argument 'edge_order' must be int, not {type(edge_order).__name__}"
        )
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    if any(a.shape[d] < edge_order + 1 for d in dims):
        raise RuntimeError(
            "torch.gradient expected each dimension size to be at least edge_order+1"
        )
    if a.dtype is dt.bool_ and dims:
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` operator instead."
        )
    even, uneven = TABLE["gradient_even"], TABLE["gradient_at"]
    return tuple(
        apply(uneven if isinstance(s, dispatch._Tensor) else even, (input, s), (d, edge_order))
        for s, d in zip(spacings, dims, strict=True)
    )


# ---- histograms --------------------------------------------------------------------------------

_HISTOGRAM = structseq("histogramdd", ("hist", "bin_edges"))
_CPP_NAMES = {dt.float32: "float", dt.float64: "double"}


def _ranges(points, range, count: int):
    """(low, high) for each dimension: as given, or what the data spans."""
    if range is not None:
        if len(range) != 2 * count:
            raise RuntimeError(
                f"torch.histogramdd: for a {count}-dimensional histogram range should have "
                f"{2 * count} elements, but got {len(range)}"
            )
        low, high = list(map(float, range[::2])), list(map(float, range[1::2]))
    elif points.shape[0]:
        low, high = points.min(0).tolist(), points.max(0).tolist()
    else:
        low, high = [0.0] * count, [1.0] * count
    out = []
    for i, (a, b) in enumerate(zip(low, high, strict=True)):
        if not (np.isfinite(a) and np.isfinite(b)):
            raise RuntimeError(
                f"torch.histogramdd: dimension {i}'s range [{a:g}, {b:g}] is not finite"
            )
        if a > b:
            raise RuntimeError(
                f"torch.histogramdd: min should not exceed max, but got min {a:g} max {b:g} for "
                f"dimension {i}"
            )
        out.append((a - 0.5, b + 0.5) if a == b else (a, b))
    return out


def _given_edges(input, bins, count: int) -> list:
    if len(bins) != count:
        raise RuntimeError(
            f"torch.histogramdd: expected {count} sequences of bin edges for a {count}-dimensional "
            f"histogram but got {len(bins)}"
        )
    for i, edges in enumerate(bins):
        if edges.dtype is not input.dtype:
            name = _CPP_NAMES.get(edges.dtype, edges.dtype.name)
            raise RuntimeError(
                "torch.histogramdd: input tensor and bins tensors should have the same dtype, but "
                f"got input with dtype {_CPP_NAMES[input.dtype]} and bins for dimension {i} with "
                f"dtype {name}"
            )
        if edges.ndim != 1:
            raise RuntimeError(
                f"torch.histogramdd: bins tensor should have one dimension, but got {edges.ndim} "
                f"dimensions in the bins tensor for dimension {i}"
            )
        if not edges.numel():
            raise RuntimeError(
                "torch.histogramdd: bins tensor should have at least 1 element, but got 0 elements "
                f"in the bins tensor for dimension {i}"
            )
    return [np.array(edges._host()) for edges in bins]


@function()
def histogramdd(input, bins, range=None, weight=None, density=False):
    """Counts, or weights, of points in a grid of bins; read on the host
    (https://pytorch.org/docs/stable/generated/torch.histogramdd.html)."""
    need_tensor("histogramdd", "input", 1, input)
    if input.ndim == 0:
        raise IndexError("Dimension specified as -1 but tensor has no dimensions")
    if input.ndim < 2:
        raise RuntimeError("torch.histogramdd: input tensor should have at least 2 dimensions")
    if input.dtype not in _CPP_NAMES:
        raise _no_kernel("histogramdd", input.dtype)
    count = input.shape[-1]
    points = input._host().reshape(-1, count)
    if isinstance(bins, (tuple, list)) and any(isinstance(b, dispatch._Tensor) for b in bins):
        edges = _given_edges(input, bins, count)
    else:
        edges = _even_edges(points, bins, range, count)
    masses = None
    if weight is not None:
        if weight.shape != input.shape[:-1]:
            raise RuntimeError(
                "torch.histogramdd: if weight tensor is provided it should have the same shape as "
                "the input tensor excluding its innermost dimension, but got input with shape "
                f"{list(input.shape)} and weight with shape {list(weight.shape)}"
            )
        if weight.dtype is not input.dtype:
            raise RuntimeError(
                "torch.histogramdd: if weight tensor is provided, input tensor and weight tensor "
                "should have the same dtype"
            )
        masses = weight._host().reshape(-1)
    hist = _counts(points, edges, masses)
    if density:
        hist = hist / hist.sum()
        for i, e in enumerate(edges):
            hist = hist / np.diff(e).reshape([-1 if j == i else 1 for j, _ in enumerate(edges)])
    hist = without_derivative(input, _like(input, hist.astype(points.dtype)), "histogramdd")
    if weight is not None:
        hist = without_derivative(weight, hist, "histogramdd")
    return _HISTOGRAM(hist, tuple(_like(input, e) for e in edges))


def _even_edges(points, bins, range, count: int) -> list:
    kinds = bins if isinstance(bins, (tuple, list)) else [bins]
    if not all(isinstance(b, int) and not isinstance(b, bool) for b in kinds):
        raise TypeError("histogramdd() received an invalid combination of arguments")
    numbers = list(bins) if isinstance(bins, (tuple, list)) else [bins] * count
    if len(numbers) != count:
        raise RuntimeError(
            "histogramdd: The size of bins must be equal to the innermost dimension of the input."
        )
    for n in numbers:
        _check_bins(n)
    return [
        np.linspace(low, high, n + 1, dtype=points.dtype)
        for n, (low, high) in zip(numbers, _ranges(points, range, count), strict=True)
    ]


def _counts(points, edges, masses):
    """How much falls into each cell; the last bin of a dimension holds its right edge too."""
    shape = [len(e) - 1 for e in edges]
    inside = np.ones(points.shape[0], bool)
    at = np.zeros(points.shape[0], np.int64)
    for column, e, n in zip(points.T, edges, shape, strict=True):
        bin_ = np.searchsorted(e, column, "right") - 1
        bin_[column == e[-1]] = n - 1
        inside &= (bin_ >= 0) & (bin_ < n)
        at = at * n + bin_
    total = int(np.prod(shape))
    if not total:
        return np.zeros(shape, points.dtype)
    found = np.bincount(at[inside], None if masses is None else masses[inside], total)
    return found.reshape(shape).astype(points.dtype)


# ---- buffers ------------------------------------------------------------------------------------


@function()
def frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False):
    """A tensor over an object's memory, shared with it unless it is read-only
    (https://pytorch.org/docs/stable/generated/torch.frombuffer.html)."""
    d = dt.as_dtype("frombuffer", dtype)
    try:
        view = memoryview(buffer)
    except TypeError:
        raise ValueError("object does not implement Python buffer protocol.") from None
    size, item = view.nbytes, d.itemsize
    if size == 0 or count == 0:
        raise ValueError(f"both buffer length ({size}) and count ({count}) must not be 0")
    if not 0 <= offset < size:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length "
            f"({size} bytes) minus 1"
        )
    if count < 0:
        if (size - offset) % item:
            raise ValueError(
                f"buffer length ({size - offset} bytes) after offset ({offset} bytes) must be a "
                f"multiple of element size ({item})"
            )
        count = (size - offset) // item
    elif offset + count * item > size:
        raise ValueError(
            f"requested buffer length ({count} * {item} bytes) after offset ({offset} bytes) must "
            f"not be greater than actual buffer length ({size} bytes)"
        )
    if view.readonly:
        warnings.warn(
            "The given buffer is not writable: the tensor is a copy of it, where PyTorch's shares "
            "its memory and would let a write change it.",
            stacklevel=2,
        )
    return as_leaf(from_numpy(np.frombuffer(buffer, d.numpy, count, offset)), requires_grad)
