"""The op record and the one table of ops; above it the families register, below it are only dtypes.

An op is a pure function on jax arrays whose parameter annotations say how a call is taken apart:

    (nothing)   an operand: tensor, Python number or None; an input of the program
    Arrays      a sequence of operands (one such parameter an op)
    Number      a Python number that becomes a run-time argument of the program
    anything    a static value: part of the program's key (dims, flags, shapes, dtypes)

Everything else (promotion, differentiation, forms) is an attribute of the record.
"""

from __future__ import annotations

import inspect
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._core.errors import PACKAGE


class Arrays:
    """Annotation: a sequence of operands."""


class Number:
    """Annotation: a Python number that enters the program at run time."""


class Dim:
    """Annotation: one dimension, static."""


class Dims:
    """Annotation: a dimension, several, or None for all; static."""


class Shape:
    """Annotation: a shape, static; methods also take it as separate integers."""


class Dtype:
    """Annotation: a torch dtype or None, static."""


TABLE: dict[str, Op] = {}


class Op:
    """One operator: what it computes and how it takes part in everything else.

    name         PyTorch's name of the function
    fn           pure function on jax arrays
    promotes     None: operands as they are; "raw": Scalars too; "result": cast to PyTorch's
                 result dtype; "float": that, with integers going to the default float dtype
    computes     "opmath": half precision is computed in float32 and rounded once, as PyTorch does
    saves        what PyTorch saves for backward, and so what may not be overwritten before it:
                 "inputs", "result", "both" or "nothing" (of the inputs, where PyTorch computes in
                 several steps); "all": the inputs, while the derivative
                 here is given the results, too
    linear       the gradient needs no operand's value
    multilinear  linear in each operand: its gradient needs the other operands only
    needs        {operand: operands whose values its gradient needs}; None: all of them
    numbers      names of the parameters that may be Python numbers; None: all of them but one
    signature    PyTorch's function, e.g. "conv{rank}d(input, weight, bias, stride)" with a static
                 in braces, for errors about the classes of statics, which are then checked
    refuses      called once per distinct call with the operands' avals (a class or (class, number)
                 for a Python number), before promotion; raises PyTorch's errors
    vjp          own derivative rule (see conventions.py); None: jax.vjp of fn
    differentiable   False: results never require grad
    view         a view of its first operand
    write        for a view: (base, new, *operands, *statics) -> the base with the view replaced
    checks       fn reports out-of-range indices through ``report_bad_index``
    donates      statics -> positions of operands whose arrays the program may overwrite; the op's
                 last results replace them, in this order
    shapes       own shape rule (statics, in_avals) -> [(shape, dtype)]; None: jax.eval_shape
    pointwise    each element of a result depends only on the operands' elements in its place, after
                 broadcasting; None: so if the op computes in "opmath" and names no dimensions
    places       statics -> the devices of the results, where operands and results may be of
                 several; None: all are of one
    grad_name    PyTorch's name of the call's node on the tape; a function from the arguments (an
                 object with the operands' avals and the statics) to it where it depends on them
    forward      for a derivative: the op that it differentiates
    inner        for an op that stands for recorded calls: the prefix that they end in
    made_of      for an op that is made at run time: what tells it from all others
    tuned        XLA is to work on its program as hard as it can, however long that takes
    """

    __slots__ = (
        "checks", "computes", "differentiable", "donates", "fn", "forms", "forward", "grad_name",
        "hosted", "inferred", "inner", "inputs", "linear", "list_at", "made_of", "multilinear",
        "name", "needs", "numbers", "params", "places", "pointwise", "promotes", "refuses",
        "run_body", "run_time", "saves", "shapes", "signature", "singles", "statics", "tuned",
        "vjp", "vjp_ops", "view", "write", "__weakref__",
    )  # fmt: skip

    def __init__(
        self, name, fn, *, promotes=None, computes=None, saves="inputs", linear=False,
        multilinear=False, vjp=None, differentiable=True, view=False, write=None, checks=False,
        donates=None, needs=None, numbers=None, refuses=None, shapes=None, grad_name=None,
        pointwise=None, forward=None, inner=None, made_of=None, forms=(), signature=None,
        places=None, tuned=False,
    ):  # fmt: skip
        self.name, self.fn = name, fn
        self.promotes, self.computes = promotes, computes
        self.saves = "nothing" if linear else saves
        self.linear, self.multilinear, self.vjp = linear, multilinear, vjp
        self.differentiable, self.view, self.checks = differentiable, view, checks
        self.donates, self.forms, self.signature = donates, forms, signature
        self.tuned = tuned
        self.write, self.shapes, self.forward, self.inner = write, shapes, forward, inner
        self.made_of, self.places = made_of, places
        self.grad_name = grad_name or "".join(p.capitalize() for p in name.split("_")) + "Backward0"
        self.inferred: dict = {}  # (statics, operand avals) -> result avals
        self.singles: dict = {}  # (statics, operand kinds) -> program of this op alone
        self.hosted: dict = {}  # (statics, operand kinds) -> numpy function of this op
        self.vjp_ops: dict = {}
        self.params = list(inspect.signature(fn, eval_str=True).parameters.values())
        self.inputs = [p for p in self.params if is_input(p)]
        self.statics = [p for p in self.params if not is_input(p)]
        places = any(p.annotation in (Dim, Dims, Shape) for p in self.statics)
        self.pointwise = computes == "opmath" and not places if pointwise is None else pointwise
        lists = [i for i, p in enumerate(self.inputs) if p.annotation is Arrays]
        if len(lists) > 1:
            raise TypeError(f"op {name}: at most one parameter may be Arrays")
        self.list_at = lists[0] if lists else None
        names = [p.name for p in self.inputs]
        # Positions of run-time numbers: they follow the result dtype and have no part in it.
        self.run_time = {
            i: p.name for i, p in enumerate(self.inputs) if p.annotation is Number and not lists
        }
        self.numbers, self.refuses = numbers, refuses
        self.needs = needs and {
            names.index(name): frozenset(names.index(n) for n in needed)
            for name, needed in needs.items()
        }
        self.run_body = None  # compiled when first run

    @property
    def public_name(self) -> str:
        """The name of PyTorch's function, as errors about operands have it."""
        return (self.signature or self.name).partition("(")[0].replace("{rank}d", "")

    def node_name(self, statics, in_avals) -> str:
        """PyTorch's name of the node of a call with these arguments."""
        if self.grad_name.__class__ is str:
            return self.grad_name
        if self.list_at is not None:
            end = len(in_avals) - len(self.inputs) + self.list_at + 1
            listed = in_avals[self.list_at : end]
            in_avals = (*in_avals[: self.list_at], listed, *in_avals[end:])
        names = [p.name for p in (*self.inputs, *self.statics)]
        return self.grad_name(
            SimpleNamespace(**dict(zip(names, (*in_avals, *statics), strict=True)))
        )

    def __repr__(self):
        return f"<op {self.name}>"

    def __reduce__(self):
        return TABLE.__getitem__, (self.name,)

    def __deepcopy__(self, memo):
        return self

    def run(self, operands, statics):
        """Apply to jax arrays; Python numbers arrive as 0-d arrays wrapped in ``Scalar``."""
        if self.run_body is None:
            self.run_body = _compile_call(self)
        return self.run_body(self, prepare(self, operands), statics)


def is_input(p: inspect.Parameter) -> bool:
    """Whether a parameter is an operand of the program rather than part of its key."""
    return p.annotation in (inspect.Parameter.empty, Arrays, Number)


def _compile_call(op: Op):
    """A function (op, operands, statics) -> results that calls ``op.fn`` by parameter order."""
    pieces, static_at = [], 0
    after = len(op.inputs) - 1 - (op.list_at if op.list_at is not None else 0)
    seen = 0
    for p in op.params:
        prefix = f"{p.name}=" if p.kind is p.KEYWORD_ONLY else ""
        if not is_input(p):
            pieces.append(f"{prefix}s[{static_at}]")
            static_at += 1
            continue
        if op.list_at is None or seen < op.list_at:
            pieces.append(f"{prefix}x[{seen}]")
        elif seen == op.list_at:
            end = f"len(x) - {after}" if after else ""
            pieces.append(f"{prefix}x[{seen}:{end}]")
        else:
            pieces.append(f"{prefix}x[{seen - len(op.inputs)}]")
        seen += 1
    scope = {"fn": op.fn}
    source = f"def call(op, x, s):\n    return fn({', '.join(pieces)})"
    exec(compile(source, f"{PACKAGE}forms/{op.name}.call", "exec"), scope)
    return scope["call"]


# ---- registration ------------------------------------------------------------------------------


def register(name: str, fn, **attributes) -> Op:
    """Put an op into the table; a second op of the same name is an error."""
    if name in TABLE:
        raise ValueError(f"op {name!r} is registered twice")
    op = TABLE[name] = Op(name, fn, **attributes)
    return op


def op(name: str | None = None, **attributes):
    """Decorator: register the function as an op under its own or the given name."""

    def wrap(fn):
        register(name or fn.__name__.strip("_"), fn, **attributes)
        return fn

    return wrap


FORMS = ("function", "method", "inplace", "out")


def unary(name: str, fn, promotes="float", forms=FORMS, **attributes) -> Op:
    """Register a pointwise op of one operand that has a jnp twin."""

    def body(input):
        return fn(input)

    attributes.setdefault("computes", "opmath")
    attributes.setdefault("numbers", ())
    attributes.setdefault("pointwise", True)
    return register(name, body, promotes=promotes, forms=forms, **attributes)


def binary(name: str, fn, promotes="result", forms=FORMS, **attributes) -> Op:
    """Register a pointwise, broadcasting op of two operands that has a jnp twin."""

    def body(input, other):
        return fn(input, other)

    attributes.setdefault("computes", "opmath")
    attributes.setdefault("pointwise", True)
    return register(name, body, promotes=promotes, forms=forms, **attributes)


def compare(name: str, fn, **attributes) -> Op:
    """Register a comparison: operands promoted together, result bool."""
    return binary(name, fn, computes=None, differentiable=False, **attributes)


# ---- operands ----------------------------------------------------------------------------------


class Scalar:
    """A Python number inside a program: a 0-d array and the class of the number it came from."""

    __slots__ = ("array", "kind")

    def __init__(self, array, kind):
        self.array, self.kind = array, kind


def as_array(x):
    """The array of a number, or of a tensor that stands in the place of one."""
    return x.array if x.__class__ is Scalar else x


def torch_dtype(x) -> dt.dtype:
    """The torch dtype of a jax array."""
    return dt.BY_NUMPY[np.dtype(x.dtype)]


def computing_dtype(op: Op, operands) -> dt.dtype:
    """PyTorch's result dtype for these operands."""
    dims, zero, scalars = [], [], []
    for i, x in enumerate(operands):
        if x is None or i in op.run_time:
            continue
        if x.__class__ is Scalar:
            scalars.append(dt.scalar_dtype(x.kind))
        elif x.ndim:
            dims.append(torch_dtype(x))
        else:
            zero.append(torch_dtype(x))
    result = dt.result_type(dims, zero, scalars)
    if op.promotes == "float" and result.category <= dt.INTEGRAL:
        result = dt.get_default_dtype()
    return result


def prepare(op: Op, operands):
    """Cast operands as the op's promotion rule says; numbers become 0-d arrays."""
    if op.promotes == "raw":
        return operands
    if op.promotes is None:
        # Numbers take the precision of the first floating operand, as PyTorch's scalars do.
        if not any(x.__class__ is Scalar for x in operands):
            return operands
        anchor = next((x for x in operands if x is not None and x.__class__ is not Scalar), None)
        return [_number_beside(x, anchor) if x.__class__ is Scalar else x for x in operands]
    check_broadcast(operands)
    common = computing_dtype(op, operands)
    numpy_type = common.numpy
    if op.computes == "opmath" and common in dt.HALF:
        numpy_type = dt.float32.numpy
    return [
        x if x is None else cast(x.array if x.__class__ is Scalar else x, numpy_type)
        for x in operands
    ]


def cast(x, numpy_type):
    """``x`` in another dtype, in a way that keeps False * inf a nan."""
    if x.dtype == bool and jnp.issubdtype(numpy_type, jnp.inexact):
        # XLA's CPU compiler turns a product with a converted bool into a choice of 0 or the factor.
        x = x.astype(np.uint8)
    return x.astype(numpy_type)


def check_broadcast(operands) -> None:
    """Raise PyTorch's error unless the shapes broadcast together."""
    shapes = [x.shape for x in operands if x is not None and x.__class__ is not Scalar]
    if len(shapes) < 2:
        return
    common = list(shapes[0])
    for shape in shapes[1:]:
        if len(shape) > len(common):
            common = [1] * (len(shape) - len(common)) + common
        for i in range(1, len(shape) + 1):
            a, b = common[-i], shape[-i]
            if a != b and a != 1 and b != 1:
                raise RuntimeError(
                    f"The size of tensor a ({a}) must match the size of tensor b ({b}) at "
                    f"non-singleton dimension {len(common) - i}"
                )
            if a == 1:
                common[-i] = b


def _number_beside(x: Scalar, anchor):
    if anchor is None:
        return x.array
    d = torch_dtype(anchor)
    if d.category < dt.FLOATING and x.kind is float:
        return x.array.astype(dt.get_default_dtype().numpy)
    number = dt.scalar_dtype(x.kind)
    if d.category < number.category:
        return x.array.astype(number.numpy)
    return x.array.astype(d.numpy)


def finish(op: Op, operands, results):
    """Round half-precision results once, at the end, for ops that compute in float32."""
    if op.computes != "opmath":
        return results
    common = computing_dtype(op, operands)
    if common not in dt.HALF:
        return results
    down = lambda r: r.astype(common.numpy) if r.dtype == np.float32 else r  # noqa: E731
    return tuple(map(down, results)) if isinstance(results, tuple) else down(results)


def evaluate(op: Op, operands, statics):
    """All of an op inside a program: promote, compute, round; always a tuple of arrays."""
    results = finish(op, operands, op.run(operands, statics))
    return results if isinstance(results, tuple) else (results,)


# ---- indices out of range ----------------------------------------------------------------------

_reports = threading.local()


@contextmanager
def collecting_bad_indices():
    """Collect the reports of the ops traced inside: a list of (count of bad, first bad, size)."""
    before = getattr(_reports, "into", None)
    _reports.into = into = []
    try:
        yield into
    finally:
        _reports.into = before


def bad_indices() -> list | None:
    """The reports so far, where they are collected."""
    return getattr(_reports, "into", None)


@contextmanager
def ignoring_bad_indices():
    """Trace without reports: derivatives run a forward function that has reported already."""
    before = getattr(_reports, "into", None)
    _reports.into = None
    try:
        yield
    finally:
        _reports.into = before


def report_bad_index(index, size: int, low: int = 0) -> None:
    """Let the program return a flag if ``index`` leaves ``[low, size)``; JAX alone would clamp."""
    into = getattr(_reports, "into", None)
    if into is None or index.size == 0:
        return
    if isinstance(index, jax.core.Tracer) is False:
        index = jnp.asarray(index)
    flat = index.reshape(-1).astype(jnp.int64)
    bad = (flat < low) | (flat >= size)
    # One pass finds the place of the first bad index and the index: zeros if there is none.
    none = flat.shape[0]  # an exported program may leave it open
    none = np.int64(none) if isinstance(none, int) else jnp.asarray(none, np.int64)
    places = jnp.where(bad, lax.broadcasted_iota(jnp.int64, flat.shape, 0), none)
    place, first = lax.reduce((places, flat), (none, np.int64(0)), _earlier, (0,))
    into.append((jnp.stack([(place < none).astype(jnp.int64), first]), size, index.ndim))


def _earlier(a, b):
    before = a[0] <= b[0]
    return jnp.where(before, a[0], b[0]), jnp.where(before, a[1], b[1])
