"""Memory shared with NumPy: a write to the array shows in the tensor, and the other way round.

Values are immutable, so the sharing is kept up by a storage that looks: each time one of its
tensors is used it compares the array with what it last saw, and each time one is written it runs
what is recorded and writes through. When nobody but the storage holds the array any more it becomes
an ordinary storage again: a ``tensor.numpy()`` in passing costs one copy and nothing later.
"""

from __future__ import annotations

import sys
import threading

import numpy as np
from numpy.lib.array_utils import byte_bounds

from torchlike._core import devices
from torchlike._core.errors import NotSupported
from torchlike._engine.flush import host_array
from torchlike._engine.prefix import local
from torchlike._engine.values import Value, epoch_of, host_copy
from torchlike._tensor import views
from torchlike._tensor.host_data import check_layout
from torchlike._tensor.modes import memory_lock
from torchlike._tensor.views import Storage

_value, _version, _silent = Storage.value, Storage.version, Storage.silent  # the plain slots


class _Shared:
    count = 0  # how often a storage has become one


shared = _Shared()


class SharedStorage(Storage):
    """A storage whose truth is the memory of a NumPy array.

    ``array`` is that memory, ``seen`` a value that it held with its bytes; ``filled`` lists the
    stretches [start, end) of it that somebody has asked for, in order; None means all of it. A row
    of a large tensor costs a row.
    """

    __slots__ = ()

    @property
    def version(self):
        """The count of writes; asking for it is what every use of a tensor begins with."""
        look(self)
        return _version.__get__(self)

    @version.setter
    def version(self, version):
        _version.__set__(self, version)

    @property
    def value(self):
        """What the array holds now."""
        look(self)
        return _value.__get__(self)

    @value.setter
    def value(self, value):
        with memory_lock:
            _write(self, value)


def _write(storage: Storage, value: Value) -> None:
    """Let the storage, and the array, hold a new value."""
    if storage.__class__ is Storage:  # another thread has just ended the sharing
        storage.value = value
        return
    # Another thread may have written with NumPy since the last look. What it wrote stays in the
    # memory, where the next look finds it.
    alone = storage.filled is None or threading.active_count() == 1
    if is_private(storage.array) and (alone or not _written(storage)):
        _part(storage)  # what it holds is older than the value: nobody may look at it again
    else:
        try:
            seen = host_array(value)
        except TypeError as error:  # a tracer: jax is compiling the user's function
            raise NotSupported(
                "writing a tensor that shares memory with a NumPy array inside a "
                "transformation of JAX",
                "clone() the tensor before it",
            ) from error
        if storage.filled is None:
            np.copyto(_root(storage), seen, where=_changed(storage, seen))
        else:
            seen, old = seen.reshape(-1), host_array(_value.__get__(storage)).reshape(-1)
            for start, end in storage.filled:
                new = seen[start:end]
                where = True if alone else _differing(old[start:end], new)
                np.copyto(storage.array[start:end], new, where=where)
    _value.__set__(storage, value)


def _changed(storage: SharedStorage, seen: np.ndarray):
    """Which elements to write: in mapped memory another process may be writing the others."""
    base = storage.array
    while isinstance(base, np.ndarray):
        base = base.base
    old = host_array(_value.__get__(storage))
    if base is None or old.shape != seen.shape:
        return True
    return _differing(old, seen)


def _differing(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Where the bits of two arrays differ."""
    bits = [np.ascontiguousarray(x).reshape(-1, 1).view(np.uint8) for x in (old, new)]
    return (bits[0] != bits[1]).any(-1).reshape(new.shape)


def _written(storage: SharedStorage) -> bool:
    """Whether the memory holds something else than the last look has found."""
    seen = host_array(_value.__get__(storage)).reshape(-1)
    return not all(_same_bits(storage.array[i:j], seen[i:j]) for i, j in storage.filled)


def look(storage: SharedStorage) -> None:
    """Take over what was written to the array; end the sharing if nobody can write to it."""
    with memory_lock:
        if storage.array is None:  # another thread has just ended it
            return
        private = is_private(storage.array)  # asked first: who lets go of it may just have written
        _take_over(storage)
        if private:
            _part(storage)


def _part(storage: SharedStorage) -> None:
    """End the sharing."""
    storage.__class__ = Storage
    storage.array = storage.seen = None


def _last_seen(value: Value) -> np.ndarray:
    """What the last look has found. A look asks for no number: a call that is recorded goes on."""
    if local.capture is None or value.array is None:
        return host_array(value)
    return value.array if value.array.__class__ is np.ndarray else host_copy(value.array)


def _is_seen(storage: SharedStorage, old: Value, now: np.ndarray) -> bool:
    """Whether the memory still holds ``old``, of which the bytes are kept if they are few."""
    if now.nbytes > _SHORT:
        return _same_bits(now, _last_seen(old))
    found = now.tobytes()
    if storage.seen is None or storage.seen[0] is not old:
        storage.seen = old, _last_seen(old).tobytes()
    return storage.seen[1] == found


def _take_over(storage: SharedStorage) -> None:
    old = _value.__get__(storage)
    if storage.filled is None:
        now = _root(storage)
        if _is_seen(storage, old, now):
            return
        now = np.array(now)
    else:
        seen = _last_seen(old)
        seen, array = seen.reshape(-1), storage.array
        written = [(i, j) for i, j in storage.filled if not _same_bits(array[i:j], seen[i:j])]
        if not written:
            return
        now = np.array(seen)
        for start, end in written:
            now[start:end] = array[start:end]
        now = now.reshape(old.aval.shape)
    if local.capture is not None:
        local.capture.refuse("a tensor's memory is written by NumPy")
    value = Value(old.aval, now)
    value.epoch = epoch_of(old)
    _value.__set__(storage, value)
    # Autograd is not told, as in PyTorch: what it saved is what it saved.
    _version.__set__(storage, _version.__get__(storage) + 1)
    _silent.__set__(storage, _silent.__get__(storage) + 1)


def is_private(array: np.ndarray) -> bool:
    """Whether nobody but a storage refers to the memory of ``array``."""
    if sys.getrefcount(array) > _OWN_REFERENCES:
        return False
    base = array.base
    while isinstance(base, np.ndarray):
        if sys.getrefcount(base) > _BASE_REFERENCES:
            return False
        base = base.base
    return base is None


class _Slot:
    __slots__ = ("array",)


def _calibrate() -> tuple[int, int]:
    """What the reference counts are when there is no other reference: it varies with Python."""

    def count(array):
        base = array.base
        return sys.getrefcount(array), sys.getrefcount(base)

    slot = _Slot()
    slot.array = np.empty(2)[:1]
    return count(slot.array)


_OWN_REFERENCES, _BASE_REFERENCES = _calibrate()


_SHORT = 4096  # bytes that are compared as bytes: 0.4 us, as an array of words 5


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equality in which a NaN equals itself."""
    if a.nbytes <= _SHORT:
        return a.tobytes() == b.tobytes()
    word = f"u{a.itemsize}" if a.itemsize < 16 else "u8"
    a, b = (np.ascontiguousarray(x).reshape(-1).view(word) for x in (a, b))
    return np.array_equal(a, b)


class _Window:
    """Memory of an array at another shape; the arrays made of it keep its owner alive."""

    __slots__ = ("__array_interface__", "owner")


def _window(owner: np.ndarray, dtype: np.dtype, shape, strides, offset: int) -> np.ndarray:
    """The array at (strides, offset), in elements of ``dtype``, from where ``owner`` begins."""
    whole = owner.nbytes if owner.flags.c_contiguous else np.ptp(byte_bounds(owner))
    if _end(shape, strides, offset) * dtype.itemsize > whole:  # to write there would be to corrupt
        raise AssertionError(f"a window of {shape}, {strides}, {offset} on {whole} bytes")
    window = _Window()
    window.owner = owner
    size = dtype.itemsize
    window.__array_interface__ = {
        "version": 3,
        "typestr": f"|V{size}",
        "shape": tuple(shape),
        "strides": tuple(s * size for s in strides),
        "data": (owner.ctypes.data + offset * size, False),
    }
    return np.asarray(window).view(dtype)


def writable(array: np.ndarray) -> np.ndarray:
    """The same memory as an array that may be written: NumPy knows nothing of old capsules."""
    if array.flags.writeable:
        return array
    strides = tuple(s // array.itemsize for s in array.strides)
    return _window(array, array.dtype, array.shape, strides, 0)


def _root(storage: Storage) -> np.ndarray:
    """The whole storage as an array in the shared memory."""
    a, array = _value.__get__(storage).aval, storage.array
    if (
        storage.geometry is None and array.shape == a.shape and array.dtype == a.dtype.numpy
        and array.flags.c_contiguous
    ):  # fmt: skip
        return array
    strides, offset = storage.geometry or (views.contiguous_strides(a.shape), 0)
    return _window(array, a.dtype.numpy, a.shape, strides, offset)


def can_share(aval) -> bool:
    """Whether NumPy has such memory: on the CPU, and at least one element of it."""
    return aval.device is devices.CPU and aval.numel > 0


def array_of(tensor) -> np.ndarray:
    """The tensor as a writable array that shares its memory from now on."""
    if local.capture is not None:
        local.capture.refuse("a NumPy array shares a tensor's memory")
    with memory_lock:
        return _array_of(tensor)


def _array_of(tensor) -> np.ndarray:
    if tensor._storage is None and tensor._geometry is None and can_share(tensor._value.aval):
        return _first_array(tensor)
    if tensor._storage is not None and tensor._storage.parted is not None:
        tensor._storage.parted.leave(tensor)  # NumPy may write to it
    storage = views.storage_of(tensor)
    tensor._refresh()
    if not can_share(storage.value.aval):
        return np.array(host_array(tensor._value))
    strides, offset = views.geometry(tensor)
    a, value = tensor._value.aval, storage.value
    if storage.__class__ is Storage:
        seen = host_array(value)
        storage.array = np.empty(_extent(storage, seen), seen.dtype)
        storage.filled = []
        if storage.geometry is not None:
            storage.filled = None
            np.copyto(_root(storage), seen)
        storage.__class__ = SharedStorage
        shared.count += 1
    if storage.filled is not None:
        last = _end(a.shape, strides, offset)
        size, own = a.dtype.itemsize, value.aval.dtype.itemsize
        _fill(storage, value, offset * size // own, -(-last * size // own))
    return _window(storage.array, a.dtype.numpy, a.shape, strides, offset)


def _end(shape, strides, offset: int) -> int:
    """How many elements from its beginning a memory of such a window has at least."""
    return offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1


def _extent(storage: Storage, seen: np.ndarray) -> int:
    """How many elements the memory of a storage has: a root that is not dense has more than its
    own."""
    geometry = storage.geometry
    return seen.size if geometry is None else max(seen.size, _end(seen.shape, *geometry))


def _first_array(tensor) -> np.ndarray:
    """What ``array_of`` gives of a tensor that owns all its memory, which nobody else shows."""
    flat = host_array(tensor._value).flatten()
    storage = views.storage_of(tensor)
    storage.array, storage.filled = flat, [(0, flat.size)]
    storage.__class__ = SharedStorage
    shared.count += 1
    return flat.reshape(tensor._value.aval.shape)


class _Passing:
    def holders(self) -> int:
        return sys.getrefcount(self)


def _count_of_none() -> int:
    """What a method counts as references to an object that nobody holds; 0 if it cannot tell."""
    held = _Passing()
    count = _Passing().holders()
    return count if count < held.holders() else 0


# ``f(x).numpy()``: of a tensor that ends with the call the array shares nothing, and is a copy.
UNHELD = _count_of_none()


def _fill(storage: SharedStorage, value: Value, start: int, end: int) -> None:
    """Let the memory hold the elements from ``start`` to ``end``; what it holds already stays."""
    seen, rest, at = host_array(value).reshape(-1), [], start
    for i, j in storage.filled:
        if j < start or i > end:
            rest.append((i, j))
            continue
        if at < i:
            storage.array[at:i] = seen[at:i]
        start, end, at = min(start, i), max(end, j), max(at, j)
    storage.array[at:end] = seen[at:end]
    storage.filled = sorted([*rest, (start, end)])


def move(storage: Storage, array: np.ndarray) -> None:
    """Let a storage live in the memory of ``array``, which has its size and dtype."""
    with memory_lock:
        seen = host_array(storage.value)
        storage.array, storage.filled = array, None
        np.copyto(_root(storage), seen)
        storage.__class__ = SharedStorage
        shared.count += 1


def share(tensor, array: np.ndarray) -> None:
    """Let a fresh tensor, made of a copy of ``array``, share its memory; raises as PyTorch does."""
    check_layout(array)
    if any(s % array.itemsize for s in array.strides):
        raise ValueError(
            "given numpy array strides not a multiple of the element byte size. Copy the numpy "
            "array to reallocate the memory."
        )
    if not can_share(tensor._value.aval) or not array.flags.writeable:
        return
    storage = views.storage_of(tensor)
    strides = tuple(s // array.itemsize for s in array.strides)
    if strides != views.contiguous_strides(array.shape):
        storage.geometry = tensor._geometry = strides, 0
    storage.identity = array.ctypes.data
    storage.array, storage.filled = array, None
    storage.__class__ = SharedStorage
    shared.count += 1
