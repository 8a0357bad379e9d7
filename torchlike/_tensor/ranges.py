"""Tensors counted out of numbers: ranges, ramps, identity and triangle indices, Vandermonde's."""

from __future__ import annotations

import math

from torchlike._core import dtypes as dt
from torchlike._core.errors import warn
from torchlike._core.symbolic import is_whole
from torchlike._tensor import dispatch
from torchlike._tensor.creation import dtype_for, make, python_number, refuse_unknown
from torchlike._tensor.dispatch import into
from torchlike._tensor.forms import function
from torchlike._tensor.host_data import fitting
from torchlike._tensor.size_arguments import integer


def _counted(out, result, exact=False):
    """The result, written into ``out`` if one is given, whose shape stays if it is as long."""
    if isinstance(out, dispatch._Tensor) and out.numel() == result.numel():
        result = result.reshape(out.shape)
    return into(out, result, exact)


@function()
def arange(*args, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """Numbers from ``start`` below ``end`` in steps (https://pytorch.org/docs/stable/generated/torch.arange.html)."""
    names = ("end",) if len(args) == 1 and "start" not in extra else ("start", "end", "step")
    if len(args) > 3:
        raise TypeError(f"arange() takes at most 3 positional arguments but {len(args)} were given")
    if args and "end" in extra and "start" not in extra:
        names = ("start", "step")
    given = dict(zip(names, args, strict=False))
    for name in ("start", "end", "step"):
        if name in extra:
            given[name] = extra.pop(name)
    refuse_unknown("arange", extra)
    if "end" not in given:
        raise TypeError("arange() received an invalid combination of arguments - no 'end'")
    start, end, step = (
        python_number("arange", name, 1 + i, given.get(name, i // 2))
        for i, name in enumerate(("start", "end", "step"))
    )
    _check_bounds(start, end, step)
    if out is not None and out.dtype.category == dt.INTEGRAL and not int(step):
        raise ValueError("step must be nonzero")  # as a number of the dtype of ``out``
    integral = all(is_whole(x) for x in (start, end, step))
    d = dt.as_dtype("arange", dtype)
    if d is None:
        d = out.dtype if out is not None else dt.int64 if integral else dt.get_default_dtype()
    if d is dt.bool_ or d.category == dt.COMPLEX:
        raise NotImplementedError(f"\"arange_cpu\" not implemented for '{dt.SCALAR_NAMES[d]}'")
    if d is dt.int64:
        start, end, step = map(_whole, (start, end, step))
        count = -(-(end - start) // step) if step else 0
    elif integral:
        count = -(-(end - start) // step)
    else:
        count = math.ceil((float(end) - float(start)) / step)
    if d.category == dt.INTEGRAL:
        start, step = _whole(start), _whole(step)
    else:
        start, step = float(start), float(step)
    result = make("arange", (start, step), ((count,), d), device, requires_grad)
    return _counted(out, result, exact=True)


def _whole(x):
    return x if is_whole(x) else fitting(x, dt.int64, dt.does_not_fit)


def _check_bounds(start, end, step):
    if any(x.__class__ is complex for x in (start, end, step)):
        raise dt.does_not_fit(dt.float64)
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not all(is_whole(x) or math.isfinite(x) for x in (start, end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (step > 0 and start > end) or (step < 0 and start < end):
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")


@function("range")
def range_(start, end, step=1, *, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """Numbers from ``start`` to ``end`` in steps, the end included."""
    refuse_unknown("range", extra)
    warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is "
        "inconsistent with Python's range builtin. Instead, use torch.arange, which produces "
        "values in [start, end)."
    )
    d = dtype_for("range", dtype, out)
    start, end, step = (python_number("range", "end", 1, x) for x in (start, end, step))
    _check_bounds(start, end, step)
    count = int((float(end) - float(start)) / step) + 1
    kind = int if d.category == dt.INTEGRAL else float
    result = make("arange", (kind(start), kind(step)), ((count,), d), device, requires_grad)
    return _counted(out, result)


def _check_steps(steps):
    steps = integer("linspace", "steps", None, steps)
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    return steps


def _end(name, position, x):
    if isinstance(x, dispatch._Tensor):
        if x.ndim:
            raise RuntimeError(
                f"{name} only supports 0-dimensional start and end tensors, but got {name} with "
                f"{x.ndim} dimension(s)."
            )
        return x
    return python_number(name, ("start", "end")[position], position + 1, x)


def _ramp_dtype(name, dtype, out, start, end, steps):
    if _is_complex(start) or _is_complex(end):
        if dtype is None and out is None:
            return dt.scalar_dtype(complex)
        if dtype is not None and not dt.as_dtype(name, dtype).is_complex:
            raise RuntimeError(
                f"torch.{name}(): inferred dtype {dt.C_NAMES[dt.scalar_dtype(complex)]} can't be "
                f"safely cast to passed dtype {dt.SCALAR_NAMES[dt.as_dtype(name, dtype)]}"
            )
    d = dtype_for(name, dtype, out)
    if d is dt.bool_ and steps > 1:
        raise NotImplementedError(f"\"{name}_cpu\" not implemented for 'Bool'")
    return d


def _ramp_ends(name, start, end, steps, d):
    ends = _end(name, 0, start), _end(name, 1, end)
    if steps.__class__ is not int:  # an open size: as many as make use of both
        steps = 2
    for x in ends[:steps]:
        if x.__class__ in (int, float) and d.category == dt.INTEGRAL:
            fitting(x, d, dt.does_not_fit)
        elif x.__class__ in (int, float) and steps > 1:
            dt.check_held(x, d)
    return ends


def _is_complex(x):
    return x.is_complex() if isinstance(x, dispatch._Tensor) else isinstance(x, complex)


@function()
def linspace(start, end, steps, *, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """Evenly spaced numbers from ``start`` to ``end``, both included."""
    refuse_unknown("linspace", extra)
    steps = _check_steps(steps)
    d = _ramp_dtype("linspace", dtype, out, start, end, steps)
    ends = _ramp_ends("linspace", start, end, steps, d)
    return _counted(out, make("linspace", ends, (steps, d), device, requires_grad))


@function()
def logspace(
    start, end, steps, base=10.0, *, out=None, dtype=None, device=None, requires_grad=False, **extra
):
    """Powers of ``base`` with evenly spaced exponents."""
    refuse_unknown("logspace", extra)
    steps = _check_steps(steps)
    d = _ramp_dtype("logspace", dtype, out, start, end, steps)
    used = 0 if steps.__class__ is int and steps <= 1 else steps
    ends = _ramp_ends("logspace", start, end, used, d)
    base = float(python_number("logspace", "base", 4, base))
    return _counted(out, make("logspace", (*ends, base), (steps, d), device, requires_grad))


@function()
def eye(n, m=None, *, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """Ones on the diagonal of an n by m matrix."""
    refuse_unknown("eye", extra)
    n = integer("eye", "n", 1, n, True)
    m = n if m is None else integer("eye", "m", 2, m, True)
    for name, size in (("n", n), ("m", m)):
        if size < 0:
            raise RuntimeError(f"{name} must be greater or equal to 0, got {size}")
    d = dtype_for("eye", dtype, out)
    return into(out, make("eye", (), ((n, m), d), device, requires_grad))


def _triangle(name, lower):
    def indices(row, col, offset=0, *, dtype=None, device=None, **extra):
        refuse_unknown(name, extra)
        for label, n in (("row", row), ("col", col)):
            if n < 0:
                raise RuntimeError(f"{label} must be non-negative, got{n}")
        d = dt.as_dtype(name, dtype) or dt.int64
        if d is not dt.int64 and d is not dt.int32:
            raise NotImplementedError(f"\"{name}\" not implemented for '{dt.SCALAR_NAMES[d]}'")
        return make("triangle_indices", (), (row, col, offset, lower, d), device)

    indices.__name__ = name
    indices.__doc__ = f"Row and column numbers of the {'lower' if lower else 'upper'} triangle."
    return indices


for _name, _lower in {"tril_indices": True, "triu_indices": False}.items():
    function(_name)(_triangle(_name, _lower))


@function()
def vander(x, N=None, increasing=False):
    """The Vandermonde matrix of a vector."""
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    n = x.shape[0] if N is None else integer("vander", "N", 2, N)
    if n < 0:
        raise RuntimeError("N must be non-negative.")
    exponents = arange(n) if increasing else arange(n - 1, -1, -1) if n else arange(0)
    if x.dtype is dt.bool_ or x.dtype.category == dt.INTEGRAL:
        x = x.to(dt.int64)
    return x.unsqueeze(-1).pow(exponents)
