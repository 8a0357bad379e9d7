"""torch.autograd.forward_ad: dual tensors, whose tangents are read off the tape.

A dual tensor is a handle on the tape that knows its tangent. Unpacking a result differentiates the
backward pass from it to the duals of the level, which gives its tangent exactly.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._tensor.dispatch import value_of, wrap
from torchlike._tensor.levels import share
from torchlike._tensor.modes import modes
from torchlike._tensor.tensor import Tensor
from torchlike.func.transforms import Push, Scope

__all__ = [
    "UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual",
    "unpack_dual",
]  # fmt: skip


class _Level(threading.local):
    def __init__(self):
        self.scope = None
        self.duals: list = []  # (handle, tangent)


_level = _Level()


class UnpackedDualTensor(NamedTuple):
    """A tensor and its tangent, which is None for a tensor that is no dual."""

    primal: Tensor
    tangent: Tensor | None


def enter_dual_level() -> int:
    """Open the level at which duals are made."""
    if _level.scope is not None:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _level.scope, _level.duals = Scope().__enter__(), []
    modes.transforms -= 1  # backward() may be called at a dual level
    return 0


def exit_dual_level(*, level=None) -> None:
    """Close the level: its duals have no tangents any more."""
    if _level.scope is None:
        raise RuntimeError(
            "Trying to exit a forward AD level but no level exists, make sure to "
            "enter_dual_level() first."
        )
    modes.transforms += 1
    _level.scope.__exit__()
    _level.scope, _level.duals = None, []


class dual_level:
    """The level at which duals are made, as a ``with`` block
    (https://pytorch.org/docs/stable/generated/torch.autograd.forward_ad.dual_level.html)."""

    def __enter__(self):
        return enter_dual_level()

    def __exit__(self, *exc):
        exit_dual_level()


def make_dual(tensor, tangent, *, level=None):
    """A tensor that carries a tangent
    (https://pytorch.org/docs/stable/generated/torch.autograd.forward_ad.make_dual.html)."""
    if _level.scope is None:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to "
            "enter_dual_level() first."
        )
    for x, which in ((tensor, "primal"), (tangent, "tangent")):
        if x.dtype.category < dt.FLOATING:
            raise ValueError(
                f"Expected {which} to be floating point or complex, but got: {x.dtype}"
            )
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original "
            f"Tensor, this is not supported. Tensor is of size {list(tensor.shape)} while the "
            f"given forward gradient is of size {list(tangent.shape)}."
        )
    if tensor.dtype is not tangent.dtype:
        raise RuntimeError(
            f"Expected tangent to have the same dtype as the primal, but got {tangent.dtype} for "
            f"a primal of {tensor.dtype}"
        )
    dual = _level.scope.fresh(tensor)
    _level.duals.append((dual, share(tangent)))
    return dual


def unpack_dual(tensor, *, level=None) -> UnpackedDualTensor:
    """A tensor's primal and tangent
    (https://pytorch.org/docs/stable/generated/torch.autograd.forward_ad.unpack_dual.html)."""
    scope = _level.scope
    if scope is None or not tensor.requires_grad:
        return UnpackedDualTensor(tensor, None)
    if not modes.grad:
        raise NotSupported(
            "unpack_dual() under no_grad", "tangents are read off the tape: leave grad mode on"
        )
    for dual, tangent in _level.duals:
        if dual is tensor:
            return UnpackedDualTensor(scope.lower(wrap(value_of(tensor))), tangent)
    tangents = [t for _, t in _level.duals]
    graph = scope.outside([tensor]) or any(t.requires_grad for t in tangents)
    (tangent,) = Push([tensor], [d for d, _ in _level.duals])(tangents, graph)
    if tangent is not None and not graph:
        tangent = scope.lower(tangent)
    return UnpackedDualTensor(scope.lower(tensor), tangent)
