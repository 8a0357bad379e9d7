"""States of small parameters in flat tensors, and step counts that parameters share."""

from __future__ import annotations

from operator import is_

import numpy as np

from torchlike._core import devices, references
from torchlike._core import dtypes as dt
from torchlike._engine.prefix import local
from torchlike._engine.values import Value, aval
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.tensor import Tensor, copy_value
from torchlike._tensor.views import Parted, storage_of

_INDEX, _VIEW = TABLE["index_basic"], TABLE["view"]
_PACKED_NUMEL = 4096  # above, concatenating costs more than the arrays it saves


def is_small(p) -> bool:
    """Whether a parameter is one to pack: small, float32, on the CPU."""
    a = p._value.aval
    return a.numel <= _PACKED_NUMEL and a.dtype is dt.float32 and a.device is devices.CPU


class Pack:
    """Small parameters of a group whose states lie one after the other in one flat tensor a name.

    The state entries that users see are views of the flat tensors, read when somebody looks.
    """

    __slots__ = (
        "bases", "entries", "flags", "ids", "names", "params", "plan", "slots", "starts", "step",
    )  # fmt: skip

    def __init__(self, params, names, starts, counts: bool, state):
        self.params, self.ids, self.names = params, {id(p) for p in params}, names
        self.flags = self.plan = None
        total = sum(p._value.aval.numel for p in params)
        flat = aval((total,), dt.float32, devices.CPU)
        self.bases = [dispatch.wrap(full(flat, start)) for start in starts]
        for base in self.bases:
            storage_of(base).parted = _PARTED
        self.entries = []  # (state of a parameter, name, the view that stands there)
        if counts:
            share_steps(state, params, fresh=True)
        self.step = [state[params[0]]["step"]] if counts else []
        self.slots = [state[p] for p in params]
        start, starts = 0, []
        for p in params:
            a = p._value.aval
            starts.append(start)
            links = (
                (_INDEX, (start,), ((("slice", a.numel, 1),),), 0),
                (_VIEW, (), (a.shape,), 0),
            )
            for name, base in zip(names, self.bases, strict=True):
                view = dispatch.wrap(Value(a))
                view._storage, view._base, view._chain = storage_of(base), base, links
                view._detached, view._seen = True, -1
                state[p][name] = view
                self.entries.append((state[p], name, view))
            start += a.numel
        self.starts = tuple(starts)

    def is_whole(self, state) -> bool:
        """Whether the state entries are still the pack's own."""
        for p, slot in zip(self.params, self.slots, strict=True):
            if state[p] is not slot:
                return False
        for slot, name, view in self.entries:
            if slot.get(name) is not view:
                return False
        for step in self.step:
            storage = step._storage
            for slot in self.slots:
                own = slot.get("step")
                if not isinstance(own, Tensor) or own._storage is not storage:
                    return False
        return True

    def counts_as_one(self) -> bool:
        """Whether the step counts that the pack has made still share their memory."""
        return all([_holders(step) == len(self.params) for step in self.step])

    def is_all(self, params) -> bool:
        """Whether these are the pack's parameters and no others."""
        return len(params) == len(self.params) and all(map(is_, params, self.params))

    def dissolve(self, state) -> None:
        """Give every parameter states of its own, in the tensors that stand there: who holds one
        goes on seeing what becomes of it. Where somebody has views of them, they stay views."""
        held = {}
        for base in self.bases:
            views = sum(view._storage is base._storage for _, _, view in self.entries)
            held[id(base)] = references.holders(base, "_storage") > views + 1  # and the base
        for slot, name, view in self.entries:
            if slot.get(name) is view and view._base is not None and not held[id(view._base)]:
                value, version = copy_value(dispatch.value_of(view)), view._storage.version
                view._storage = view._base = view._geometry = None  # no window on the pack's memory
                view._chain, view._detached = (), False
                view._value, view._seen, view._version_count = value, 0, version


# ---- step counts -------------------------------------------------------------------------------

_PARTED = Parted()


class Count(Parted):
    """The step count of ``holders`` parameters, whose states' tensors share one memory: one
    addition counts for all. One that somebody writes to leaves the others."""

    __slots__ = ("holders",)

    def __init__(self, holders: int):
        self.holders = holders

    def leave(self, tensor):
        if self.holders == 1:
            return tensor._storage
        if local.capture is not None:
            local.capture.refuse("a step count of an optimizer is written")
        self.holders -= 1
        value, version = copy_value(dispatch.value_of(tensor)), tensor._storage.version
        tensor._storage, tensor._detached = None, False
        tensor._value, tensor._seen, tensor._version_count = value, 0, version
        storage = storage_of(tensor)
        storage.parted = Count(1)
        return storage


def _holders(step) -> int:
    """How many states count by the memory of a tensor; 0 if it was not made for that."""
    storage = step._storage if step.__class__ is Tensor else None
    count = None if storage is None else storage.parted
    return count.holders if count.__class__ is Count else 0


def _is_alone(step) -> bool:
    """Whether a step count is a tensor that shares its memory with no other."""
    if step.__class__ is not Tensor or step._chain:
        return False
    return step._storage is None or references.holders(step, "_storage") == 1


def _handles(value: Value, holders: int) -> list[Tensor]:
    """So many tensors that share the memory of a value."""
    first = dispatch.wrap(value)
    storage = storage_of(first)
    storage.parted = Count(holders)
    out = [first]
    for _ in range(holders - 1):
        t = dispatch.wrap(Value(value.aval))
        t._storage, t._detached, t._seen = storage, True, -1
        out.append(t)
    return out


def share_steps(state, params, fresh: bool = False) -> None:
    """Let states of equal step count hold tensors that share it.

    It is on the device of the parameters, as all that their step's program reads.
    """
    alike: dict[tuple, list] = {}
    for p in params:
        count = 0.0 if fresh else float(state[p]["step"])
        alike.setdefault((count, p._value.aval.device), []).append(p)
    for (count, device), members in alike.items():
        start = Value(aval((), dt.float32, device), np.array(count, np.float32))
        for p, step in zip(members, _handles(start, len(members)), strict=True):
            state[p]["step"] = step


def by_step(params, state):
    """Parameters ordered by their step count: (params, sizes of the runs, their tensors, whether
    a state got another one).

    A parameter that missed a step (it had no gradient) leaves those it shared a count with.
    """
    first = state[params[0]]["step"]
    if _holders(first) == len(params):
        storage = first._storage
        for p in params:
            if state[p]["step"]._storage is not storage:
                break
        else:
            return params, (len(params),), [first], False
    runs: dict[int, tuple] = {}
    changed = False
    for p in params:
        step = state[p]["step"]
        if not _holders(step):
            changed = True
            if _is_alone(step) and step._value.aval is aval((), dt.float32, p._value.aval.device):
                storage_of(step).parted = Count(1)  # whoever holds it goes on seeing what it counts
            else:
                share_steps(state, [p])
                step = state[p]["step"]
        runs.setdefault(id(step._storage), (step, []))[1].append(p)
    out, sizes, counters = [], [], []
    for step, members in runs.values():
        count = step._storage.parted
        if count.holders != len(members):
            changed = True
            count.holders -= len(members)
            new = _handles(dispatch.value_of(step.clone()), len(members))
            for p, other in zip(members, new, strict=True):
                own = state[p]["step"]
                if local.capture is not None:  # a replay can put another one there
                    state[p]["step"] = other
                else:
                    own._value, own._storage = Value(other._value.aval), other._storage
                    own._seen = -1
            step = state[members[0]]["step"]
        out += members
        sizes.append(len(members))
        counters.append(step)
    return out, tuple(sizes), counters, changed


def full(a, number) -> Value:
    """A Value full of one number that no program has to make."""
    if not number:
        return Value(a, np.zeros(a.shape, a.dtype.numpy))
    if a.dtype.is_complex:
        number = complex(number, number)
    return Value(a, np.full(a.shape, number, a.dtype.numpy))
