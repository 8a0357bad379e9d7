"""torch.autograd.forward_ad: dual tensors, whose tangents are read off the tape.

A dual tensor is a handle on the tape that knows its tangent. Unpacking a result differentiates the
backward pass from it to the duals of the level, which gives its tangent exactly.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

from torchlike._ops.table import TABLE
from torchlike._tensor import show, views
from torchlike._tensor.dispatch import apply, history, value_of
from torchlike._tensor.levels import share
from torchlike._tensor.modes import enable_grad, modes
from torchlike._tensor.tensor import Tensor
from torchlike.func.checks import check_tangents
from torchlike.func.transforms import Push, Scope

__all__ = [
    "UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual",
    "unpack_dual",
]  # fmt: skip


class _Dual(NamedTuple):
    """What ``make_dual`` has made: the handle that programs have, which they may write to, the node
    that it comes from as long as they have not, and the leaf below."""

    handle: Tensor
    node: object
    leaf: Tensor
    tangent: Tensor


class _Level(threading.local):
    def __init__(self):
        self.scope = None
        self.duals: list[_Dual] = []


_level = _Level()


def __getattr__(name: str):
    if name == "_current_level":
        return -1 if _level.scope is None else 0
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class UnpackedDualTensor(NamedTuple):
    """A tensor and its tangent, which is None for a tensor that is no dual."""

    primal: Tensor
    tangent: Tensor | None


def enter_dual_level() -> int:
    """Open the level at which duals are made."""
    if _level.scope is not None:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _level.scope, _level.duals = Scope().__enter__(), []
    modes.dual = _from_duals
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
    modes.dual = None
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
        if not isinstance(x, Tensor):
            raise TypeError(f"make_dual(): the {which} must be Tensor, not {type(x).__name__}")
    check_tangents((tensor,), (tangent,))
    if _tangent_of(tangent) is not None:
        raise RuntimeError(
            "Setting a forward grad that itself has a forward gradient at the same level 0 is not "
            "supported."
        )
    if _tangent_of(tensor) is not None:
        raise RuntimeError(
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the "
            "same level 0 is not supported."
        )
    leaf = _level.scope.fresh(tensor)
    with enable_grad():
        handle = apply(TABLE["alias"], (leaf,))
    if not tensor.requires_grad:  # one memory; a primal on the tape would need the write there
        views.share(handle, tensor)
    _level.duals.append(_Dual(handle, handle._node, leaf, share(tangent)))
    return handle


def unpack_dual(tensor, *, level=None) -> UnpackedDualTensor:
    """A tensor's primal and tangent
    (https://pytorch.org/docs/stable/generated/torch.autograd.forward_ad.unpack_dual.html)."""
    scope = _level.scope
    if not isinstance(tensor, Tensor):
        raise TypeError(f"unpack_dual(): the argument must be Tensor, not {type(tensor).__name__}")
    tangent = _tangent_of(tensor)
    if tangent is None:
        return UnpackedDualTensor(tensor, None)
    made = _as_made(tensor)
    if made is not None:
        node = made.leaf._node
        edge = None if node is None else (node, made.leaf._index)
        return UnpackedDualTensor(scope.lower(history(value_of(tensor), edge)), tangent)
    return UnpackedDualTensor(scope.lower(tensor), tangent)


def _as_made(tensor) -> _Dual | None:
    """The dual that a tensor is, if nobody has written to it."""
    for dual in _level.duals:
        if dual.handle is tensor:
            tensor._refresh()
            return dual if tensor._node is dual.node else None
    return None


def _tangent_of(tensor):
    """The tangent of a tensor at the level that is open, or None."""
    scope = _level.scope
    if scope is None or not _level.duals or not tensor.requires_grad:
        return None
    made = _as_made(tensor)
    if made is not None:
        return made.tangent
    tangents = [d.tangent for d in _level.duals]
    graph = scope.outside([tensor]) or any(t.requires_grad for t in tangents)
    with enable_grad():
        (tangent,) = Push([tensor], [d.leaf for d in _level.duals])(tangents, graph)
    return tangent if tangent is None or graph else scope.lower(tangent)


def _from_duals(edges) -> bool:
    """Whether a dual of the level that is open is among what the edges lead to: its tangent counts
    even where the tape is off."""
    leaves = [d.leaf for d in _level.duals]
    duals = {id(leaf) for leaf in leaves}
    handles = {(leaf._node, leaf._index) for leaf in leaves if leaf._node is not None}
    seen, stack = set(), list(edges)
    while stack:
        edge = stack.pop()
        if edge.__class__ is not tuple:
            if id(edge) in duals:
                return True
        elif edge in handles:
            return True
        elif edge[0] not in seen:
            seen.add(edge[0])
            stack += edge[0].targets
    return False


show._tangent_of = _tangent_of
