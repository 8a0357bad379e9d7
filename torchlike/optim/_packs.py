"""States of small parameters in flat tensors, and step counts that parameters share."""

from __future__ import annotations

from operator import is_

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._engine.values import Value, aval
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.tensor import Tensor, copy_value
from torchlike._tensor.views import storage_of

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

    __slots__ = ("bases", "entries", "flags", "ids", "params", "plan", "slots", "starts", "step")

    def __init__(self, params, names, starts, counts: bool, state):
        self.params, self.ids = params, {id(p) for p in params}
        self.flags = self.plan = None
        total = sum(p._value.aval.numel for p in params)
        flat = aval((total,), dt.float32, devices.CPU)
        self.bases = [dispatch.wrap(full(flat, start)) for start in starts]
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
            for slot in self.slots:
                if slot.get("step") is not step:
                    return False
        return True

    def is_all(self, params) -> bool:
        """Whether these are the pack's parameters and no others."""
        return len(params) == len(self.params) and all(map(is_, params, self.params))

    def dissolve(self, state) -> None:
        """Give every parameter states of its own."""
        for slot, name, view in self.entries:
            if slot.get(name) is view:
                slot[name] = dispatch.wrap(copy_value(dispatch.value_of(view)))
        if self.step:
            share_steps(state, self.params)


# ---- step counts -------------------------------------------------------------------------------


def share_steps(state, params, fresh: bool = False) -> None:
    """Let states of equal step count hold one tensor for it: one addition counts for all.

    It is on the device of the parameters, as all that their step's program reads.
    """
    shared: dict[tuple, Tensor] = {}
    for p in params:
        slot, device = state[p], p._value.aval.device
        step = None if fresh else slot["step"]
        count = 0.0 if step is None else float(step)
        counter = shared.get((count, device))
        if counter is None:
            start = Value(aval((), dt.float32, device), np.array(count, np.float32))
            counter = shared[count, device] = dispatch.wrap(start)
            counter.holders = 0
        slot["step"] = counter
        counter.holders += 1


def by_step(params, state):
    """Parameters ordered by their step-count tensor: (params, sizes of the runs, the tensors,
    whether a state got another one).

    A parameter that missed a step (it had no gradient) leaves those it shared a count with; the
    tensor's ``holders`` tells how many share it.
    """
    first = state[params[0]]["step"]
    if first.__class__ is Tensor and getattr(first, "holders", 0) == len(params):
        for p in params:
            if state[p]["step"] is not first:
                break
        else:
            return params, (len(params),), [first], False
    runs: dict[int, tuple] = {}
    changed = False
    for p in params:
        step = state[p]["step"]
        if step.__class__ is not Tensor or not hasattr(step, "holders"):
            changed = True
            share_steps(state, [p])
            step = state[p]["step"]
        runs.setdefault(id(step), (step, []))[1].append(p)
    out, sizes, counters = [], [], []
    for step, members in runs.values():
        if step.holders != len(members):
            changed = True
            step.holders -= len(members)
            step = step.clone()
            step.holders = len(members)
            for p in members:
                state[p]["step"] = step
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
