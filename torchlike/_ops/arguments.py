"""What the arguments of a call may be: looked at once per distinct call, before it is recorded."""

from __future__ import annotations

import inspect

from torchlike._core import dtypes as dt
from torchlike._core.errors import argument_place, type_name
from torchlike._core.symbolic import SymBool, SymInt
from torchlike._ops.table import Dim, Dims, Op, Shape

_KINDS = {dt.BOOL: bool, dt.INTEGRAL: int, dt.FLOATING: float, dt.COMPLEX: complex}


# ---- operands ----------------------------------------------------------------------------------


def check_operands(op: Op, in_avals) -> None:
    """Raise ``TypeError`` for a missing operand, or a number where PyTorch wants a tensor."""
    promotes = op.promotes in ("result", "float")
    if op.numbers is None and promotes and not any(hasattr(a, "shape") for a in in_avals):
        kinds = [getattr(a[0] if a.__class__ is tuple else a, "__name__", "None") for a in in_avals]
        raise TypeError(
            f"{op.name}() received an invalid combination of arguments - got ({', '.join(kinds)}), "
            "but at least one of them must be a Tensor"
        )
    if op.refuses is not None:
        op.refuses(*in_avals)
    if op.run_time:
        _check_numbers(op, in_avals)
    if op.list_at is not None or (op.numbers is None and not promotes):
        return
    for i, (p, a) in enumerate(zip(op.inputs, in_avals, strict=True)):
        if i in op.run_time or (a is None and p.default is None):
            continue
        if a is None:
            kind = "NoneType"
        elif hasattr(a, "shape") or op.numbers is None or p.name in op.numbers:
            continue
        else:
            kind = (a[0] if a.__class__ is tuple else a).__name__
        raise TypeError(
            f"{op.public_name}(): argument '{p.name}' (position {i + 1}) must be Tensor, not {kind}"
        )


def _check_numbers(op: Op, in_avals) -> None:
    """Raise PyTorch's errors for what no number is, or one that no operand can take in."""
    tensors = [
        a.dtype.category
        for i, a in enumerate(in_avals)
        if hasattr(a, "shape") and i not in op.run_time
    ]
    widest = max(tensors, default=None)
    for i, name in op.run_time.items():
        a = in_avals[i]
        if a is None and op.inputs[i].default in (None, inspect.Parameter.empty):
            continue
        if a is None or getattr(a, "ndim", 0):
            kind = "NoneType" if a is None else "Tensor"
            raise TypeError(f"{op.public_name}(): argument '{name}' must be Number, not {kind}")
        kind = _kind(a)
        if name == "alpha" and op.promotes in ("result", "float"):
            check_factor(name, kind, max([*tensors, *_numbers_beside(op, in_avals)]))
        elif kind is complex and widest is not None and widest < dt.COMPLEX:
            raise RuntimeError("value cannot be converted to type float without overflow")


def _kind(a) -> type:
    """Python's class of numbers that an operand is of."""
    if hasattr(a, "shape"):
        return _KINDS[a.dtype.category]
    return a[0] if a.__class__ is tuple else a


def _numbers_beside(op: Op, in_avals):
    """The categories of the numbers that take part in promotion."""
    for i, a in enumerate(in_avals):
        if i not in op.run_time and a is not None and not hasattr(a, "shape"):
            yield dt.scalar_dtype(_kind(a)).category


def check_factor(name: str, kind: type, category: int) -> None:
    """Raise PyTorch's errors for an ``alpha`` or ``beta`` that the result dtype cannot hold."""
    if kind in (float, complex) and category <= dt.INTEGRAL:
        raise RuntimeError(
            f"For integral input tensors, argument {name} must not be a floating point number."
        )
    if kind is complex and category < dt.COMPLEX:
        raise RuntimeError(
            f"For non-complex input tensors, argument {name} must not be a complex number."
        )
    if kind is bool and category != dt.BOOL:
        raise RuntimeError(f"Boolean {name} only supported for Boolean results.")


# ---- statics -----------------------------------------------------------------------------------


def _is_int(x) -> bool:
    return x.__class__ is int or x.__class__ is SymInt or (
        hasattr(x, "__index__") and not isinstance(x, bool) and type(x).__name__ not in _BOOLS
    )  # fmt: skip


_BOOLS = ("bool", "bool_")  # NumPy's among them: they have an __index__


def check_statics(op: Op, statics) -> None:
    """Raise ``TypeError`` for a static of a class that PyTorch's function refuses."""
    for p, x in zip(op.statics, statics, strict=True):
        wanted = p.annotation
        if x is None and wanted is not bool and not _is_named(op, p):  # stands for a default
            continue
        if wanted is bool:
            if x.__class__ is not bool and x.__class__ is not SymBool:
                _refuse(op, statics, p, "bool", x)
        elif wanted is int or wanted is Dim:
            if x.__class__ is not int and not _is_int(x):
                _refuse(op, statics, p, "int", x)
        elif wanted is float or wanted is complex:
            refused = (str, tuple, type(None), *(() if wanted is complex else (complex,)))
            if x.__class__ is not float and isinstance(x, refused):
                _refuse(op, statics, p, "float", x)
        elif wanted is Shape or wanted is Dims:
            if x.__class__ is tuple:
                _check_sizes(op, statics, p, x)
            elif (
                isinstance(x, (float, complex))
                or hasattr(x, "__next__")
                or (wanted is Dims and not _is_int(x))
            ):
                _refuse(op, statics, p, "tuple of ints", x)


def _is_named(op: Op, p: inspect.Parameter) -> bool:
    """Whether the op's signature says that this must be a number."""
    return p.annotation is float and op.signature is not None and f" {p.name}" in op.signature


def _check_sizes(op: Op, statics, p: inspect.Parameter, sizes: tuple) -> None:
    for i, n in enumerate(sizes):
        if n.__class__ is int or n is None or _is_int(n) or (i and n.__class__ is bool):
            continue  # None is a size that stays as it is
        if i:
            raise TypeError(
                f"{_place(op, statics, p)} failed to unpack the object at pos {i + 1} with error "
                f'"type must be tuple of ints,but got {type_name(n)}"'
            )
        raise TypeError(
            f"{_place(op, statics, p)} must be tuple of ints, but found element of type "
            f"{type_name(n)} at pos 0"
        )


def _refuse(op: Op, statics, p: inspect.Parameter, wanted: str, x) -> None:
    raise TypeError(f"{_place(op, statics, p)} must be {wanted}, not {type_name(x)}")


def _place(op: Op, statics, p: inspect.Parameter) -> str:
    """PyTorch's words for an argument: by the op's signature, or by the function called."""
    if op.signature is None:
        return argument_place(p.name, op.public_name, op.params.index(p))
    function, _, names = op.signature.partition("(")
    names = names.rstrip(")").split(", ")
    at = names.index(p.name) if p.name in names else op.params.index(p)
    name = names[at] if at < len(names) else p.name
    given = dict(zip([s.name for s in op.statics], statics, strict=True))
    return f"{function.format(**given)}(): argument '{name}' (position {at + 1})"
