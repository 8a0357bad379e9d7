"""Reductions: sums, means, products, truth, extremes, vector norms."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np

from torchlike._core import dtypes as dt
from torchlike._ops import conventions, table
from torchlike._ops.dims import along, axes, dropped
from torchlike._ops.extremes import number_of_first
from torchlike._ops.overloads import by_dim
from torchlike._ops.pointwise import to_dtype
from torchlike._ops.table import Dim, Dims, Dtype, torch_dtype

op = partial(table.op, numbers=())  # reductions take tensors, no Python numbers
SIMPLE = ("function", "method", "out")


def no_kernel(kernel: str, input) -> NotImplementedError:
    """PyTorch's error for a dtype that a kernel was not written for."""
    name = dt.SCALAR_NAMES[torch_dtype(input)]
    return NotImplementedError(f"\"{kernel}\" not implemented for '{name}'")


def widened(input):
    """Half precision as float32, in which PyTorch accumulates it."""
    return input.astype(np.float32) if torch_dtype(input) in dt.HALF else input


def cast(input, dtype):
    """The operand in the dtype asked for, if any."""
    return input if dtype is None else to_dtype(input, dtype)


# ---- sums --------------------------------------------------------------------------------------


def _added(input, dtype):
    """(operand as it is accumulated, dtype of the result): integers are summed as int64."""
    input = cast(input, dtype)
    if dtype is None and torch_dtype(input).category < dt.FLOATING:
        input = input.astype(np.int64)
    return widened(input), input.dtype


@op(linear=True, forms=SIMPLE, grad_name=by_dim("Sum"))
def sum(input, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None):
    """The sum over the given dimensions, or over all."""
    x, out = _added(input, dtype)
    return jnp.sum(x, axes(dim, input.ndim), x.dtype, keepdims=keepdim).astype(out)


@op(forms=SIMPLE)
def nansum(input, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None):
    """The sum with every nan as zero."""
    if jnp.iscomplexobj(input):
        raise RuntimeError("nansum on CPU does not support complex inputs")
    if dtype is not None and dtype.category == dt.COMPLEX:
        kind = dt.SCALAR_NAMES[dtype]
        raise NotImplementedError(f"\"nansum_cpu\" not implemented for '{kind}'")
    x, out = _added(input, dtype)
    x = jnp.where(x != x, jnp.zeros((), x.dtype), x)
    return jnp.sum(x, axes(dim, input.ndim), x.dtype, keepdims=keepdim).astype(out)


@op(linear=True, forms=SIMPLE, grad_name=by_dim("Mean"))
def mean(input, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None):
    """The mean over the given dimensions, or over all."""
    given = torch_dtype(input)
    if (dtype or given).category < dt.FLOATING:
        kind = "Input" if dtype is None else "Optional"
        raise RuntimeError(
            f"mean(): could not infer output dtype. {kind} dtype must be either a floating point "
            f"or complex dtype. Got: {dt.SCALAR_NAMES[dtype or given]}"
        )
    x, out = _added(input, dtype)
    return conventions.average(x, axes(dim, input.ndim), keepdim).astype(out)


@op(forms=SIMPLE, grad_name="DivBackward0")
def nanmean(input, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype = None):
    """The mean of what is not nan."""
    given = torch_dtype(input)
    if given.category < dt.FLOATING:
        raise RuntimeError(
            f"nanmean(): expected input to have floating point or complex dtype but got "
            f"{dt.SCALAR_NAMES[given]}"
        )
    if given.category == dt.COMPLEX:
        raise RuntimeError("nansum on CPU does not support complex inputs")
    x, out = _added(input, dtype)
    at, there = axes(dim, input.ndim), x == x
    total = jnp.sum(jnp.where(there, x, jnp.zeros((), x.dtype)), at, keepdims=keepdim)
    return (total / there.sum(at, keepdims=keepdim).astype(x.dtype)).astype(out)


@op(forms=SIMPLE, grad_name=by_dim("Prod"))
def prod(input, dim: Dim = None, keepdim: bool = False, *, dtype: Dtype = None):
    """The product over one dimension, or over all."""
    x, out = _added(input, dtype)
    if dim is None:
        return jnp.prod(x, dtype=x.dtype, keepdims=keepdim).astype(out)
    y, at = along(x, dim)
    return dropped(jnp.prod(y, at, y.dtype, keepdims=True), x, at, keepdim).astype(out)


@op(linear=True, forms=SIMPLE)
def trace(input):
    """The sum of a matrix's diagonal."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    if input.dtype == bool:
        raise no_kernel("trace", input)
    x, out = _added(input, None)
    return jnp.trace(x).astype(out)


# ---- truth -------------------------------------------------------------------------------------


def _truth(fn, input, dim, keepdim):
    """all and any; no dimensions at all reduce nothing, and uint8 stays uint8."""
    at = () if dim.__class__ is tuple and not dim else axes(dim, input.ndim)
    out = fn(input != 0, at, keepdims=keepdim)
    return out.astype(np.uint8) if input.dtype == np.uint8 else out


@op("all", differentiable=False, forms=SIMPLE)
def all_(input, dim: Dims = None, keepdim: bool = False):
    """Whether no element is zero."""
    return _truth(jnp.all, input, dim, keepdim)


@op("any", differentiable=False, forms=SIMPLE)
def any_(input, dim: Dims = None, keepdim: bool = False):
    """Whether some element is not zero."""
    return _truth(jnp.any, input, dim, keepdim)


@op(differentiable=False, forms=("function", "method"))
def count_nonzero(input, dim: Dims = None):
    """How many elements are not zero."""
    return jnp.sum(input != 0, axes(dim, input.ndim), dtype=np.int64)


# ---- extremes ----------------------------------------------------------------------------------


def _check_not_empty(name, input, dim):
    """Raise PyTorch's errors where there is nothing to choose from."""
    if input.size:
        return
    if dim is None or (dim.__class__ is tuple and not dim):
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
            "reduction dim with the 'dim' argument."
        )
    for d in axes(dim, input.ndim) or ():
        if input.shape[d] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")


def _extreme(name, fn, kernel, input, dim, keepdim):
    if jnp.iscomplexobj(input):
        raise no_kernel(kernel, input)
    _check_not_empty(name, input, dim)
    return fn(input, axes(dim, input.ndim), keepdims=keepdim)


@op(saves="both", vjp=conventions.evenly, forms=SIMPLE)
def amax(input, dim: Dims = (), keepdim: bool = False):
    """The largest elements; ties share the gradient."""
    return _extreme("amax", jnp.max, "max_values_cpu", input, dim, keepdim)


@op(saves="both", vjp=conventions.evenly_min, forms=SIMPLE)
def amin(input, dim: Dims = (), keepdim: bool = False):
    """The smallest elements; ties share the gradient."""
    return _extreme("amin", jnp.min, "min_values_cpu", input, dim, keepdim)


@op("max", saves="both", vjp=conventions.evenly_over_max, grad_name="MaxBackward1")
def max_all(input):
    """The largest element of all."""
    return _extreme("max", jnp.max, "max_all", input, None, False)


@op("min", saves="both", vjp=conventions.evenly_over_min, grad_name="MinBackward1")
def min_all(input):
    """The smallest element of all."""
    return _extreme("min", jnp.min, "min_all", input, None, False)


def first_extreme(input, at: int, fn):
    """(values, index of the first) along a dimension, kept as one; a nan is the extreme."""
    return fn(input, at, keepdims=True), number_of_first(input, at, fn is jnp.min)


def _extreme_at(name, fn, input, dim, keepdim):
    if jnp.iscomplexobj(input):
        raise RuntimeError(f"{name}(): does not support complex input")
    x, at = along(input, dim)
    _check_not_empty(name, x, at)
    values, index = first_extreme(x, at, fn)
    return dropped(values, input, at, keepdim), dropped(index, input, at, keepdim)


@op(saves="result", vjp=conventions.picked, grad_name="MaxBackward0")
def max_dim(input, dim: Dim, keepdim: bool = False):
    """The largest elements along a dimension, and where the first of them stand."""
    return _extreme_at("max", jnp.max, input, dim, keepdim)


@op(saves="result", vjp=conventions.picked, grad_name="MinBackward0")
def min_dim(input, dim: Dim, keepdim: bool = False):
    """The smallest elements along a dimension, and where the first of them stand."""
    return _extreme_at("min", jnp.min, input, dim, keepdim)


def _index(name, fn, input, dim, keepdim):
    for bad, kind in ((np.bool_, "bool"), (np.complexfloating, "complex")):
        if np.issubdtype(input.dtype, bad):
            raise RuntimeError(f"{name}(): does not support {kind} input")
    if dim is None:
        if not input.size:
            raise IndexError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0."
            )
        index = first_extreme(input.reshape(-1), 0, fn)[1]
        return index.reshape([1] * input.ndim if keepdim else ())
    x, at = along(input, dim)
    _check_not_empty(name, x, at)
    return dropped(first_extreme(x, at, fn)[1], input, at, keepdim)


@op(differentiable=False, forms=SIMPLE)
def argmax(input, dim: Dim = None, keepdim: bool = False):
    """Where the first of the largest elements stands."""
    return _index("argmax", jnp.max, input, dim, keepdim)


@op(differentiable=False, forms=SIMPLE)
def argmin(input, dim: Dim = None, keepdim: bool = False):
    """Where the first of the smallest elements stands."""
    return _index("argmin", jnp.min, input, dim, keepdim)


@op(saves="both", vjp=conventions.evenly_both, forms=("function", "method", "out", ("min", "max")))
def aminmax(input, *, dim: Dim = None, keepdim: bool = False):
    """The smallest and the largest elements, along one dimension or of all."""
    if jnp.iscomplexobj(input):
        raise no_kernel("aminmax_cpu", input)
    if dim is None and not input.size:
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no "
            "identity."
        )
    _check_not_empty("aminmax", input, dim)
    at = axes(dim, input.ndim)
    return jnp.min(input, at, keepdims=keepdim), jnp.max(input, at, keepdims=keepdim)


# ---- norms -------------------------------------------------------------------------------------


def _check_norm(input, p, at, dtype):
    given = torch_dtype(input)
    if given.category < dt.FLOATING:
        raise RuntimeError(
            f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{dt.SCALAR_NAMES[given]}"
        )
    if dtype is not None and dtype.category != given.category:
        is_complex = given.category == dt.COMPLEX
        wanted = "floating point or complex" if dtype.category < dt.FLOATING else (
            "complex for complex inputs" if is_complex else "real for real inputs"
        )  # fmt: skip
        raise RuntimeError(
            f"linalg.vector_norm: dtype should be {wanted}, but got {dt.SCALAR_NAMES[dtype]}"
        )
    if dtype is not None and dt.promote_types(given, dtype) is not dtype:
        raise RuntimeError(
            f"linalg.vector_norm: the dtype of the input ({dt.SCALAR_NAMES[given]}) should be "
            f"convertible without narrowing to the specified dtype ({dt.SCALAR_NAMES[dtype]})"
        )
    if p < 0 or p == float("inf"):
        if at is None and not input.size:
            raise RuntimeError(
                f"linalg.vector_norm cannot compute the {p:g} norm on an empty tensor because the "
                "operation does not have an identity"
            )
        for d in at or ():
            if input.shape[d] == 0:
                raise RuntimeError(
                    f"linalg.vector_norm cannot compute the {p:g} norm on the dimension {d}because "
                    "this dimension is empty and the operation does not have an identity"
                )


@op(saves="both", vjp=conventions.norm, grad_name="LinalgVectorNormBackward0")
def norm(input, p: float, dim: Dims = None, keepdim: bool = False, dtype: Dtype = None):
    """The vector norm of order ``p`` over the given dimensions, or over all."""
    at = axes(dim, input.ndim)
    _check_norm(input, p, at, dtype)
    input = cast(input, dtype)
    out = torch_dtype(input).to_real().numpy
    x = widened(input)
    if p == 2:
        square = x.real**2 + x.imag**2 if jnp.iscomplexobj(x) else x * x
        return jnp.sqrt(square.sum(at, keepdims=keepdim)).astype(out)
    a = jnp.abs(x)
    if p == float("inf"):
        r = a.max(at, keepdims=keepdim)
    elif p == -float("inf"):
        r = a.min(at, keepdims=keepdim)
    elif p == 0:
        r = (a != 0).sum(at, keepdims=keepdim)
    elif p == 1:
        r = a.sum(at, keepdims=keepdim)
    else:
        r = (a**p).sum(at, keepdims=keepdim) ** (1 / p)
    return r.astype(out)


def _renormed(x, p, dims):
    """The norm whose gradient at a zero slice is zero, so that its factor may be masked."""
    zero = (x == 0).all(dims, keepdims=True)
    a = jnp.abs(jnp.where(zero, jnp.ones((), x.dtype), x))
    if p == float("inf"):
        r = a.max(dims, keepdims=True)
    else:
        r = (a**p).sum(dims, keepdims=True) ** (1 / p)
    return jnp.where(zero, jnp.zeros((), r.dtype), r)


@op(forms=("function", "method", "inplace", "out"))
def renorm(input, p: float, dim: Dim, maxnorm: float):
    """Slices along a dimension scaled down to a largest norm."""
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm:g}")
    if input.ndim < 2:
        raise RuntimeError(
            f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions"
        )
    (at,) = axes(dim, input.ndim)
    _check_norm(input, p, (), None)
    x = widened(input)
    r = _renormed(x, p, tuple(d for d in range(x.ndim) if d != at))
    factor = jnp.where(r > maxnorm, maxnorm / (r + 1e-7), jnp.ones((), r.dtype))
    return (x * factor).astype(input.dtype)
