"""States of small parameters in flat tensors, and step counts that parameters share."""

from __future__ import annotations

from operator import is_
from sys import getrefcount

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._engine.prefix import local
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

    __slots__ = (
        "bases", "entries", "flags", "followers", "ids", "names", "params", "plan", "slots",
        "starts", "step",
    )  # fmt: skip

    def __init__(self, params, names, starts, counts: bool, state):
        self.params, self.ids, self.names = params, {id(p) for p in params}, names
        self.flags = self.plan = None
        self.followers = []  # step counts of parameters that have one of their own, as seen last
        total = sum(p._value.aval.numel for p in params)
        flat = aval((total,), dt.float32, devices.CPU)
        self.bases = [dispatch.wrap(full(flat, start)) for start in starts]
        for base in self.bases:
            storage_of(base).parted = True
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
        self.followers = []
        for step in self.step:
            value = dispatch.value_of(step)
            for slot in self.slots:
                own = slot.get("step")
                if own is step:
                    continue
                if not isinstance(own, Tensor) or dispatch.value_of(own) is not value:
                    return False
                if local.capture is not None:  # a replay would not see that one is written to
                    return False
                self.followers.append(own)
        return True

    def is_all(self, params) -> bool:
        """Whether these are the pack's parameters and no others."""
        return len(params) == len(self.params) and all(map(is_, params, self.params))

    def dissolve(self, state) -> None:
        """Give every parameter states of its own, in the tensors that stand there: who holds one
        goes on seeing what becomes of it. Where somebody has views of them, they stay views."""
        held = {}
        for base in self.bases:
            views = sum(view._storage is base._storage for _, _, view in self.entries)
            held[id(base)] = getrefcount(base._storage) > views + 2  # the base, and the argument
        for slot, name, view in self.entries:
            if slot.get(name) is view and view._base is not None and not held[id(view._base)]:
                value, version = copy_value(dispatch.value_of(view)), view._storage.version
                view._storage = view._base = view._geometry = None  # no window on the pack's memory
                view._chain, view._detached = (), False
                view._value, view._seen, view._version_count = value, 0, version
        if self.step and all(slot.get("step") is self.step[0] for slot in self.slots):
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


def own_steps(state) -> None:
    """Give each state a tensor of its own for a step count that it shares: what is written to one
    changes no other.

    They go on sharing the value, and by that count together until somebody writes to one.
    """
    leaders: dict[int, Tensor] = {}
    for slot in state.values():
        step = slot.get("step") if isinstance(slot, dict) else None
        if step.__class__ is not Tensor or getattr(step, "holders", 0) < 2:
            continue
        if id(step) not in leaders:
            leaders[id(step)] = step
        else:
            slot["step"] = dispatch.wrap(dispatch.value_of(step))
            slot["step"].holders = 1
    for step in leaders.values():
        step.holders = 1


def by_step(params, state):
    """Parameters ordered by their step count: (params, sizes of the runs, their tensors, whether
    a state got another one, followers).

    A parameter that missed a step (it had no gradient) leaves those it shared a count with; the
    tensor's ``holders`` tells how many share it. ``followers`` are pairs of a tensor with the value
    of a run's and the number of that run.
    """
    first = state[params[0]]["step"]
    if first.__class__ is Tensor and getattr(first, "holders", 0) == len(params):
        for p in params:
            if state[p]["step"] is not first:
                break
        else:
            return params, (len(params),), [first], False, ()
    runs: dict[int, tuple] = {}
    changed = False
    for p in params:
        step = state[p]["step"]
        if step.__class__ is not Tensor or not hasattr(step, "holders"):
            changed = True
            share_steps(state, [p])
            step = state[p]["step"]
        runs.setdefault(id(step), (step, []))[1].append(p)
    cohorts: dict[int, tuple] = {}  # by the value of their count: (its tensor, members, followers)
    for step, members in runs.values():
        if step.holders != len(members):
            changed = True
            step.holders -= len(members)
            step = step.clone()
            step.holders = len(members)
            for p in members:
                state[p]["step"] = step
        # A replay would not see that one of those that share a value is written to.
        same = step if local.capture is not None else dispatch.value_of(step)
        lead, all_members, others = cohorts.setdefault(id(same), (step, [], []))
        all_members += members
        if lead is not step:
            others.append(step)
    out, sizes, counters, followers = [], [], [], []
    for i, (step, members, others) in enumerate(cohorts.values()):
        out += members
        sizes.append(len(members))
        counters.append(step)
        followers += [(t, i) for t in others]
    return out, tuple(sizes), counters, changed, followers


def full(a, number) -> Value:
    """A Value full of one number that no program has to make."""
    if not number:
        return Value(a, np.zeros(a.shape, a.dtype.numpy))
    if a.dtype.is_complex:
        number = complex(number, number)
    return Value(a, np.full(a.shape, number, a.dtype.numpy))
