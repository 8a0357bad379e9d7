"""Tensors and arrays on their way to another process: as their memory, or as what the processes
share of it."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import pickle
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from torchlike._core import devices
from torchlike._core.errors import warn_once
from torchlike._tensor import bridge, shared_memory
from torchlike._tensor.host_reads import wrap_host
from torchlike._tensor.shared_memory import Descriptor
from torchlike._tensor.tensor import Tensor
from torchlike.nn.parameter import PICKLED_AS_DATA, Parameter


class CannotTravel(pickle.PicklingError):
    """Something that exists in this process only."""


# ---- as a copy ---------------------------------------------------------------------------------


def reduced_tensor(tensor):
    """How to pickle a tensor of the CPU: as its memory, or as its class says; one of another device
    cannot travel."""
    if tensor.is_meta or type(tensor).__reduce_ex__ not in PICKLED_AS_DATA:
        return NotImplemented
    if tensor._value.aval.device is not devices.CPU:
        raise CannotTravel(f"cannot send a tensor on {tensor.device} to a worker")
    if tensor._node is not None and not tensor.is_leaf:
        raise RuntimeError(shared_memory.NOT_A_LEAF)
    array = np.asarray(tensor._host(), order="C")
    buffer = pickle.PickleBuffer(array.reshape(-1).view(np.uint8))
    kind = type(tensor)
    state = {k: v for k, v in tensor.__dict__.items() if not k.startswith("_")}
    if kind is Tensor and not tensor._requires_grad and not state:
        return _make_plain, (buffer, tensor._value.aval.dtype, array.shape)
    return _make_tensor, (
        buffer, tensor._value.aval.dtype, array.shape, kind, tensor._requires_grad, state,
    )  # fmt: skip


def _make_plain(buffer, dtype, shape):
    return wrap_host(np.frombuffer(buffer, dtype.numpy).reshape(shape), dtype)


def _make_tensor(buffer, dtype, shape, kind, requires_grad, state):
    made = _make_plain(buffer, dtype, shape)
    if kind is Parameter:
        made = Parameter(made, requires_grad)
    elif kind is not Tensor:
        made = made.as_subclass(kind)
    if requires_grad and kind is not Parameter:
        made.requires_grad_()
    made.__dict__.update(state)
    return made


# ---- as what is shared -------------------------------------------------------------------------

# Bytes of a tensor: each of its uses compares so much with the memory that others may write.
_SMALL = 1 << 20


class _File:
    """A file in memory that processes map; travels as its place among the descriptors."""

    def __init__(self, place: int, mapping: mmap.mmap):
        self.place, self.size, self.mapping = place, len(mapping), mapping
        self.start = np.frombuffer(mapping, np.uint8).ctypes.data

    def __reduce__(self):
        return _mapped, (self.place, self.size)


class Shared:
    """What a pickle holds of memory that processes share, made by ``share_memory_``,
    ``multiprocessing.Array`` or ``SharedMemory``: the descriptors to send along."""

    def __init__(self, wanted: bool):
        self.descriptors: list[Descriptor] = []
        self._files: dict[int, _File | None] = {}
        self._wanted = wanted  # else all goes as copies

    def _file(self, array: np.ndarray) -> _File | None:
        """The file under an array; None if nobody shares its memory."""
        base = array
        while isinstance(base, (np.ndarray, memoryview)):
            base = base.base if isinstance(base, np.ndarray) else base.obj
        if base is None or not self._wanted:
            return None
        if id(base) not in self._files:
            found = _origin(base, array)
            self._files[id(base)] = found and _File(len(self.descriptors), found[0])
            if found is not None:
                self.descriptors.append(found[1])
        return self._files[id(base)]

    def reduced_array(self, array: np.ndarray):
        """How to pickle an array in shared memory; None for any other."""
        file = self._file(array)
        return file and (_opened, _window(file, array))

    def reduced_tensor(self, tensor):
        """How to pickle a tensor in shared memory; None for any other, and for one so large that
        sharing it would cost more than it saves."""
        owner = shared_memory.memory_of(tensor)
        file = None if owner is None or not tensor.is_leaf else self._file(owner)
        if file is None:
            return None
        if owner.nbytes > _SMALL:
            warn_once(
                "DataLoader: a tensor of more than 1 MiB in shared memory goes to each worker as a "
                "copy: what a worker writes to it is not seen elsewhere. To share it, hold it as "
                "a NumPy array over multiprocessing.Array, or as a np.memmap."
            )
            return None
        kind = type(tensor), tensor.requires_grad, dict(tensor.__dict__)
        return _opened_tensor, (_window(file, bridge.array_of(tensor)), kind)


def _window(file: _File, array: np.ndarray) -> tuple:
    return file, array.shape, array.dtype, array.strides, array.ctypes.data - file.start


def _origin(base, array: np.ndarray) -> tuple[mmap.mmap, Descriptor] | None:
    """What maps the memory of ``base``, if it is made for sharing, and the file that is mapped."""
    if isinstance(base, shared_memory.Memory):
        return base, base.file
    if isinstance(base, mmap.mmap):
        path = _shared_path(array.ctypes.data) if array.flags.writeable else None
        return path and (base, Descriptor(os.open(path, os.O_RDWR)))
    if isinstance(base, (ctypes.Array, ctypes._SimpleCData)) and hasattr(base, "_wrapper"):
        (arena, *_), _ = base._wrapper._state  # of multiprocessing.sharedctypes
        if getattr(arena, "fd", -1) >= 0:
            return arena.buffer, Descriptor(os.dup(arena.fd))
    return None


def _shared_path(address: int) -> str | None:
    """The path of the ``SharedMemory`` at an address; None if it is none, or cannot be told."""
    with contextlib.suppress(OSError), open("/proc/self/maps") as lines:
        for line in lines:
            span, rights, _, _, _, *path = line.split(maxsplit=5)
            start, end = (int(x, 16) for x in span.split("-"))
            if start <= address < end:
                name = path[0].strip() if path else ""
                shared = rights == "rw-s" and name.startswith("/dev/shm/")
                return name if shared and os.path.exists(name) else None
    return None


def attached(name: str) -> SharedMemory:
    """The ``SharedMemory`` of this name, which stays when this process ends."""
    register, resource_tracker.register = resource_tracker.register, lambda *_: None
    try:
        return SharedMemory(name)
    finally:
        resource_tracker.register = register


_received: list[int] = []


@contextlib.contextmanager
def received(descriptors: list[int]):
    """In the other process, within: these came along with the pickle that is read."""
    _received[:] = descriptors
    try:
        yield
    finally:
        _received.clear()
        for descriptor in descriptors:
            os.close(descriptor)


def _mapped(place: int, size: int) -> mmap.mmap:
    return shared_memory.map_file(os.dup(_received[place]), size)


def _opened(file: mmap.mmap, shape, dtype, strides, offset) -> np.ndarray:
    return np.ndarray(shape, dtype, np.frombuffer(file, np.uint8), offset, strides)


def _opened_tensor(window: tuple, kind: tuple):
    return shared_memory.tensor_over(_opened(*window), kind)
