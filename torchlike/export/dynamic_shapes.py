"""Dim and its kin: which sizes of the inputs an exported program leaves open."""

from __future__ import annotations

import math
from enum import Enum

from torchlike._tensor.tensor import Tensor
from torchlike.export._arguments import arguments_of
from torchlike.export._descriptions import int_oo
from torchlike.func import trees

__all__ = [
    "AdditionalInputs",
    "Constraint",
    "Dim",
    "ShapesCollection",
    "dims",
    "refine_dynamic_shapes_from_suggested_fixes",
]


class _DimHintType(Enum):
    AUTO = 1
    STATIC = 2
    DYNAMIC = 3


class _DimHint:
    """``Dim.AUTO``, ``Dim.DYNAMIC`` or ``Dim.STATIC``; a call with min and max gives it bounds."""

    def __init__(self, type, min=None, max=None):
        self.type, self.min, self.max = type, min, max

    def __call__(self, min: int | None = None, max: int | None = None):
        if min is not None and min < 0:
            raise AssertionError(f"min must be non-negative, got {min}")
        if max is not None and max < 0:
            raise AssertionError(f"max must be non-negative, got {max}")
        if min is not None and max is not None and min > max:
            raise AssertionError(f"min must be <= max, got min={min}, max={max}")
        return _DimHint(self.type, min, max)

    def __eq__(self, other):
        return isinstance(other, _DimHint) and vars(self) == vars(other)

    def __hash__(self):
        return hash((self.type, self.min, self.max))

    def __repr__(self):
        bounds = [f"{k}={v}" for k, v in (("min", self.min), ("max", self.max)) if v is not None]
        return f"DimHint({', '.join([self.type.name, *bounds])})"


class Dim:
    """An open size with a name and bounds (https://pytorch.org/docs/stable/export.html).

    ``Dim("batch", min=2, max=64)``; ``2 * batch + 1`` is a size that follows from it. Raises
    ``AssertionError`` for a name that is no identifier and for bounds that leave no choice.
    """

    AUTO = _DimHint(_DimHintType.AUTO)
    STATIC = _DimHint(_DimHintType.STATIC)
    DYNAMIC = _DimHint(_DimHintType.DYNAMIC)

    def __init__(self, name: str, *, min: int | None = None, max: int | None = None):
        low = 0 if min is None else min
        high = int_oo if max is None else max
        if high <= low:
            raise AssertionError(f"Cannot create Dim with inconsistent min={min}, max={max}")
        if not (isinstance(name, str) and name.isidentifier()):
            raise AssertionError(f"Dim name must be a valid identifier, got {name}")
        self.__name__, self.min, self.max = name, low, high

    def __add__(self, other):
        return self._derived(other, "+", lambda k, c: (k, c + other))

    def __radd__(self, other):
        return self + other

    def __sub__(self, other):
        return self._derived(other, "-", lambda k, c: (k, c - other))

    def __rsub__(self, other):
        raise NotImplementedError(
            f"Attempted to negate {self.__name__}. Please use a Dim with a positive coefficient."
        )

    def __mul__(self, other):
        if other.__class__ is int and other <= 0:
            raise NotImplementedError(
                f"Attempted to multiply {other} with {self.__name__}, where a positive integer was "
                "expected. (Only increasing linear operations with integer coefficients are "
                "supported.)"
            )
        return self._derived(other, "*", lambda k, c: (k * other, c * other))

    def __rmul__(self, other):
        return self * other

    def _derived(self, other, sign, change):
        if other.__class__ is not int:
            raise NotImplementedError(
                f"Attempted to use {sign} with {self.__name__} and {other}, where an integer was "
                "expected. (Only increasing linear operations with integer coefficients are "
                "supported.)"
            )
        root, factor, offset = self._linear()
        return _DerivedDim(root, *change(factor, offset))

    def _linear(self):
        return self, 1, 0

    def __repr__(self):
        parts = [repr(self.__name__)]
        if self.min != 2:
            parts.append(f"min={self.min}")
        if self.max != math.inf:
            parts.append(f"max={self.max}")
        return f"Dim({', '.join(parts)})"


class _DerivedDim(Dim):
    """A size that follows from another one: ``factor * root + offset``."""

    def __init__(self, root: Dim, factor: int, offset: int):
        self.root, self.factor, self.offset = root, factor, offset

    @property
    def __name__(self):
        head = self.root.__name__ if self.factor == 1 else f"{self.factor}*{self.root.__name__}"
        if not self.offset:
            return head
        return f"{head} {'+' if self.offset > 0 else '-'} {abs(self.offset)}"

    @property
    def min(self):
        return self.factor * self.root.min + self.offset

    @property
    def max(self):
        return self.factor * self.root.max + self.offset

    def _linear(self):
        return self.root, self.factor, self.offset

    def __repr__(self):
        return self.__name__


Constraint = Dim


def dims(*names: str, min: int | None = None, max: int | None = None) -> tuple[Dim, ...]:
    """A ``Dim`` per name, all with the same bounds."""
    return tuple(Dim(name, min=min, max=max) for name in names)


class ShapesCollection:
    """Requests by tensor: ``shapes[x] = {0: batch}``, then given as ``dynamic_shapes=shapes``."""

    def __init__(self):
        self._shapes: dict[int, object] = {}
        self._kept: list = []

    def __setitem__(self, t, shape):
        if not isinstance(t, (Tensor, int)):
            raise TypeError(f"Cannot assign shape to non-tensor type {type(t)}")
        self._shapes[id(t)] = shape
        self._kept.append(t)

    def __getitem__(self, t):
        return self._shapes.setdefault(id(t), {})

    def __len__(self):
        return len(self._shapes)

    def dynamic_shapes(self, m, args, kwargs=None):
        """The requests in the form of a dict by the names of the inputs."""
        named, _ = arguments_of(m, args, kwargs or {})
        seen: set = set()

        def request(x):
            if id(x) in self._shapes:
                seen.add(id(x))
                return self._shapes[id(x)]
            return None

        out = {k: _map(request, v) for k, v in named.items()}
        if set(self._shapes) - seen:
            raise ValueError("Some tensors that were assigned shapes are not among the inputs")
        return out


def _map(function, tree):
    found = trees._children(tree)
    if found is None:
        return function(tree)
    kind, context, parts = found
    values = [_map(function, p) for p in parts]
    return dict(zip(context, values, strict=True)) if kind is dict else tuple(values)


class AdditionalInputs:
    """Further examples: what differs between them is open, what is alike stays as it is."""

    def __init__(self):
        self._examples: list = []

    def add(self, args, kwargs=None):
        """Take one more example call."""
        if not isinstance(args, tuple):
            raise AssertionError(f"Representative args {args} must be a tuple")
        self._examples.append((args, kwargs or {}))

    def dynamic_shapes(self, m, args, kwargs=None):
        """The requests that the examples amount to; raises ``ValueError`` for other structures."""
        calls = [(args, kwargs or {}), *self._examples]
        named = [arguments_of(m, *call)[0] for call in calls]
        flat = [trees.flatten(n) for n in named]
        if any(spec != flat[0][1] for _, spec in flat):
            raise ValueError("Additional inputs have another structure than the inputs")
        found = []
        for values in zip(*[leaves for leaves, _ in flat], strict=True):
            if all(isinstance(v, Tensor) for v in values):
                sizes = zip(*[v.shape for v in values], strict=True)
                found.append(tuple(Dim.DYNAMIC if len(set(s)) > 1 else None for s in sizes))
            else:
                found.append(_request_for(values))
        leaves = iter(found)
        return {k: _map(lambda _: next(leaves), v) for k, v in named[0].items()}

    def verify(self, ep):
        """Raise ``RuntimeError`` for an example that an exported program refuses."""
        runner = ep._runner
        for args, kwargs in self._examples:
            try:
                runner.check(runner.flatten(args, kwargs))
            except AssertionError as error:
                raise RuntimeError(f"An additional input does not fit the program. {error}") from (
                    error
                )


def _request_for(values) -> _DimHint | None:
    """What the numbers and texts at one place of the examples ask for."""
    if len({type(v) for v in values}) > 1:
        raise ValueError(
            "The following inputs were found to have differing types, so they cannot be marked as "
            f"dynamic: {values}."
        )
    if all(v == values[0] for v in values):
        return None
    if type(values[0]) is not int:
        raise ValueError(
            "The following inputs were found to have differing values, but they cannot be marked "
            f"as dynamic: {values}."
        )
    return Dim.DYNAMIC


def refine_dynamic_shapes_from_suggested_fixes(msg: str, dynamic_shapes):
    """``dynamic_shapes`` changed as the "Suggested fixes" of an error's text say."""
    if "Suggested fixes:" not in msg:
        raise ValueError("the text of the error has no 'Suggested fixes:'")
    fixes: dict = {}
    for line in msg.split("Suggested fixes:")[1].strip().split("\n"):
        name, sign, value = (part.strip() for part in line.partition("="))
        if sign and value:
            fixes[name] = int(value) if value.isdigit() else _dim_of(value)

    def fixed(x):
        return fixes.get(x.__name__, x) if isinstance(x, Dim) else x

    def walk(tree):
        if isinstance(tree, dict):
            return {k: walk(v) for k, v in tree.items()}
        if isinstance(tree, (tuple, list)):
            return type(tree)(walk(v) for v in tree)
        return fixed(tree)

    return walk(dynamic_shapes)


def _dim_of(text: str) -> Dim:
    import ast

    call = ast.parse(text, mode="eval").body
    bounds = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
    return Dim(ast.literal_eval(call.args[0]), **bounds)
