"""Watching calls: ops on the way forward, with the modules they are called in, and on the way back.

It stands where the profiler stands: around ``dispatch.apply``, by ``_tensor/watching.py``.
"""

from __future__ import annotations

from math import prod

from torchlike._engine.batched import levels_of
from torchlike._engine.values import Batched
from torchlike._tensor import watching
from torchlike._tensor.dispatch import _Tensor
from torchlike._tensor.modes import modes
from torchlike.nn.modules import _hooks
from torchlike.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)


class Observer:
    """Context in which this thread's calls are told to the methods below.

    ``path`` holds the names of the modules that are being called, outermost first: the class of
    the outermost one, and from there the names of its children.
    """

    def __init__(self):
        self.path: list[str] = []
        self._names: dict = {}  # of the modules seen, which are kept so that ids stay theirs

    # ---- what a subclass hears ----

    def called(self, op, operands, statics, results: tuple) -> None:
        """An op has been recorded."""

    def derived(self, node, grads) -> None:
        """Backward is about to differentiate a call; ``grads`` is None where all are there."""

    def entered(self, module, args) -> None:
        """A module's forward begins; its name ends ``path``."""

    def left(self, module, output) -> None:
        """A module's forward has ended."""

    # ---- hearing it ----

    def __enter__(self):
        self._hooks = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        ]
        self._around, modes.around = modes.around, self._call
        self._deriving, modes.deriving = modes.deriving, self._derive
        watching.begin()
        watching.begin_backward()
        return self

    def __exit__(self, *exc):
        modes.around, modes.deriving = self._around, self._deriving
        watching.end()
        watching.end_backward()
        for hook in self._hooks:
            hook.remove()
        left = (
            _hooks.GLOBAL_FORWARD, _hooks.GLOBAL_FORWARD_PRE, _hooks.GLOBAL_BACKWARD,
            _hooks.GLOBAL_BACKWARD_PRE,
        )  # fmt: skip
        _hooks.ANY_GLOBAL = any(left)  # else every module's call would go on asking for hooks
        self.path.clear()
        return False

    def _call(self, op, operands, statics):
        operands = self.operands(op, operands)
        out = (self._around or watching.plain)(op, operands, statics)
        self.called(op, operands, statics, out if isinstance(out, tuple) else (out,))
        return out

    def operands(self, op, operands):
        """The operands that the op is called with; a subclass may give others."""
        return operands

    def _derive(self, node, grads):
        if self._deriving is not None:
            self._deriving(node, grads)
        self.derived(node, grads)

    def _enter(self, module, args):
        name = name_of(module, self._names)
        self.path.append(name)
        self.entered(module, args)

    def _leave(self, module, args, output):
        name = self._names.get(id(module), ("",))[0]
        if name in self.path:  # not so for a module whose forward began outside
            self.left(module, output)
            while self.path and self.path.pop() != name:
                pass


def name_of(module, known: dict) -> str:
    """A module's name: the class of the outermost one that was met, and the path from there.

    ``known`` keeps, by id, the names and the modules of all that were met, so that ids stay theirs.
    """
    if id(module) not in known:
        root = type(module).__name__
        for path, part in module.named_modules():
            known.setdefault(id(part), (f"{root}.{path}" if path else root, part))
    return known[id(module)][0]


def shape_of(x):
    """The shape of an operand, None for a number."""
    return tuple(x._value.aval.shape) if isinstance(x, _Tensor) else None


def samples(operands) -> int:
    """How many samples of ``vmap`` a call is for."""
    levels = set()
    for x in operands:
        if isinstance(x, _Tensor) and x._value.array.__class__ is Batched:
            levels |= set(levels_of(x._value))
    return prod(level.size for level in levels)
