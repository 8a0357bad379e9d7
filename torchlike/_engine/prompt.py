"""Prompt programs of the CPU: run on the calling thread, for results that are read at once.

JAX hands a program of the CPU to another thread. To wake that thread, and to be woken by it, takes
longer than a small program: a call of three layers of 128 and a read are 76 us, of which 5 are the
program's, and ``logsumexp`` of 4096x1024 takes 1.1 ms instead of 0.7. A second client of the CPU
runs what it is given where it is called, with the same bits: 9 us. Its arrays are its own. Inputs
reach it as NumPy arrays, small ones that come again (parameters) are copied there once, and results
leave as NumPy arrays; none of that copies large ones. What trains stays with JAX's own client,
which computes while Python goes on, unless a compiled call is small and waited for each time.
"""

from __future__ import annotations

import weakref

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from torchlike._core import devices
from torchlike._core.settings import settings
from torchlike._engine.compat import callable_of, matmul_precision, prompt_device
from torchlike._engine.places import Place
from torchlike._engine.prefix import Segment
from torchlike._engine.programs import Program, call_into
from torchlike._engine.values import host_copy

_READ = frozenset(("value", "module"))  # why a segment is flushed whose results are read soon
_FEW_RESULTS = 5  # more are what a backward will need, as a program of JAX's own client
_FEW_INPUTS = 8  # as many may be of any size; 2 us each
_SMALL, _SMALL_ALL = 1 << 18, 1 << 22  # bytes of inputs that are copied once they come again

# Of a compiled function's: of a longer program nobody notices the handing over. Seconds of work are
# NumPy's: attention of 4x4x64x32 with its backward pass, 4e-3, takes 0.31 ms, and 0.25 in place.
_MOST_RESULTS, _MOST_INPUTS, _MOST_WORK = 16, 64, 5e-3


def suits(segment: Segment, live: tuple, why: str, place: Place) -> bool:
    """Whether a segment's program is to be a prompt one."""
    arrays = segment.arrays
    return (
        why in _READ and len(live) <= _FEW_RESULTS and segment.device is devices.CPU
        and settings.host and not place.always
        and (len(arrays) <= _FEW_INPUTS or sum(x.nbytes for x in arrays) <= _SMALL_ALL)
        and not any(call.op.donates is not None for call in segment.node.path())
        and prompt_device() is not None
    )  # fmt: skip


def suits_calls(program: Program) -> bool:
    """Whether a compiled function's program may be a prompt one once its calls are waited for."""
    node = program.owner
    return (
        len(program.live) <= _MOST_RESULTS and node.work <= _MOST_WORK and settings.host
        and node.externals <= _MOST_INPUTS
        and node.device is devices.CPU
        and prompt_device() is not None
    )  # fmt: skip


class Prompt:
    """How a program's function takes arrays of NumPy's and of the second client's."""

    __slots__ = ()

    @property
    def place(self):
        """The device that its numbers are kept on."""
        return prompt_device()

    def prepare(self, arguments: tuple) -> None:
        """Make the function: find it among the stored programs, or compile it."""
        there = SingleDeviceSharding(self.place)
        kinds = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=there) for x in arguments]
        super().prepare(tuple(kinds))
        if self.fixed is None:
            self.function = callable_of(self.jitted().lower(*kinds).compile())
            self.fixed = matmul_precision()

    def renew(self, arguments: tuple) -> None:
        """Make the function for other settings."""
        self.prepare(arguments)

    def arguments(self, segment, arrays) -> tuple:
        """The call's arguments: packed run-time numbers, then the external arrays."""
        return self.numbers(segment), *map(prompt_input, self.align(segment, arrays))


class PromptProgram(Prompt, Program):
    """A program of the second client's; it overwrites nothing."""

    __slots__ = ()

    def __init__(self, node, live: tuple[int, ...]):
        super().__init__(node, live)
        self.donated = ()

    def run(self, segment: Segment, arrays: list) -> tuple:
        """The results, there when this returns."""
        done: list = []
        call_into(done, self, self.arguments(segment, arrays))
        results = list(map(np.asarray, done[0]))
        for n, external in self.forwarded:
            results[n] = arrays[external]
        return tuple(results)


# id of a small array -> [weak reference to it, its copy for the second client once it came again]
_copies: dict[int, list] = {}


def prompt_input(array):
    """What stands for an array among the arguments: itself in NumPy, or a copy where they run."""
    key = id(array)
    found = _copies.get(key)
    if found is not None:
        if found[1] is None:
            found[1] = jax.device_put(np.array(array), prompt_device())
        return found[1]
    if array.nbytes <= _SMALL:
        _copies[key] = [weakref.ref(array, lambda _: _copies.pop(key, None)), None]
    return array if array.__class__ is np.ndarray else host_copy(array)


def forget(array) -> None:
    """Forget what stands for an array: its numbers change."""
    _copies.pop(id(array), None)
