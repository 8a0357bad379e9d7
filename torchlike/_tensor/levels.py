"""Where tensors enter and leave the levels of ``vmap``, on the tape and off it."""

from __future__ import annotations

import itertools

import numpy as np

from torchlike._core.errors import NotSupported
from torchlike._engine.batched import enter as enter_value
from torchlike._engine.batched import leave as leave_value
from torchlike._engine.batched import levels_of
from torchlike._engine.prefix import local
from torchlike._engine.values import Batched, Level, Value
from torchlike._tensor import dispatch, tape
from torchlike._tensor.modes import modes

_numbers = itertools.count(1)


class Crossing(tape.Node):
    """A tape node where a tensor enters (or leaves) a level; the gradient goes the other way."""

    op = call = None
    outs = 1
    saved = ()
    source = None  # the Value that enters, kept while a body is traced

    def __init__(self, target, derive, name, source):
        self.targets = [target]
        if modes.bodies:
            self.source = source
        self.segment = None
        self._derive, self._name = derive, name
        self.number = tape._next_number()

    @property
    def edges(self) -> list:
        """Where the gradient goes."""
        return self.targets

    def name(self) -> str:
        """The name that ``grad_fn`` shows."""
        return self._name

    def release(self):
        """Nothing is saved."""

    def derive(self, grads, graph=None):
        """The gradient on the other side of the crossing."""
        if graph is not None:
            return (self._derive(grads[0]),)
        return (self._derive(dispatch.wrap(grads[0]))._value,)


def _cross(tensor, value, derive, name):
    """A tensor of ``value`` whose history goes on through ``tensor``."""
    out = dispatch.wrap(value)
    edge = (tensor._node, tensor._index) if tensor._node is not None else tensor
    if modes.grad and (tensor._node is not None or tensor._requires_grad):
        out._node = Crossing(edge, derive, name, dispatch.value_of(tensor))
    return out


def enter(tensor, level: Level, mapped: bool):
    """The tensor at a level: its first axis becomes the batch, or all samples share it."""
    value = enter_value(dispatch.value_of(tensor), level, mapped)
    return _cross(tensor, value, lambda g: leave(g, level, not mapped), "AddBatchDimBackward0")


def leave(tensor, level: Level, total: bool = False):
    """The tensor outside a level: the batch becomes its first axis, or is summed (``total``)."""
    if level not in levels_of(dispatch.value_of(tensor)):
        tensor = enter(tensor, level, False)
    value = leave_value(dispatch.value_of(tensor), level, total)
    return _cross(tensor, value, lambda g: enter(g, level, not total), "RemoveBatchDimBackward0")


def alike(tensor, model):
    """The tensor as a batch at every level at which ``model`` is one: each sample has its own."""
    for level in levels_of(dispatch.value_of(model)):
        if level not in levels_of(dispatch.value_of(tensor)):
            tensor = enter(leave(tensor, level), level, True)
    return tensor


def share(tensor):
    """The tensor at every open level, so that a gradient with respect to it is one per sample."""
    return _shared(tensor, modes.levels)


def _shared(tensor, levels):
    if tensor._sparse:
        return _shared_sparse(tensor)
    have = levels_of(dispatch.value_of(tensor))
    for level in levels:
        if level not in have:
            tensor = enter(tensor, level, False)
    return tensor


def share_alike(args) -> tuple:
    """The arguments, the tensors of them at every open level at which one of them is.

    At a level where none is, the call is the same for all samples: its gradient is no total.
    """
    have = _levels_of_any(args)
    levels = [level for level in modes.levels if level in have]
    return tuple(_shared(x, levels) if isinstance(x, dispatch._Tensor) else x for x in args)


def _levels_of_any(tensors) -> set:
    found: set = set()
    for x in tensors:
        if isinstance(x, dispatch._Tensor):
            found.update(levels_of(dispatch.value_of(x._value.segment.values if x._sparse else x)))
    return found


def cross_edges(node, args, results) -> None:
    """Sum the gradients of a user's call over the levels that only its results are at: those of
    a batch that its forward has not got as an argument."""
    more = _levels_of_any(results) - _levels_of_any(args)
    for level in [level for level in modes.levels if level in more]:
        for i, (edge, x) in enumerate(zip(node.all_edges, args, strict=True)):
            if edge is not None:
                crossing = Crossing(
                    edge, _totals(level), "AddBatchDimBackward0", dispatch.value_of(x)
                )
                node.all_edges[i] = crossing, 0
    if more:
        node.targets = [e for e in node.all_edges if e is not None]
        node.number = tape._next_number()  # later than the crossings


def _shared_sparse(tensor):
    """A sparse tensor itself: its values know their levels; a gradient may not cross one."""
    if tensor._node is not None or tensor._requires_grad:
        have = levels_of(dispatch.value_of(tensor._value.segment.values))
        if any(level not in have for level in modes.levels):
            raise NotSupported(
                "gradients of a sparse tensor from outside a vmap", "make it of its values inside"
            )
    return tensor


def cross_operands(values: list, need: int, targets: list, result: Value) -> list:
    """Bring the operands that want gradients to the levels of the result; the new targets.

    An operand from outside is the same for the whole batch: its gradient is the batch's sum.
    """
    levels = levels_of(result)[::-1]
    out, where = [], iter(targets)
    for i, value in enumerate(values):
        if not need >> i & 1:
            continue
        target = next(where)
        have = levels_of(value)
        for level in levels:
            if level not in have:
                target = Crossing(target, _totals(level), "AddBatchDimBackward0", value), 0
                values[i] = value = enter_value(value, level, False)
        out.append(target)
    return out


def _totals(level):
    return lambda g: leave(g, level, True)


def check_rebind(target, result: Value) -> Value:
    """What an in-place op may write into ``target``; raises if that is not a batch, and it is."""
    have = levels_of(dispatch.value_of(target))
    value = result._value
    while value.array.__class__ is Batched and value.array.level not in have:
        if value.array.mapped or result._node is not None:
            raise RuntimeError(
                "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists "
                "a Tensor `other` in extra_args that has more elements than `self`. This happened "
                "due to `other` being vmapped over but `self` not being vmapped over in a vmap. "
                "Please try to use out-of-place operators instead of inplace arithmetic. If said "
                "operator is being called inside the PyTorch framework, please file a bug report "
                "instead."
            )
        value = value.array.value
    return value


dispatch._cross_operands = cross_operands
dispatch._check_rebind = check_rebind


class open_level:
    """A ``with`` block in which one more level is open."""

    def __init__(self, size: int, randomness: str):
        self.level = Level(next(_numbers), size, randomness)

    def __enter__(self):
        self.before = modes.levels
        modes.levels = (*self.before, self.level)
        modes.transforms += 1
        return self.level

    def __exit__(self, *exc):
        self.level.over = True
        modes.levels = self.before
        modes.transforms -= 1


# ---- random numbers ----------------------------------------------------------------------------


def _random_level() -> Level:
    """The innermost level; raises if it allows no random numbers."""
    level = modes.levels[-1]
    if level.randomness == "error":
        raise RuntimeError(
            "vmap: called random operation while in randomness error mode. Please either use the "
            "'same' or 'different' randomness flags on vmap or perform the randomness operation "
            "out of vmap"
        )
    return level


def _is_batch(tensor, level) -> bool:
    batch = dispatch.value_of(tensor).array
    return batch.__class__ is Batched and batch.level is level and batch.mapped


def _check_not_same(level) -> None:
    if level.randomness == "same":
        raise RuntimeError(
            "Vmap does not currently support same randomness with a batched tensor input. Please "
            "file an issue with functorch"
        )


def tensors_of_draw(*arguments) -> list:
    """The tensors that a draw depends on; raises for a batch whose samples shall draw the same."""
    tensors = [x for x in arguments if isinstance(x, dispatch._Tensor)]
    if modes.levels and tensors:
        level = _random_level()
        if any(_is_batch(t, level) for t in tensors):
            _check_not_same(level)
    return tensors


def all_samples(tensor):
    """What a tensor inside ``vmap`` holds: all samples of the batch, or the one that there is."""
    value = dispatch.value_of(tensor)
    while value.array.__class__ is Batched:
        value = value.array.value
    return dispatch.wrap(value)


def numbers_of(tensor):
    """The numbers of all samples, on the host; None inside ``vmap`` where none can be read."""
    if not modes.levels:
        return tensor._host()
    whole = all_samples(tensor)
    if modes.bodies or local.capture is not None or dispatch.value_of(whole).is_traced():
        return None
    return whole._host()


def check_std(std) -> None:
    """Raise for a negative standard deviation of one of the samples."""
    host = numbers_of(std) if modes.levels else None
    if host is not None and (host < 0).any():
        raise RuntimeError("normal expects all elements of std >= 0.0")


def copy_drawn(out, result):
    """What was drawn, written to ``out``; raises inside ``vmap``, as PyTorch does."""
    if modes.levels:
        raise RuntimeError(
            "vmap: We do not support calling out variants of random operations inside of vmap. "
            "Please use non-out variants as a workaround"
        )
    return dispatch.copy_out(out, result)


def drawn_of(draw, *tensors):
    """``draw(*tensors)`` inside ``vmap``, whose numbers follow the tensors' values: the samples
    of a batch lie along the first axis of what it gets then, and of what it gives."""
    level, before = _random_level(), modes.levels
    mapped = any(_is_batch(t, level) for t in tensors)
    if mapped:
        _check_not_same(level)
    modes.levels = before[:-1]
    try:
        if level.randomness == "different":
            return enter(draw(*[leave(t, level) for t in tensors]), level, True)
        values = [dispatch.value_of(t) for t in tensors]
        below = [v.array.value if level in levels_of(v) else v for v in values]
        return draw(*map(dispatch.wrap, below))
    finally:
        modes.levels = before


def drawn(draw, size, dtype, device, generator, host, op_name, numbers=()):
    """A draw inside ``vmap``, as the innermost level's randomness says."""
    level, before = _random_level(), modes.levels
    modes.levels = before[:-1]
    try:
        if level.randomness == "same":
            return draw(size, dtype, device, generator, host, op_name, numbers)
        many = None if host is None else lambda stream: host(_Stacked(stream, level.size))
        size = (level.size, *size)
        return enter(draw(size, dtype, device, generator, many, op_name, numbers), level, True)
    finally:
        modes.levels = before


class _Stacked:
    """A host stream that draws every array for a whole batch."""

    def __init__(self, stream, count: int):
        self._stream, self._count = stream, count

    def __getattr__(self, name):
        method = getattr(self._stream, name)
        if name == "randperm":
            return lambda *args: np.stack([method(*args) for _ in range(self._count)])
        at = 2 if name == "randint" else 0

        def call(*args, **named):
            return method(*args[:at], (self._count, *args[at]), *args[at + 1 :], **named)

        return call
