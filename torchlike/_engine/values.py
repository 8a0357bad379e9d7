"""Avals and Values: what is known of a result before, while and after a program computes it."""

from __future__ import annotations

import weakref
from math import prod
from time import perf_counter

import jax
import numpy as np

from torchlike._core import devices, errors
from torchlike._core import dtypes as dt
from torchlike._core.symbolic import tracing


class Aval:
    """Shape, dtype and device of a value; interned, so that identity is equality."""

    __slots__ = ("device", "dtype", "nbytes", "ndim", "numel", "shape")

    def __init__(self, shape, dtype, device):
        _ = dtype.numpy  # raises for a dtype that has no arrays
        self.shape, self.dtype, self.device = shape, dtype, device
        self.ndim = len(shape)
        self.numel = prod(shape)
        self.nbytes = self.numel * dtype.itemsize
        if self.numel.__class__ is int and self.nbytes >= 1 << 63:  # XLA would end the process
            raise RuntimeError(f"Storage size calculation overflowed with sizes={list(shape)}")

    def __repr__(self):
        return f"{self.dtype.name}{list(self.shape)}@{self.device}"


_avals: dict = {}
_MAX_AVALS = 200_000


def aval(shape: tuple, dtype: dt.dtype, device) -> Aval:
    """The one Aval of this shape, dtype and device."""
    key = (shape, dtype, device)
    found = _avals.get(key)
    if found is None:
        if len(_avals) > _MAX_AVALS:  # an old one only costs a second look-up of its calls
            _avals.clear()
        if any([isinstance(n, np.integer) for n in shape]):  # every later tensor would show them
            shape = tuple([int(n) if isinstance(n, np.integer) else n for n in shape])
            key = (shape, dtype, device)
        found = _avals.setdefault(key, Aval(shape, dtype, device))
    return found


class Value:
    """An immutable result: an aval and either an array or "slot k of a pending segment".

    The segment may also be a ``Packed``, of which it is a piece.

    array is a jax.Array, or a numpy array that is the host's own copy and not yet on the device.
    segment and slot name its place in the segment that it was last used in. epoch is shared by the
    values read from one storage at one version, and tells whether an in-place op has ended it.
    bounds holds the least and greatest number, once an index check has asked for them.
    """

    __slots__ = ("array", "aval", "bounds", "epoch", "segment", "slot", "__weakref__")

    def __deepcopy__(self, memo):
        return self  # who copies a tensor's attributes copies no data

    def __init__(self, aval: Aval, array=None, segment=None, slot=0):
        self.aval = aval
        self.array = array
        self.segment = segment
        self.slot = slot
        self.bounds = None
        self.epoch = None

    def is_traced(self) -> bool:
        """Whether this stands for an abstract array inside a JAX transformation."""
        return isinstance(self.array, TRACED)


class Level:
    """One open ``vmap``: its number grows inwards, size is its batch's."""

    __slots__ = ("number", "over", "randomness", "size")

    def __init__(self, number: int, size: int, randomness: str):
        self.number, self.size, self.randomness = number, size, randomness
        self.over = False  # what is left of it has escaped


class Batched:
    """Stands as the array of a Value that is one sample of a batch.

    value holds all samples along its first axis if ``mapped``, else the one that all share.
    """

    __slots__ = ("level", "mapped", "value")

    def __init__(self, level: Level, value: Value, mapped: bool):
        self.level, self.value, self.mapped = level, value, mapped

    def __array__(self, dtype=None, copy=None):
        if self.level.over:
            raise RuntimeError(
                "your tensor may have escaped from inside a function being vmapped: one sample of "
                "a batch means nothing outside. Please return it from the function"
            )
        raise RuntimeError(
            "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over "
            "calling .item() on a Tensor, please try to rewrite what you're doing with other "
            "operations. If error is occurring somewhere inside PyTorch internals, please file a "
            "bug report."
        )

    def __repr__(self):
        return f"batch of {self.value.aval!r}" if self.mapped else f"shared {self.value.aval!r}"


class Hole:
    """Stands as the array of a Value that is an argument of a body that is being traced."""

    __slots__ = ("frame",)

    def __init__(self, frame):
        self.frame = frame

    def __array__(self, dtype=None, copy=None):
        raise errors.NotTraceable("reading a number")


TRACED = (jax.core.Tracer, Batched, Hole)  # arrays without numbers


class Packed:
    """A flat Value of the CPU with Values that are pieces of it, cut out when they are needed.

    donated says that a program may overwrite the flat array: a piece cut out is a copy.
    """

    __slots__ = ("donated", "flat", "starts")

    def __init__(self, flat: Value, donated: bool = False):
        self.flat, self.donated = flat, donated
        self.starts: dict[int, int] = {}  # by the slot that the piece had

    def array_of(self, value: Value, flat: np.ndarray) -> np.ndarray:
        """The array of a piece, cut from the flat one."""
        start = self.starts[value.slot]
        piece = flat[start : start + value.aval.numel].reshape(value.aval.shape)
        return piece.copy() if self.donated else piece


class Parts:
    """Stands as the segment of a Value that has no array: a sparse tensor's indices and values."""

    __slots__ = ()
    missing = "a sparse tensor has no array; use x.to_dense()"  # what its error says


def from_array(array, device=None) -> Value:
    """A Value over a jax or numpy array, without a copy."""
    if device is None:
        if isinstance(array, np.ndarray | jax.core.Tracer):
            device = devices.CPU
        else:
            device = devices.from_jax_device(next(iter(array.devices())))
    shape = tuple(array.shape)
    if tracing.scope is not None:  # JAX's open sizes as ours
        shape = tracing.scope.shape(shape)
    return Value(aval(shape, dt.BY_NUMPY[np.dtype(array.dtype)], device), array)


def alias(value: Value) -> Value:
    """A second Value for the same, already computed array: in-place history is told apart."""
    expose(value.array)
    return Value(value.aval, value.array)


_PATIENCE = 1e-4  # seconds


class Awaited:
    """The array that a read has last waited for, by its id."""

    __slots__ = ("array",)

    def __init__(self):
        self.array = 0


awaited = Awaited()


def host_copy(array) -> np.ndarray:
    """A JAX array's numbers as numpy has them, once they are there; without a copy on the CPU.

    To be woken from a wait takes longer than many a small program (25 us against 10, on virtual
    machines), so it is first asked for a while whether it is done.
    """
    if not isinstance(array, TRACED) and not array.is_ready():
        awaited.array = id(array)
        end = perf_counter() + _PATIENCE
        while not array.is_ready() and perf_counter() < end:
            pass
    return np.asarray(array)


_ALIGNMENT = 64  # bytes: XLA copies each time what does not begin at a multiple
MUCH = 1 << 16  # bytes whose copy would be noticed


def aligned(array: np.ndarray) -> np.ndarray:
    """A host array as XLA reads it without a copy; NumPy's large ones begin 16 bytes too far."""
    if array.nbytes < MUCH:
        return array
    if array.flags.c_contiguous and not array.ctypes.data % _ALIGNMENT:
        return array
    memory = np.empty(array.nbytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


exposed: dict = {}  # id of an array that something else may see -> weak reference to it


def expose(array) -> None:
    """Note that something else may see this array, so that no program overwrites it."""
    if isinstance(array, jax.Array) and not isinstance(array, jax.core.Tracer):
        key = id(array)
        if key not in exposed:
            exposed[key] = weakref.ref(array, lambda _: exposed.pop(key, None))


class Epoch:
    """The life of a storage between two in-place ops; line is set where it ended."""

    __slots__ = ("line",)

    def __init__(self):
        self.line = None


def epoch_of(value: Value) -> Epoch:
    """The value's epoch, made when first asked for."""
    if value.epoch is None:
        value.epoch = Epoch()
    return value.epoch


def overwritten_at(value: Value):
    """The user's line that overwrote the storage this value was read from, or None."""
    epoch = value.epoch
    return None if epoch is None else epoch.line
