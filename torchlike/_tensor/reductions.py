"""Frontends of reductions whose PyTorch functions have several overloads."""

from __future__ import annotations

import math
import operator

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._core.errors import warn
from torchlike._core.symbolic import is_whole, whole
from torchlike._engine.captures import at_hand
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply, apply_inplace, into
from torchlike._tensor.forms import FUNCTIONS, function, method, structseq
from torchlike._tensor.matrix_norms import matrix_norm, vector_norm
from torchlike._tensor.products import need_tensor, readable
from torchlike._tensor.shapes import named
from torchlike._tensor.size_arguments import integer, sizes_given

_GIVEN_NOT = object()  # the default of an argument whose None means something


def _renamed(dim, keepdim, names, name):
    """numpy's spellings of ``dim`` and ``keepdim``."""
    if names:
        dim = names.pop("axis", dim)
        keepdim = names.pop("keepdims", keepdim)
        if names:
            raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(names))}'")
    return dim, keepdim


def _int_dim(name, dim):
    if dim.__class__ is not int and (
        isinstance(dim, (bool, float, str, tuple, list)) or not hasattr(dim, "__index__")
    ):
        raise TypeError(
            f"{name}() received an invalid combination of arguments: dim must be an int, got "
            f"{type(dim).__name__}"
        )
    return operator.index(dim) if isinstance(dim, dispatch._Tensor) else dim


# ---- extremes and medians ----------------------------------------------------------------------


def _known_as(fn, name, doc):
    """The function under its public name, which its errors say as well."""
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = doc
    fn.__code__ = fn.__code__.replace(co_name=name)
    return fn


def _choice(name, pairwise=None):
    """max, min, median, nanmedian: of all, along a dimension, or (max, min) of two tensors."""
    whole, along = TABLE[name], TABLE[f"{name}_dim"]
    pair = structseq(name, ("values", "indices"))

    def choose(
        input, second=_GIVEN_NOT, keepdim=_GIVEN_NOT, *, dim=_GIVEN_NOT, other=None, out=None,
        **names,
    ):  # fmt: skip
        if names:
            dim, keepdim = _renamed(dim, keepdim, names, name)
        need_tensor(name, "input", 1, input)
        if dim is _GIVEN_NOT:
            if pairwise is not None and isinstance(second, dispatch._Tensor):
                other = second  # which ``dim=`` never is
            dim = second
        elif second is not _GIVEN_NOT:
            raise TypeError(f"{name}() got multiple values for argument 'dim'")
        if dim is _GIVEN_NOT and other is None:
            if keepdim is not _GIVEN_NOT or (out is not None and pairwise is None):
                raise TypeError(f'{name}() missing 1 required positional arguments: "dim"')
            return into(out, apply(whole, (input,)))
        if pairwise is not None and other is not None:
            return FUNCTIONS[pairwise](input, other, out=out)
        keepdim = False if keepdim is _GIVEN_NOT else keepdim
        result = apply(along, (input,), (_int_dim(name, dim), keepdim))
        return pair(*into(out, result, True, (input,)))

    return _known_as(choose, name, f"https://pytorch.org/docs/stable/generated/torch.{name}.html")


for _name, _pairwise in {
    "max": "maximum", "min": "minimum", "median": None, "nanmedian": None,
}.items():  # fmt: skip
    function(_name, method=True)(_choice(_name, _pairwise))


# ---- variance ----------------------------------------------------------------------------------


def _spread(name):
    """var, std, var_mean, std_mean: by ``correction``, or by the older ``unbiased``."""
    op = TABLE[name]

    def spread(
        input, dim=None, unbiased=None, keepdim=False, *, correction=None, out=None, **names
    ):
        if names:
            dim, keepdim = _renamed(dim, keepdim, names, name)
        need_tensor(name, "input", 1, input)
        if dim.__class__ is bool:
            dim, unbiased = None, dim
        if unbiased is not None:
            if correction is not None:
                raise TypeError(
                    f"{name}() received an invalid combination of arguments: both unbiased and "
                    "correction"
                )
            correction = 1 if unbiased else 0
        elif correction is None:
            correction = 1
        dim = tuple(dim) if isinstance(dim, list) else dim
        result = apply(op, (input,), (dim, correction, keepdim))
        _warn_of_freedom(name, input._value.aval.shape, dim, correction)
        return into(out, result)

    return _known_as(spread, name, op.fn.__doc__)


def _warn_of_freedom(name, shape, dim, correction) -> None:
    """Warn where the sum of squares is divided by nothing."""
    dims = dim if isinstance(dim, (tuple, list)) else () if dim is None else (whole(dim),)
    dims = dims or range(len(shape))
    count = math.prod([shape[d] for d in dims] if shape else ())
    if count.__class__ is int and count <= correction:  # else an open size: who can tell
        warn(
            f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the "
            "reduction factor (input numel divided by output numel)."
        )


for _name in ("var", "std"):
    function(_name, method=True)(_spread(_name))
for _name in ("var_mean", "std_mean"):
    function(_name)(_spread(_name))


@function(method=True)
def cov(input, *, correction=1, fweights=None, aweights=None):
    """The covariance matrix of variables in rows, observations in columns
    (https://pytorch.org/docs/stable/generated/torch.cov.html)."""
    need_tensor("cov", "input", 1, input)
    for name, w in (("fweights", fweights), ("aweights", aweights)):
        if readable(w) and w.dtype.category <= dt.FLOATING and (w._host() < 0).any():
            raise RuntimeError(f"cov(): {name} cannot be negative")
    weights = [w for w in (fweights, aweights) if w is not None]
    known = [w._host() for w in weights if readable(w)]
    if weights and len(known) == len(weights) and not math.prod(known).sum():
        raise RuntimeError("cov(): weights sum to zero, can't be normalized")
    correction = integer("cov", "correction", None, correction)
    shape = input._value.aval.shape
    if fweights is None and aweights is None and shape[-1:] and shape[-1] <= correction:
        warn(
            "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number "
            "of observations."
        )
    return apply(TABLE["cov"], (input, fweights, aweights), (correction,))


# ---- norms -------------------------------------------------------------------------------------


@function(method=True, numpy=False)
def norm(input, p="fro", dim=None, keepdim=False, out=None, dtype=None):
    """A vector norm, or with p="nuc" a matrix norm (https://pytorch.org/docs/stable/generated/torch.norm.html)."""
    need_tensor("norm", "input", 1, input)
    dim = tuple(dim) if isinstance(dim, list) else dim
    if p == "fro" and (dim is None or is_whole(dim) or len(dim) <= 2):
        p = 2.0
    if isinstance(p, str):
        dim = tuple(range(input.ndim)) if dim is None else (dim,) if is_whole(dim) else dim
        return matrix_norm(input, p, dim, keepdim, dtype=dtype, out=out)
    return vector_norm(input, 2.0 if p is None else p, dim, keepdim, dtype=dtype, out=out)


@function(method=True)
def dist(input, other, p=2):
    """The norm of the difference of two tensors."""
    need_tensor("dist", "other", 2, other)
    return named(vector_norm(FUNCTIONS["sub"](input, other), p), "DistBackward0")


@method("sum_to_size")
def sum_to_size(self, *size, **named_size):
    """Summed over the dimensions that broadcasting ``size`` to this shape would add."""
    shape, size = self._value.aval.shape, sizes_given("sum_to_size", "size", size, named_size)
    lead = len(shape) - len(size)
    if lead < 0 or any(m not in (1, n) for m, n in zip(size, shape[lead:])):
        raise RuntimeError(f"size {{{list(size)}}} is not expandable to size {{{list(shape)}}}.")
    dims = [*range(lead)]
    dims += [lead + i for i, m in enumerate(size) if m == 1 and shape[lead + i] != 1]
    if not shape:
        return self.sum()  # with PyTorch's dtype of sums
    out = self.sum(tuple(dims), keepdim=True) if dims else self
    return out.reshape(size) if lead else out


# ---- quantiles ---------------------------------------------------------------------------------


def _quantile(name, skip_nan):
    op = TABLE["quantile"]

    def quantile(input, q, dim=None, keepdim=False, *, interpolation="linear", out=None, **names):
        if names:
            dim, keepdim = _renamed(dim, keepdim, names, name)
        need_tensor(name, "input", 1, input)
        if isinstance(q, dispatch._Tensor):
            _check_probabilities(name, q)
            q = q if interpolation == "linear" else q.detach()  # the others only pick elements
        else:
            if not isinstance(q, (int, float, np.number)) or isinstance(q, bool):
                raise TypeError(f"{name}(): argument 'q' must be Tensor or float")
            if not 0 <= q <= 1:
                raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q:g}")
            q = float(q)
        statics = dim, keepdim, interpolation, skip_nan
        return into(out, apply(op, (input, q), statics), exact=True)

    return _known_as(quantile, name, op.fn.__doc__)


def _check_probabilities(name, q):
    """Refuse what PyTorch refuses on the CPU, where the numbers are at hand."""
    if at_hand(dispatch.value_of(q)) is None:
        return
    host = q._host()
    if not ((host >= 0) & (host <= 1)).all():
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")


function("quantile", method=True)(_quantile("quantile", False))
function("nanquantile", method=True)(_quantile("nanquantile", True))


# ---- order -------------------------------------------------------------------------------------


@function(method=True)
def msort(input, *, out=None):
    """Sorted along the first dimension."""
    need_tensor("msort", "input", 1, input)
    return into(out, apply(TABLE["sort"], (input,), (0, False, False))[0], exact=True)


@function()
def trapz(y, x=None, *, dx=None, dim=-1):
    """``trapezoid`` under numpy's old name."""
    return FUNCTIONS["trapezoid"](y, x, dx=dx, dim=dim)


# ---- scans -------------------------------------------------------------------------------------


def _running(name):
    """cumsum_ and cumprod_, which refuse to change the dtype."""
    op = TABLE[name]

    def running(self, dim=None, *, dtype=None, **names):
        dim, _ = _renamed(dim, None, names, f"{name}_")
        if dtype is not None and dtype is not self.dtype:
            raise RuntimeError(
                f"Bad in-place call: input tensor dtype {self.dtype.name} and output tensor dtype "
                f"{dtype.name} should match"
            )
        return apply_inplace(op, (self,), (_int_dim(f"{name}_", dim), dtype))

    running.__name__ = running.__qualname__ = f"{name}_"
    running.__doc__ = f"In-place form of ``{name}``."
    return running


for _name in ("cumsum", "cumprod"):
    method(f"{_name}_")(_running(_name))
