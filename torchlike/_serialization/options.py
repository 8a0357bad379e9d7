"""How files are written and read: what the user has set, for this process."""

from __future__ import annotations

import mmap
from enum import Enum

from torchlike._core.errors import NotSupported


class LoadEndianness(Enum):
    """The order of bytes of files that do not say theirs."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


class _Options:
    endianness: LoadEndianness | None = None
    crc32 = True
    mmap = mmap.MAP_PRIVATE
    skip = False  # whether storages are written as zeros
    maps = False  # whether load() maps files where its caller does not say
    alignment = 64  # where the storages of a file begin: at multiples of so many bytes
    offsets = pinned = False  # ways to be faster that are PyTorch's alone


current = _Options()


def get_default_load_endianness() -> LoadEndianness | None:
    """What ``set_default_load_endianness`` has set; None if nothing."""
    return current.endianness


def set_default_load_endianness(endianness) -> None:
    """Set the order of bytes of files that do not say theirs; raises ``TypeError`` for what is no
    ``LoadEndianness`` (https://pytorch.org/docs/stable/notes/serialization.html)."""
    if endianness is not None and not isinstance(endianness, LoadEndianness):
        raise TypeError("Invalid argument type in function set_default_load_endianness")
    current.endianness = endianness


def get_crc32_options() -> bool:
    """Whether files are written with checksums, as ``set_crc32_options`` has it."""
    return current.crc32


def set_crc32_options(compute_crc32: bool) -> None:
    """Accepted: files are written with true checksums either way, which any reader takes
    (https://pytorch.org/docs/stable/notes/serialization.html)."""
    current.crc32 = compute_crc32


def get_default_mmap_options() -> int:
    """The flags that ``load(mmap=True)`` maps files with: always ``mmap.MAP_PRIVATE``."""
    return current.mmap


class set_default_mmap_options:
    """Set the flags that ``load(mmap=True)`` maps files with; also a ``with`` block. Raises
    ``ValueError`` for others than ``MAP_PRIVATE`` and ``MAP_SHARED``, and ``NotSupported`` for
    the latter: a write to a tensor never reaches the file."""

    def __init__(self, flags: int):
        if flags not in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
            raise ValueError(
                "Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE "
                f"or mmap.MAP_SHARED, but got {flags}"
            )
        if flags == mmap.MAP_SHARED:
            raise NotSupported("mapping a file as MAP_SHARED", "save the tensor again")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


class skip_data:
    """A ``with`` block in which ``save`` leaves out the numbers: the file has room for them, in
    zeros (https://pytorch.org/docs/stable/notes/serialization.html)."""

    def __init__(self, materialize_fake_tensors: bool = False):
        self.materialize_fake_tensors = materialize_fake_tensors

    def __enter__(self):
        self._before, current.skip = current.skip, True
        return self

    def __exit__(self, *exc):
        current.skip = self._before


for _class in (LoadEndianness, set_default_mmap_options, skip_data):
    _class.__module__ = "torchlike.serialization"
