"""``torch._foreach_*``: one function of each tensor in a list, as optimizers of others call them.

Here each is a loop: what it records is fused as any other code, so nothing is gained by a list.
"""

from __future__ import annotations

from itertools import repeat

import numpy as np

from torchlike._tensor import dispatch
from torchlike._tensor.forms import FUNCTIONS, METHODS, function, inplace_of
from torchlike._tensor.matrix_norms import vector_norm

_UNARY = (
    "abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1", "floor",
    "frac", "lgamma", "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt",
    "sigmoid", "sign", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
_BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "clamp_max", "clamp_min", "pow")
_NUMBERS = (bool, int, float, complex, np.number)


def _invalid(name, *given):
    kinds = ", ".join(type(x).__name__ for x in given)
    return TypeError(f"{name}() received an invalid combination of arguments - got ({kinds})")


def _tensors(name, given, place=0):
    """A list of tensors, checked."""
    if not isinstance(given, (list, tuple)):
        raise _invalid(name, given)
    for n, x in enumerate(given):
        if not isinstance(x, dispatch._Tensor):
            kind = type(x).__name__
            raise TypeError(f"expected Tensor as element {n} in argument {place}, but got {kind}")
    if not given and place == 0:
        raise RuntimeError("Tensor list must have at least one tensor.")
    return given


def _lists(name, tensors, *others):
    """Lists of as many tensors each, checked."""
    _tensors(name, tensors)
    for place, other in enumerate(others, 1):
        if len(_tensors(name, other, place)) != len(tensors):
            raise RuntimeError(
                "Tensor lists must have the same number of tensors, got "
                f"{len(tensors)} and {len(other)}"
            )


def _beside(name, tensors, other):
    """What stands beside each tensor: the same number, or one element each of a list."""
    if isinstance(other, _NUMBERS):
        return repeat(other)
    if isinstance(other, dispatch._Tensor):
        if other.ndim:
            raise RuntimeError(
                f"scalar tensor expected to be 0 dim but it has {other.ndim} dimensions and "
                f"{other.numel()} elements."
            )
        return repeat(other)
    if not isinstance(other, (list, tuple)):
        raise _invalid(name, tensors, other)
    if other and isinstance(other[0], dispatch._Tensor):
        _lists(name, tensors, other)
    elif not all(isinstance(x, _NUMBERS) for x in other):
        raise _invalid(name, tensors, other)
    elif len(other) != len(tensors):
        raise RuntimeError("Tensor list must have same number of elements as scalar list.")
    return other


def _packed(name, tensors, scalars):
    """Factors of ``addcmul`` and ``addcdiv``: a number, a list, or a vector of them."""
    if not isinstance(scalars, dispatch._Tensor):
        return _beside(name, tensors, scalars)
    if scalars.ndim != 1:
        raise RuntimeError(
            f"Expected packed scalar Tensor to be of dimension 1. Got {scalars.ndim} instead."
        )
    if len(scalars) != len(tensors):
        raise RuntimeError(
            f"Expected length of scalars to match input of length {len(tensors)} but got "
            f"{len(scalars)} instead."
        )
    return scalars.tolist()


def _one_of(name, tensors, given, names):
    """The operand that PyTorch's overloads give different names."""
    found = [names.pop(n) for n in ("other", "scalar", "scalars", "exponent") if n in names]
    found += [] if given is None else [given]
    if names or len(found) != 1:
        raise _invalid(name, tensors, *found, *names.values())
    return found[0]


# ---- pairs of a function and its in-place form --------------------------------------------------


def _publish(name, build):
    """``_foreach_name``, whose results are a tuple, and ``_foreach_name_``, which gives its list.

    build: takes the public name and what is done to a tensor, and gives the function whose
    results are an iterator.
    """
    in_place = METHODS.get(f"{name}_") or inplace_of(FUNCTIONS[name])

    each = build(f"_foreach_{name}", FUNCTIONS[name])
    each_in_place = build(f"_foreach_{name}_", in_place)

    def collect(self, *args, **kwargs):
        return tuple(each(self, *args, **kwargs))

    def change(self, *args, **kwargs):
        for _ in each_in_place(self, *args, **kwargs):
            pass
        return self

    collect.__doc__ = f"``torch.{name}`` of each tensor."
    change.__doc__ = f"``Tensor.{name}_`` of each tensor."
    function(f"_foreach_{name}")(collect)
    function(f"_foreach_{name}_")(change)


def _unary(name, fn):
    return lambda self: map(fn, _tensors(name, self))


def _binary(name, fn):
    def each(self, given=None, *, alpha=1, **names):
        other = _one_of(name, self, given, names)
        others = _beside(name, _tensors(name, self), other)
        if alpha != 1:
            if isinstance(other, _NUMBERS) or ("add" not in name and "sub" not in name):
                raise _invalid(name, self, other, alpha)
            return (fn(x, y, alpha=alpha) for x, y in zip(self, others, strict=False))
        return map(fn, self, others)

    return each


def _extreme(name, fn):
    """``maximum`` and ``minimum``, which take tensors only: for numbers the bounds of ``clamp``."""
    bound = name.replace("maximum", "clamp_min").replace("minimum", "clamp_max")
    bound = (METHODS if name.endswith("_") else FUNCTIONS)[bound.removeprefix("_foreach_")]
    return _binary(name, lambda x, y: (fn if isinstance(y, dispatch._Tensor) else bound)(x, y))


def _power(name, fn):
    each = _binary(name, fn)

    def power(self, given=None, **names):
        if not isinstance(self, (*_NUMBERS, dispatch._Tensor)):
            return each(self, given, **names)
        exponents = _tensors(name, _one_of(name, self, given, names), 1)
        return (fn(self, y) for y in exponents)

    return power


def _blend(name, fn):
    def blend(self, tensors1, weight=None, *, weights=None):
        _lists(name, self, tensors1)
        given = weights if weight is None else weight
        return map(fn, self, tensors1, _beside(name, self, given))

    return blend


def _fused(name, fn):
    def fused(self, tensor1, tensor2, value=1, *, scalars=None):
        _lists(name, self, tensor1, tensor2)
        factors = _packed(name, self, value if scalars is None else scalars)
        every = zip(self, tensor1, tensor2, factors, strict=False)
        return (fn(x, y, z, value=v) for x, y, z, v in every)

    return fused


_SPECIAL = {"maximum": _extreme, "minimum": _extreme, "pow": _power}
for _name in _UNARY:
    _publish(_name, _unary)
for _name in _BINARY:
    _publish(_name, _SPECIAL.get(_name, _binary))
_publish("lerp", _blend)
_publish("addcmul", _fused)
_publish("addcdiv", _fused)


# ---- the others ---------------------------------------------------------------------------------


@function()
def _foreach_norm(self, ord=2, dtype=None):
    """The vector norm of each tensor."""
    if not isinstance(ord, _NUMBERS):
        raise TypeError(
            f"_foreach_norm(): argument 'ord' (position 2) must be Number, not {type(ord).__name__}"
        )
    if ord == float("inf") and any(not x.numel() for x in _tensors("_foreach_norm", self)):
        raise RuntimeError(
            "_foreach_norm cannot compute the infinity norm on an empty tensor because the "
            "operation does not have an identity"
        )
    return tuple(vector_norm(x, ord, dtype=dtype) for x in _tensors("_foreach_norm", self))


@function()
def _foreach_powsum(self, ord=2, dtype=None):
    """The sum of the powers of absolute values in each tensor."""
    return tuple(x.abs().pow(ord).sum(dtype=dtype) for x in _tensors("_foreach_powsum", self))


@function()
def _foreach_max(self):
    """The largest element of each tensor."""
    if any(not x.numel() for x in _tensors("_foreach_max", self)):
        raise RuntimeError(
            "_foreach_max cannot compute the maximum of an empty tensor; max over zero elements "
            "is undefined."
        )
    return tuple(x.max() for x in self)


@function()
def _foreach_mm(self, mat2):
    """The product of each two matrices."""
    _lists("_foreach_mm", self, mat2)
    return tuple(map(FUNCTIONS["mm"], self, mat2))


@function()
def _foreach_clone(self, *, memory_format=None):
    """A copy of each tensor."""
    return tuple(x.clone() for x in _tensors("_foreach_clone", self))


@function()
def _foreach_copy_(self, src, non_blocking: bool = False):
    """Each tensor overwritten with that of another list."""
    _lists("_foreach_copy_", self, src)
    for x, y in zip(self, src, strict=True):
        x.copy_(y, non_blocking)
    return self


@function()
def _foreach_zero_(self):
    """Each tensor set to zero."""
    for x in _tensors("_foreach_zero_", self):
        x.zero_()
    return self


def group_tensors(tensorlistlist, with_indices: bool = False) -> dict:
    """{(device, dtype) of the first list's tensors: (their part of each list, their places)}."""
    groups: dict = {}
    for i, first in enumerate(tensorlistlist[0]):
        key = first.device, first.dtype
        lists, places = groups.setdefault(key, ([[] for _ in tensorlistlist], []))
        for mine, given in zip(lists, tensorlistlist, strict=True):
            if given:  # a list may be empty
                mine.append(given[i])
        if with_indices:
            places.append(i)
    return groups
