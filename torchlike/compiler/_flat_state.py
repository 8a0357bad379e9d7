"""Flat state: small tensors that a compiled call changes, as one array of its program.

What starting a program costs grows with its arrays, by about 2 us for each that goes in and comes
out again: more than the arithmetic of a small network's bias. So those of a replay lie one after
the other in one array; their Values are pieces of it, cut out only if somebody looks.
"""

from __future__ import annotations

from itertools import accumulate, repeat
from operator import attrgetter, is_

import jax
import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._engine.compat import in_program_scope
from torchlike._engine.flush import array_of
from torchlike._engine.programs import Program, body_of, call_into
from torchlike._engine.prompt import Prompt, prompt_input
from torchlike._engine.values import Packed, Value, aval

_value, _own_array = attrgetter("_value"), attrgetter("array")

# Measured with 150 parameters of 4x4 and 4 (a step took 680 us, now 430); with pieces of 4096
# numbers the copies into and out of the flat array cost what the arrays did.
_MOST_NUMEL = 4096
_FEWEST = 4
_MOST_WORK = 2e-3  # seconds: of a longer step nobody would notice it, and XLA compiles it again
# Gathering the pieces costs as much as a step, and so does cutting most of them out. Where that
# happens at more than one call in four, each has its own array again.
_TRIES, _SHARE = 8, 4


def is_flat(t) -> bool:
    """Whether a tensor that changes is one to put among the others."""
    a = t._value.aval
    return a.dtype is dt.float32 and a.device is devices.CPU and 0 < a.numel <= _MOST_NUMEL


def is_worth_it(program: Program, tensors: list) -> bool:
    """Whether the program's calls gain by it."""
    node = program.owner
    return len(tensors) >= _FEWEST and node.work <= _MOST_WORK and node.device is devices.CPU


class FlatState:
    """The tensors, their Values and the flat array: what ``Packed`` is, for what a call changes.

    ``tensors[i]`` starts at ``starts[i]`` of the flat array, which lies on ``device``.
    """

    def __init__(self, tensors: list, device=None):
        self.tensors, self.device = tensors, device
        avals = [t._value.aval for t in tensors]
        self.starts = [0, *accumulate(a.numel for a in avals)]
        self.aval = aval((self.starts.pop(),), dt.float32, devices.CPU)
        self.avals = avals
        self.packed: Packed | None = None
        self.values: list[Value] = []
        self.runs = self.gathered = self.cut = 0

    def is_held(self) -> bool:
        """Whether the tensors still show the pieces."""
        return self.packed is not None and all(
            map(is_, map(_value, self.tensors), self.values)
        )  # fmt: skip

    def gather(self) -> None:
        """Make the flat array of what the tensors show; nobody else may hold their Values."""
        arrays = [np.asarray(array_of(t._value)).reshape(-1) for t in self.tensors]
        flat = in_program_scope(jax.device_put, np.concatenate(arrays), self.device)
        packed = self.packed = Packed(Value(self.aval, flat), donated=True)
        packed.starts = dict(enumerate(self.starts))
        values = self.values = []
        for n, t in enumerate(self.tensors):
            value = Value(self.avals[n], None, packed, n)
            value.epoch = t._value.epoch
            values.append(value)
            t._value = value
            if t._storage is not None:
                t._storage.value = value
        self.gathered += 1

    def agrees(self, program: FlatProgram, plain: Program, feed, arrays: list) -> bool:
        """Whether two programs give the same bits for these arrays, which stay as they are."""
        flat, *others = map(np.asarray, arrays)
        found = _results(program, feed, arrays)
        pieces = np.split(flat, self.starts[1:])
        each = {
            n: x.reshape(a.shape) for n, x, a in zip(program.ins, pieces, self.avals, strict=True)
        }
        rest = iter(others)
        each = [each[n] if n in each else next(rest) for n in range(plain.owner.externals)]
        wanted = _results(plain, feed, each)
        new = np.concatenate([np.ravel(wanted[n]) for n in program.outs])
        made = set(program.outs)
        wanted = [new, *[x for n, x in enumerate(wanted) if n not in made]]
        return all(
            np.asarray(a).tobytes() == np.asarray(b).tobytes()
            for a, b in zip(found, wanted, strict=True)
        )

    def is_a_loss(self) -> bool:
        """Whether others look at or exchange the pieces so often that arrays would be better."""
        often = max(self.gathered, self.cut)
        return often > _TRIES and often * _SHARE > self.runs

    def scatter(self) -> None:
        """Give each piece an array of its own."""
        for value in self.values:
            array_of(value)

    def write(self, flat) -> None:
        """Let the pieces be of a new flat array."""
        self.runs += 1
        self.packed.flat.array = flat
        if not all(map(is_, map(_own_array, self.values), repeat(None))):  # cut out meanwhile
            seen = [v for v in self.values if v.array is not None]
            self.cut += 2 * len(seen) > len(self.values)
            for n, value in enumerate(self.values):
                value.array, value.segment, value.slot = None, self.packed, n


def _results(program: Program, feed, arrays) -> tuple:
    """What a program gives for copies of these arrays: some of them it overwrites."""
    results: list = []
    copies = [np.array(x) for x in arrays]
    if not isinstance(program, Prompt):
        copies = jax.device_put(copies, program.place)
    call_into(results, program, program.arguments(feed, copies))
    return results[0]


class FlatProgram(Program):
    """A program's function with the flat array first among its arguments and its results.

    It takes the place of the inputs ``ins`` and of the results ``outs``, in this order.
    """

    __slots__ = ("ins", "outs")

    def __init__(self, program: Program, state: FlatState, ins: list[int], outs: list[int]):
        for name in ("live", "owner", "pack", "needed", "outputs"):
            setattr(self, name, getattr(program, name))
        self.ins, self.outs = ins, outs
        self.packed, self.host = None, {}
        self.checks, self.forwarded = [], []
        self.strangers = self.returned = ()
        body = body_of(self, program.needed)
        pieces = [
            (start, start + a.numel, a.shape)
            for start, a in zip(state.starts, state.avals, strict=True)
        ]
        taken = dict(zip(ins, pieces, strict=True))
        given = [n for n in range(program.owner.externals) if n not in taken]
        rest = [n for n in range(len(program.outputs)) if n not in set(outs)]
        self.donated = (0, *[1 + i for i, n in enumerate(given) if n in program.donated])

        def torchlike_flat(numbers, flat, *others):
            arrays = dict(zip(given, others, strict=True))
            for n, (start, end, shape) in taken.items():
                arrays[n] = jax.numpy.reshape(flat[start:end], shape)
            # Between barriers XLA makes of the body what it makes of the program: an eager step
            # and a compiled one give the same bits.
            arrays = jax.lax.optimization_barrier([arrays[n] for n in range(len(arrays))])
            results = jax.lax.optimization_barrier(body(numbers, *arrays))
            new = [jax.numpy.ravel(results[n]) for n in outs]
            flags = results[len(program.outputs) :]
            return jax.numpy.concatenate(new), *[results[n] for n in rest], *flags

        self.build(torchlike_flat, "flat", self.ins, self.outs, state.starts, state.avals)


class PromptFlatProgram(Prompt, FlatProgram):
    """The same for the second client of the CPU, which keeps the flat array."""

    __slots__ = ()

    def __init__(self, *parts):
        super().__init__(*parts)
        self.donated = ()

    def arguments(self, segment, arrays) -> tuple:
        """The call's arguments; the flat array is another one each time."""
        return self.numbers(segment), arrays[0], *map(prompt_input, arrays[1:])
