"""Whether tensors lie in a constraint's region: what the validation of arguments asks."""

from __future__ import annotations

import numpy as np

from torchlike._engine.captures import at_hand
from torchlike._engine.flush import host_array
from torchlike._engine.prefix import local
from torchlike._engine.values import Batched
from torchlike._ops.table import TABLE
from torchlike._tensor.dispatch import apply, value_of
from torchlike._tensor.modes import modes
from torchlike.distributions import constraints
from torchlike.distributions._torch import torch

# Their checks are written for tensors and NumPy's arrays alike.
_OF_ARRAYS = tuple(
    getattr(constraints, name)
    for name in (
        "_Boolean", "_OneHot", "_IntegerInterval", "_IntegerLessThan", "_IntegerGreaterThan",
        "_Real", "_GreaterThan", "_GreaterThanEq", "_LessThan", "_Interval", "_HalfOpenInterval",
        "_Simplex", "_Multinomial",
    )
)  # fmt: skip


def _numbers(tensor):
    """The numbers of a tensor, of all samples under ``vmap``; None inside JAX's transformations."""
    value = value_of(tensor)
    while value.array.__class__ is Batched:
        value = value.array.value
    return None if value.is_traced() else host_array(value)


def _stated(constraint, value, what: str) -> bool:
    """Let the call of a compiled function that is being recorded check it in its program."""
    if at_hand(value_of(value)) is not None or modes.levels or modes.transforms:
        return False
    apply(
        TABLE["require"],
        (constraint.check(value),),
        (
            "ValueError",
            f"Expected {what} ({type(value).__name__} of shape {tuple(value.shape)}) to satisfy "
            f"the constraint {constraint!r}, but found invalid values",
        ),
    )
    return True


def satisfied(constraint, value, what: str = "value"):
    """Whether all of a tensor satisfies a constraint: a bool, or a 0-d tensor yet to be read.

    In a compiled function, whose numbers are not known while it is recorded, its program tells, and
    what is looked at next raises; ``what`` is the tensor's name there.

    NumPy looks at what is on the CPU: nothing is recorded and compiled for a check. Where there
    are no numbers, inside JAX's transformations, nothing is checked, and under ``vmap`` only what
    lies between bounds that are numbers.
    """
    if local.capture is not None and _stated(constraint, value, what):
        return True
    inner = constraint
    while isinstance(inner, constraints.independent) and value.dim() >= constraint.event_dim:
        inner = inner.base_constraint
    traced = value_of(value).is_traced()
    if value.device.type != "cpu" or inner.__class__ not in _OF_ARRAYS:
        return traced or constraint.check(value).all()
    numbers, bounds = _numbers(value), dict(inner.__dict__)
    for name, bound in bounds.items():
        if isinstance(bound, torch.Tensor):
            # Samples of a batch stand along an axis that a bound has not, or has elsewhere.
            bounds[name] = None if traced or value_of(bound).is_traced() else _numbers(bound)
    if numbers is None or any(bound is None for bound in bounds.values()):
        return True
    twin = object.__new__(inner.__class__)
    twin.__dict__.update(bounds)
    with np.errstate(invalid="ignore"):
        return bool(twin.check(numbers).all())


def all_true(flags) -> bool:
    """Whether all of these hold, bools and 0-d tensors; one read for all the tensors."""
    together = True
    for flag in flags:
        if flag is False:
            return False
        together = flag if together is True else together & flag
    return bool(together)
