"""torch.cond: one of two functions, chosen by a tensor."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torchlike._higher_order_ops._functions as f
from torchlike._core.errors import NotTraceable
from torchlike._tensor.modes import modes
from torchlike._tensor.tensor import Tensor
from torchlike.func import trees

__all__ = ["cond"]


def cond(
    pred: bool | int | float | Tensor,
    true_fn: Callable,
    false_fn: Callable,
    operands: tuple | list = (),
) -> Any:
    """``true_fn(*operands)`` if ``pred`` else ``false_fn(*operands)``
    (https://pytorch.org/docs/stable/generated/torch.cond.html).

    Both functions are run once to see what they compute, and one ``lax.cond`` holds both: no
    number is read, gradients flow to the operands and to what the functions captured. A branch
    that cannot be recorded so (it draws random numbers, reads a number, writes to a captured
    tensor's shape) is run as it is, by the value of ``pred``, where that can be read.

    Raises ``RuntimeError`` for a predicate of several elements, operands that are no tensors, and
    branches whose results differ in structure or dtype.
    """
    if isinstance(pred, (bool, int, float)):
        if not (callable(true_fn) and callable(false_fn)):
            raise RuntimeError("Expect both branches to be callable.")
        warnings.warn(
            "Pred is a Python constant. When used with torch.cond, it specializes on one of the "
            "branches. If you want torch.cond to preserve two branches, please make the predicate "
            "a boolean tensor or a SymBool.",
            UserWarning,
            stacklevel=2,
        )
        return true_fn(*operands) if pred else false_fn(*operands)
    _check(pred, true_fn, false_fn, operands)
    leaves, spec = trees.flatten(tuple(operands))
    avals, wants = f.avals_of(leaves), [modes.grad and t.requires_grad for t in leaves]
    try:
        found = [
            f.Recorded(lambda *flat, b=b: b(*trees.unflatten(flat, spec)), avals, wants)
            for b in (true_fn, false_fn)
        ]
        _check_results(found)
    except NotTraceable as error:
        f.eager(error, [pred])
        return true_fn(*operands) if bool(pred.item()) else false_fn(*operands)
    first, second = found
    operands = [pred, *leaves, *first.extra, *second.extra]
    out = f.call("cond_branches", operands, (first.body, second.body, len(leaves)))
    first.traced.seen = [a or b for a, b in zip(first.traced.seen, second.traced.seen, strict=True)]
    return first.restore(out)


def _check(pred, true_fn, false_fn, operands) -> None:
    if not isinstance(pred, Tensor):
        raise RuntimeError(f"Expected pred to be bool or tensor, but got {pred}.")
    if pred.numel() != 1:
        raise RuntimeError(f"Expected pred to be bool or single-element tensor, but got {pred}.")
    if not (callable(true_fn) and callable(false_fn)):
        raise RuntimeError("Expect both branches to be callable.")
    if not isinstance(operands, (tuple, list)) or any(
        not isinstance(x, Tensor) for x in trees.flatten(tuple(operands))[0]
    ):
        raise RuntimeError(
            "Expect operands to be a tuple of possibly nested dict/list/tuple that only consists "
            f"of tensor leaves, but got {operands}."
        )


def _check_results(found) -> None:
    first, second = found
    for r in found:
        for i, x in enumerate(r.leaves):
            if i not in r.at and not isinstance(x, int):
                raise RuntimeError(
                    "HigherOrderOperator body's output must consist of tensors or ints/bools only "
                    f"but got {type(x)}."
                )
    if first.spec != second.spec or first.at != second.at:
        raise RuntimeError(
            "Unmatched output spec from torch.cond branches: true branch tree_spec "
            f"{first.spec} vs false branch tree_spec {second.spec}."
        )
    for a, b in zip(first.leaves, second.leaves, strict=True):
        if isinstance(a, int):
            if a != b:
                raise NotTraceable("returning different integers")
        elif a.dtype is not b.dtype:
            raise RuntimeError(
                "When merging two branches' output in torch.cond, expected same dtype but got "
                f"{a.dtype} and {b.dtype}."
            )
        elif a.shape != b.shape:
            raise NotTraceable(f"results of different shapes, {a.shape} and {b.shape},")
