"""What may go wrong when a call is replayed: small programs, each run plain and compiled.

A scenario takes the library (PyTorch itself or one with its API) and ``compile``, and returns what
its user sees: the plain and the compiled run must show the same. Something changes on the way, so
that a replay of the first call shows the wrong thing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Hazard:
    """One scenario, and what is allowed of its compiled run."""

    name: str
    run: Callable
    may_raise: bool = False  # the compiled run may refuse, with a NotSupported error
    oracle: bool = True  # PyTorch's eager mode shows the same


HAZARDS: list[Hazard] = []


def hazard(function=None, **options):
    """Add a scenario to the table."""

    def add(function):
        HAZARDS.append(Hazard(function.__name__, function, **options))
        return function

    return add if function is None else add(function)


# ---- building blocks -------------------------------------------------------------------------


def numbers(torch, *shape, start=0.0):
    """0.1, 0.2, ... from ``start`` on, in the given shape."""
    count = math.prod(shape)
    return (torch.arange(1, count + 1).to(torch.float32) / 10 + start).reshape(shape)


def linear(torch, inputs=3, outputs=2, **options):
    """A linear layer with plain numbers as its weights."""
    layer = torch.nn.Linear(inputs, outputs, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(numbers(torch, *parameter.shape))
    return layer


def again(function, *args, times=3):
    """The results of calling ``times`` times: a record, then replays."""
    return [function(*args) for _ in range(times)]


def parameters(model):
    """What the parameters are now."""
    return [parameter.detach().clone() for parameter in model.parameters()]


# ---- comparing ---------------------------------------------------------------------------------


def plain(value):
    """A result as nested tuples of Python values: tensors with dtype, shape, requires_grad."""
    if hasattr(value, "detach") and hasattr(value, "requires_grad"):
        kind = (str(value.dtype).rpartition(".")[2], tuple(value.shape), value.requires_grad)
        values = None if value.device.type == "meta" else value.detach().tolist()
        return ("tensor", *kind, plain(values))
    if isinstance(value, np.ndarray | np.generic):
        return ("array", str(value.dtype), plain(value.tolist()))
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return (type(value).__name__, plain(fields))
    if isinstance(value, dict):
        return ("dict", *((key, plain(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return (type(value).__name__, *(plain(item) for item in value))
    if value is None or isinstance(value, bool | int | float | complex | str):
        return value
    return type(value).__name__


def difference(a, b, where: str = "result") -> str:
    """Where two plain values differ, or nothing; floats to rounding, as fused programs round."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        found = (difference(x, y, f"{where}[{i}]") for i, (x, y) in enumerate(zip(a, b)))
        return next(filter(None, found), "")
    if type(a) is type(b) is float:
        alike = math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6) or (math.isnan(a) and math.isnan(b))
    else:
        alike = type(a) is type(b) and a == b
    return "" if alike else f"{where}: {a} is not {b}"
