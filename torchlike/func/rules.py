"""The rules for ``vmap`` that users write themselves, for a Function or an operator."""

from __future__ import annotations

from contextlib import contextmanager
from typing import NamedTuple

from torchlike._engine.values import Batched
from torchlike._tensor import function, levels
from torchlike._tensor.dispatch import value_of, wrap
from torchlike._tensor.modes import modes
from torchlike._tensor.tensor import Tensor
from torchlike.func import trees

_MORE = "For more details, please see https://pytorch.org/docs/main/notes/extending.func.html"


class VmapInfo(NamedTuple):
    """What a rule is told of the level: how many samples, and what random numbers they draw."""

    batch_size: int
    randomness: str


def is_batch(x, level) -> bool:
    """Whether it is a tensor that differs from sample to sample of the level."""
    if not isinstance(x, Tensor):
        return False
    batch = value_of(x).array
    return batch.__class__ is Batched and batch.level is level and batch.mapped


def _outside(x, level):
    """(x below the level, the dimension of the batch or None)."""
    if is_batch(x, level):
        return levels.leave(x, level), 0
    if isinstance(x, Tensor):
        batch = value_of(x).array
        if batch.__class__ is Batched and batch.level is level:  # all samples share it
            if modes.grad and x.requires_grad:  # but each has a gradient of its own
                return levels.leave(x, level), 0
            return wrap(batch.value), None
    return x, None


@contextmanager
def _below(level):
    """Within: the innermost level is closed, and so are the transforms inside of it."""
    before = modes.levels, modes.scopes
    depth = len(modes.levels)
    modes.levels = modes.levels[:-1]
    modes.scopes = tuple(n for n in modes.scopes if n < depth)
    try:
        yield
    finally:
        modes.levels, modes.scopes = before


def over_level(rule, args, kwargs):
    """The results of ``rule(info, in_dims, *args, **kwargs)``, run outside the innermost level;
    raises ``RuntimeError`` if it does not return results and their dimensions."""
    level = modes.levels[-1]
    flat, spec = trees.flatten(args)
    with _below(level):
        pairs = [_outside(x, level) for x in flat]
        in_dims = trees.unflatten([d for _, d in pairs], spec)
        given = trees.unflatten([x for x, _ in pairs], spec)
        out = rule(VmapInfo(level.size, level.randomness), in_dims, *given, **kwargs)
        if not (isinstance(out, tuple) and len(out) == 2):
            found = f"{len(out)} returns" if isinstance(out, tuple) else f"a {type(out)}"
            raise RuntimeError(
                "Expected the vmap staticmethod to have two returns, an output and out_dims with "
                f"pytree structure compatible with the output. Got {found} instead"
            )
        out, out_dims = out
        flat, spec = trees.flatten(out)
        dims = trees.broadcast(out_dims, spec)
        if dims is None:
            raise RuntimeError(
                "The autograd.Function's vmap staticmethod returned an incompatible (output, "
                f"out_dims) tuple. Expected out_dims={out_dims} to be compatible with the "
                f"structure of `output`. out_dims has structure {trees.flatten(out_dims)[1]} but "
                f"output has structure {spec}. {_MORE}"
            )
        flat = [
            x.movedim(d, 0) if isinstance(x, Tensor) and d else x
            for x, d in zip(flat, dims, strict=True)
        ]
    entered = [
        x if d is None or not isinstance(x, Tensor) else levels.enter(x, level, True)
        for x, d in zip(flat, dims, strict=True)
    ]
    return trees.unflatten(entered, spec)


def for_call(kind, args):
    """A Function's rule where a batch comes to it straight from ``vmap``; else NotImplemented."""
    if modes.scopes and modes.scopes[-1] == len(modes.levels):  # a derivative is in between
        return NotImplemented
    if kind.setup_context is function.Function.setup_context:
        raise RuntimeError(
            "In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, "
            f"jacrev, ...), it must override the setup_context staticmethod. {_MORE}"
        )
    return for_forward(kind, args)


def for_forward(kind, args):
    """What a Function's rule makes of a batch; NotImplemented where nothing is one."""
    if not any(is_batch(x, modes.levels[-1]) for x in trees.flatten(args)[0]):
        return NotImplemented
    if kind.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {kind.__name__}, but it has both generate_vmap_rule=True and "
            "an overridden vmap staticmethod. Please set generate_vmap_rule=False or delete the "
            f"overridden vmap staticmethod to avoid ambiguity. {_MORE}"
        )
    return over_level(kind.vmap, args, {})
