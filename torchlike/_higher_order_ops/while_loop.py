"""torch.while_loop: a function applied to its own results while another says so."""

from __future__ import annotations

import torchlike._higher_order_ops._functions as f
from torchlike._core.errors import NotSupported, NotTraceable
from torchlike._tensor import creation
from torchlike._tensor.modes import modes, no_grad
from torchlike._tensor.tensor import Tensor
from torchlike.func import trees

__all__ = ["while_loop"]


def while_loop(cond_fn, body_fn, carried_inputs):
    """``while cond_fn(*x): x = body_fn(*x)``, as one ``lax.while_loop``
    (https://pytorch.org/docs/stable/generated/torch.while_loop.html).

    The gradient needs the number of turns, which is read once; inside ``vmap`` and ``jax.jit``,
    where it cannot be read, a loop that wants a gradient raises ``NotSupported``.

    Raises ``RuntimeError`` if ``cond_fn`` returns anything but a bool of one element, or
    ``body_fn`` other shapes and dtypes than it got, and ``AssertionError`` for other inputs.
    """
    if not callable(cond_fn) or not callable(body_fn):
        raise RuntimeError("Expect cond_fn and body_fn to be callable.")
    if not isinstance(carried_inputs, (tuple, list)):
        raise RuntimeError(
            "Expect carried_inputs to be a tuple of possibly nested dict/list/tuple that only "
            f"consists of tensor or int leaves, but got {carried_inputs}."
        )
    leaves, spec = trees.flatten(tuple(carried_inputs))
    if any(not isinstance(x, (Tensor, int)) for x in leaves):
        kinds = tuple(type(x) for x in leaves)
        raise AssertionError(f"{leaves} can only be of tensors and ints but got {kinds}")
    numbers = [not isinstance(x, Tensor) for x in leaves]
    tensors = [creation.tensor(int(x)) if n else x for x, n in zip(leaves, numbers, strict=True)]
    try:
        out, shape = _loop(cond_fn, body_fn, tensors, spec)
    except NotTraceable as error:
        f.eager(error, tensors)
        return _in_python(cond_fn, body_fn, tuple(carried_inputs), spec)
    out = [int(t.item()) if n else t for t, n in zip(out, numbers, strict=True)]
    return trees.unflatten(out, shape)


def _loop(cond_fn, body_fn, tensors, spec) -> tuple:
    """The flat results, and the structure that ``body_fn`` gives them."""
    avals, shape = f.avals_of(tensors), spec

    def test(*flat):
        found = cond_fn(*trees.unflatten(flat, spec))
        if isinstance(found, bool):
            if found:
                raise RuntimeError("while_loop: cond_fn always says True, the loop cannot end")
            return creation.tensor(False)
        if not isinstance(found, Tensor) or found.numel() != 1 or found.dtype.name != "bool":
            shown = found.shape if isinstance(found, Tensor) else type(found)
            raise RuntimeError(
                f"Expected cond_fn to return a scalar tensor or a bool but got {shown}."
            )
        return found

    def step(*flat):
        nonlocal shape
        found = body_fn(*trees.unflatten(flat, spec))
        shape = trees.flatten(found)[1]
        if isinstance(found, Tensor):
            found = (found,)
        return _as_tensors(found)

    with no_grad():
        check = f.Recorded(test, avals, [False] * len(avals))
    body = f.record_loop(step, avals, tensors)
    f.same_metadata([body.leaves[i] for i in body.at], avals, ("body_fn_output", "carried_inputs"))
    operands = [*tensors, *check.extra, *body.extra]
    statics = (check.body, body.body, len(tensors))
    if not modes.grad or not (any(t.requires_grad for t in tensors) or body.captures_history()):
        return f.call("while_body", operands, statics)[:-1], shape
    if modes.bodies:
        raise NotTraceable("a gradient through while_loop")
    if not f.is_readable(*[x for x in operands if isinstance(x, Tensor)]):
        raise NotSupported(
            "the gradient of while_loop where its number of turns cannot be read",
            "use scan with a fixed number of turns, or torch.no_grad()",
        )
    with no_grad():
        turns = f.call("while_body", operands, statics)[-1]
        count = int(turns.item())
    if not count:
        return tensors, shape
    bound = 1 << (count - 1).bit_length()  # so that a new number of turns seldom compiles anew
    statics = (body.body, len(tensors), bound)
    return f.call("repeat_body", [turns, *tensors, *body.extra], statics), shape


def _as_tensors(found):
    leaves, spec = trees.flatten(found)
    leaves = [creation.tensor(x) if x.__class__ is int else x for x in leaves]
    if any(not isinstance(x, Tensor) for x in leaves):
        kinds = {type(x) for x in leaves if not isinstance(x, Tensor)}
        raise RuntimeError(f"Expected body_fn to return tensors and ints but got {kinds}")
    return trees.unflatten(leaves, spec)


def _in_python(cond_fn, body_fn, carried, spec):
    out = carried
    while bool(cond_fn(*carried)):
        out = body_fn(*carried)
        carried = trees.unflatten(trees.flatten(out)[0], spec)
    return out
