"""All sizes of a call's inputs: which of them were asked to be open, and which can stay so."""

from __future__ import annotations

import dataclasses
import inspect
import math

from torchlike._core.errors import UserError
from torchlike._tensor.tensor import Tensor
from torchlike.export._arguments import arguments_of, input_paths
from torchlike.export._expressions import evaluate
from torchlike.export._symbols import Condition, Open, Refine, Symbols
from torchlike.export.dynamic_shapes import (
    AdditionalInputs,
    Dim,
    ShapesCollection,
    _DerivedDim,
    _DimHint,
    _DimHintType,
)
from torchlike.func import trees

_SEE = (
    " For more information about this error, see: https://pytorch.org/docs/main/generated/exportdb/"
    "index.html#dynamic-shapes-validation"
)


class ConstraintViolationError(RuntimeError):
    """A size of the example contradicts what was asked for."""


@dataclasses.dataclass
class _Size:
    """One size of one input: where it stands, the example, and the request for it."""

    place: str
    example: int
    asked: object = None  # None, an int, a hint, or a Dim
    name: str | None = None  # of the open size, once it has one
    given: int | None = None  # the size that the example really has, if ``example`` is not it


def _requests(module, args, kwargs, dynamic_shapes):
    """The request for each leaf of (args, kwargs), in the leaves' order."""
    leaves, _ = trees.flatten((args, kwargs))
    if not dynamic_shapes:
        return [None] * len(leaves)
    named, signature = arguments_of(module, args, kwargs)
    if isinstance(dynamic_shapes, (ShapesCollection, AdditionalInputs)):
        dynamic_shapes = dynamic_shapes.dynamic_shapes(module, args, kwargs)
    kinds = {p.kind: p.name for p in signature.parameters.values()}
    variadic = kinds.get(inspect.Parameter.VAR_POSITIONAL)
    rest = kinds.get(inspect.Parameter.VAR_KEYWORD)
    if rest in named:
        extra = named.pop(rest)
        nested = isinstance(dynamic_shapes, dict) and rest in dynamic_shapes
        named |= {rest: extra} if nested else extra
    if isinstance(dynamic_shapes, dict):
        if set(dynamic_shapes) != set(named):
            raise UserError(
                "When `dynamic_shapes` is specified as a dict, its top-level keys must be the arg "
                f"names {list(named)} of `inputs`, but here they are {list(dynamic_shapes)}. "
                "Alternatively, you could also ignore arg names entirely and specify "
                "`dynamic_shapes` as a list/tuple matching `inputs`." + _SEE
            )
        asked = {name: dynamic_shapes[name] for name in named}
    else:
        values = list(dynamic_shapes)
        if len(values) != len(named):
            raise UserError(
                "Detected mismatch between the structure of `inputs` and `dynamic_shapes`: "
                f"`inputs` has {len(named)} elements, but `dynamic_shapes` has {len(values)} "
                "elements" + _SEE
            )
        asked = dict(zip(named, values, strict=True))
    flat_args, flat_kwargs = [], {}
    for name, value in named.items():
        found = _broadcast(asked[name], value, f"[{name!r}]")
        if name == variadic:
            flat_args += found
        elif name in kwargs:
            flat_kwargs[name] = found
        elif name == rest:
            n = 0
            for key, part in value.items():
                count = len(trees.flatten(part)[0])
                flat_kwargs[key] = found[n : n + count]
                n += count
        else:
            flat_args += found
    return flat_args + [x for key in kwargs for x in flat_kwargs[key]]


def _broadcast(asked, value, path) -> list:
    """The request for each leaf of one input."""
    if isinstance(value, Tensor) or trees._children(value) is None:
        if not isinstance(value, Tensor) and asked is not None and not isinstance(asked, _DimHint):
            raise UserError(
                f"Cannot associate shape {asked} specified at `dynamic_shapes{path}` to non-tensor "
                f"type {type(value)} at `inputs{path}` (expected None)" + _SEE
            )
        return [asked]
    kind, context, parts = trees._children(value)
    if asked is None:
        return [None] * len(trees.flatten(value)[0])
    if isinstance(asked, dict) and kind is not dict and context is not None:
        raise UserError(f"Detected mismatch between the structure of `inputs{path}` and "
                        f"`dynamic_shapes{path}`" + _SEE)  # fmt: skip
    keys = context if isinstance(asked, dict) else range(len(parts))
    values = [asked[k] for k in keys if k in asked] if isinstance(asked, dict) else _parts(asked)
    if values is None or len(values) != len(parts):
        raise UserError(
            f"Detected mismatch between the structure of `inputs` and `dynamic_shapes`: "
            f"`inputs{path}` has {len(parts)} elements, but `dynamic_shapes{path}` has "
            f"{0 if values is None else len(values)} elements" + _SEE
        )
    out = []
    for k, a, v in zip(keys, values, parts, strict=True):
        out += _broadcast(a, v, f"{path}[{k!r}]")
    return out


def _parts(asked):
    if isinstance(asked, (tuple, list)):
        return list(asked)
    found = trees._children(asked)
    return None if found is None else found[2]


class Sizes:
    """All sizes of the tensors among a call's inputs, and which of them are open so far."""

    def __init__(
        self, module, args, kwargs, dynamic_shapes=None, everything=None, lenient=False
    ):  # fmt: skip
        leaves, _ = trees.flatten((args, kwargs))
        paths = input_paths(module, args, kwargs)
        requests = _requests(module, args, kwargs, dynamic_shapes)
        self.rows: list[list[_Size]] = []
        self.dims: dict[str, Dim] = {}
        self.lenient = lenient
        self.assumed: list[Condition] = []
        self.bounds: dict[str, list] = {}  # (least, most) of sizes that became this one
        for x, path, asked in zip(leaves, paths, requests, strict=True):
            if not isinstance(x, Tensor):
                continue
            per_dim = _per_dimension(asked, x, path)
            if everything is not None:
                per_dim = everything(x)
            row = [_Size(f"{path}.size()[{d}]", n, per_dim.get(d)) for d, n in enumerate(x.shape)]
            if everything is not None and row and row[0].example == 1:
                # A trace's batch of 1 stands for any; what follows from the example shall be what
                # follows for 2.
                row[0].example, row[0].given = 2, 1
            self.rows.append(row)
        self._name()

    def _name(self) -> None:
        count = 0
        taken = {
            s.asked._linear()[0].__name__
            for row in self.rows for s in row if isinstance(s.asked, Dim)
        }  # fmt: skip
        examples: dict[str, int] = {}
        for row in self.rows:
            for s in row:
                asked = s.asked
                if isinstance(asked, _DimHint):
                    if asked.type is _DimHintType.STATIC:
                        continue
                    if asked.type is _DimHintType.AUTO and s.example < 2:
                        continue  # PyTorch, too, takes a 0 or 1 for what it is
                    _check_range(s, asked.min, asked.max)
                    while f"s{count}" in taken:
                        count += 1
                    s.name = f"s{count}"
                    count += 1
                elif isinstance(asked, Dim):
                    root, factor, offset = asked._linear()
                    name = root.__name__
                    other = self.dims.setdefault(name, root)
                    if (other.min, other.max) != (root.min, root.max):
                        raise UserError(
                            f"Found different definitions {other!r} and {root!r} for the same "
                            "symbolic dimension"
                        )
                    value, rest = divmod(s.example - offset, factor)
                    if rest or examples.setdefault(name, value) != value:
                        raise UserError(
                            f"Constraints violated ({asked.__name__})! {s.place} is {s.example} in "
                            f"the example, which is not {asked.__name__} for "
                            f"{name} = {examples.get(name, value)}"
                        )
                    _check_range(s, max(asked.min, 0), asked.max)
                    s.name = name
                elif asked.__class__ is int and asked != s.example:
                    raise ConstraintViolationError(
                        f"Static shape constraint of {asked} does not match input size of "
                        f"{s.example}, for {s.place}"
                    )

    def open(self, further=(), closed=False):
        """(Symbols, a shape per tensor with its open sizes), with further conditions assumed.

        ``closed``: with no open sizes but those of the example.
        """
        found: dict[str, Open] = {}
        for row in self.rows:
            for s in row:
                if closed or s.name is None or s.name in found:
                    continue
                low, high = self._range_of(s)
                if isinstance(s.asked, Dim):
                    _, factor, offset = s.asked._linear()
                    example = (s.example - offset) // factor
                    place = s.place if factor == 1 and not offset else s.name
                    kind = "auto" if self.lenient else "named"
                    found[s.name] = Open(s.name, kind, example, low, high, place)
                else:
                    auto = self.lenient or s.asked.type is _DimHintType.AUTO
                    kind = "auto" if auto else "dynamic"
                    found[s.name] = Open(s.name, kind, s.example, low, high, s.place)
        assumed = [c for c in (*self.assumed, *further) if c.names <= set(found)]
        symbols = Symbols(list(found.values()), assumed)
        shapes = []
        for row in self.rows:
            shape = []
            for s in row:
                if s.name not in found:
                    shape.append(s.example)
                    continue
                size = symbols.sizes[s.name]
                if isinstance(s.asked, Dim):
                    _, factor, offset = s.asked._linear()
                    size = size * factor + offset
                shape.append(size)
            shapes.append(tuple(shape))
        return symbols, shapes

    def _range_of(self, s: _Size) -> tuple:
        """The bounds of an open size and of all that became one with it; None for none."""
        ranges = [_asked_range(s), *self.bounds.get(s.name, ())]
        lows, highs = ([b for b in bounds if b is not None] for bounds in zip(*ranges, strict=True))
        return max(lows, default=None), min(highs, default=None)

    def refine(self, refine: Refine) -> None:
        """Leave less open, as a trace has found out."""
        if refine.condition is not None:
            self.assumed.append(refine.condition)
            return
        self.assumed.clear()  # they are in the names of before
        if refine.same is not None:
            keep, drop = refine.same
            if drop in self.dims and keep not in self.dims:
                keep, drop = drop, keep
            named = [s for row in self.rows for s in row if s.name in (keep, drop)]
            self.bounds[keep] = [
                *map(_asked_range, named),
                *self.bounds.get(keep, ()),
                *self.bounds.pop(drop, ()),
            ]
            for row in self.rows:
                for s in row:
                    if s.name == drop:
                        s.name = keep
                        if keep in self.dims:
                            _, *rest = s.asked._linear() if isinstance(s.asked, Dim) else (0, 1, 0)
                            s.asked = _DerivedDim(self.dims[keep], *rest)
            return
        for row in self.rows:
            for s in row:
                if s.name in refine.static:
                    s.name = None
                    s.example = s.example if s.given is None else s.given

    def check(self, symbols: Symbols) -> None:
        """Raise PyTorch's error if what the trace assumed leaves out sizes that were asked for."""
        wrong, fixes = [], []
        for c in symbols.conditions:
            if not c.holds(symbols.examples):
                raise UserError(f"the example itself does not fulfil {c.shown({})}, at {c.line}")
            found = [symbols.opened[n] for n in c.names]
            if c.soft or c.relation == "!=" or any(o.kind != "named" for o in found):
                continue
            o = found[0]
            shown = c.shown({x.name: x.shown for x in found})
            wrong.append(
                f"  - Not all values of {' and '.join(x.name for x in found)} = {o.shown} in the "
                f"specified range satisfy the generated guard {shown}, at {c.line}"
            )
            bound = _bound(c, o)
            if bound is not None:
                fixes.append(f"  {o.name} = Dim('{o.name}', {bound})")
        if wrong:
            names = sorted({n for c in symbols.conditions for n in c.names})
            text = [f"Constraints violated ({', '.join(names)})!", *wrong]
            if fixes:
                text += ["Suggested fixes:", *fixes]
            raise UserError("\n".join(text))


def _bound(c: Condition, o: Open) -> str | None:
    """The bound that a condition on one size amounts to, ``min=4`` or ``max=128``."""
    if len(c.names) != 1 or c.relation != ">=":
        return None

    def holds(n):
        return evaluate(c.left, {o.name: n}) >= evaluate(c.right, {o.name: n})

    low = high = o.example
    for _ in range(4096):
        if holds(high + 1) and high < o.example + 4095:
            high += 1
        else:
            break
    while low > 1 and holds(low - 1):
        low -= 1
    if high < o.example + 4095:
        return f"max={high}" if low <= 2 else f"min={low}, max={high}"
    return f"min={low}" if low > 1 else None


def _asked_range(s: _Size) -> tuple:
    """(least, most) of the open size behind a request, None for none."""
    asked = s.asked._linear()[0] if isinstance(s.asked, Dim) else s.asked
    return asked.min, None if asked.max == math.inf else asked.max


def _check_range(s: _Size, low, high) -> None:
    low, high = max(low or 0, 2) if (low or 0) <= 2 else low, math.inf if high is None else high
    if s.example > high or (s.example < low and s.example > 1):
        raise ConstraintViolationError(f"{s.example} not in range [{low}, {high}] for {s.place}")


def _per_dimension(asked, x: Tensor, path: str) -> dict:
    """{dimension: request} for one tensor."""
    if asked is None:
        return {}
    if isinstance(asked, _DimHint):
        return dict.fromkeys(range(x.ndim), asked)
    if isinstance(asked, dict):
        out = {}
        for d, value in asked.items():
            if d.__class__ is not int or not -x.ndim <= d < x.ndim:
                raise UserError(
                    f"Expected dynamic shape dict at `dynamic_shapes` for {path} to have "
                    f"dimensions of a {x.ndim}-d tensor as its keys, but found {d!r}" + _SEE
                )
            out[d % x.ndim] = value
        asked = out
    elif isinstance(asked, (tuple, list)):
        if len(asked) != x.ndim:
            raise UserError(
                f"Expected dynamic shape spec {asked} specified for {path} to have the same length "
                f"as the actual tensor shape {list(x.shape)} (expected {x.ndim}, but got "
                f"{len(asked)} instead)" + _SEE
            )
        asked = dict(enumerate(asked))
    else:
        raise UserError(
            f"Unexpected input tensor shape {asked} specified for {path} (expected either a "
            "list/tuple of dimensions, or a dict mapping indices to dimensions, where each "
            "dimension is an int, a Dim, Dim.AUTO, Dim.STATIC, or Dim.DYNAMIC)" + _SEE
        )
    for d, value in asked.items():
        if not (value is None or value.__class__ is int or isinstance(value, (Dim, _DimHint))):
            raise UserError(
                f"Unexpected dimension mapped to index {d} in input tensor shape {asked} specified "
                f"for {path} (expected None, an int, a Dim, Dim.AUTO, Dim.STATIC, or Dim.DYNAMIC, "
                f"but got {value!r} instead)" + _SEE
            )
    return asked
