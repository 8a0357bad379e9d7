"""The format of PyTorch before 1.6: pickles one after the other, then the bytes of the storages."""

from __future__ import annotations

import pickle
import struct
from typing import Any, BinaryIO

import numpy as np

from .archive import aligned_empty, read_exactly
from .machine import PickleMachine
from .pickler import Describe, Pickler, StorageTable
from .rebuild import module_class, parse_persistent_id
from .records import numpy_dtype
from .unpickler import Skimmer

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_SYSTEM = {
    "protocol_version": _VERSION,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}


class LegacyFile:
    """A file of this format that is open at its start.

    The pickle comes before the bytes that its tensors need. So the pickle is run twice: once to
    learn the storages, with nothing made, and by the caller when the bytes are there.
    """

    def __init__(self, stream: BinaryIO, end: int, *, encoding: str) -> None:
        self._stream = stream
        self._end = end
        if self._plain() != _MAGIC:
            raise RuntimeError("Invalid magic number; corrupt file?")
        if self._plain() != _VERSION:
            raise RuntimeError("Invalid protocol version; corrupt file?")
        self._plain()  # the writer's type sizes, which say nothing about the bytes
        self.pickle_start = stream.tell()
        skimmer = Skimmer(stream, end, encoding=encoding)
        skimmer.load()
        self._sizes: dict[str, tuple[np.dtype, int]] = {}
        for persistent_id in skimmer.persistent_ids:
            if module_class(persistent_id) is not None:
                continue
            kind, key, _, numel, _ = parse_persistent_id(persistent_id)
            self._sizes.setdefault(key, (numpy_dtype(kind.dtype_name), numel))
        self._data = self._read_storages()
        self.file_end = stream.tell()

    def _plain(self) -> Any:
        return PickleMachine(self._stream, self._end).load()

    def _read_storages(self) -> dict[str, np.ndarray]:
        keys = self._plain()
        if type(keys) is not list or not all(type(key) is str for key in keys):
            raise pickle.UnpicklingError("the list of storages is corrupt")
        if sorted(keys) != sorted(self._sizes):
            raise RuntimeError("the file's storages are not those that its tensors need")
        data = {}
        for key in keys:
            dtype, numel = self._sizes[key]
            head = self._stream.read(8)
            if len(head) < 8:
                raise EOFError("the file ended before its storages")
            (written,) = struct.unpack("<q", head)
            if written != numel:
                raise RuntimeError(f"storage has wrong size: expected {numel} got {written}")
            nbytes = numel * dtype.itemsize
            if nbytes > self._end - self._stream.tell():
                left = nbytes - (self._end - self._stream.tell())
                raise RuntimeError(
                    f"unexpected EOF, expected {left} more bytes. The file might be corrupted."
                )
            data[key] = aligned_empty(nbytes)
            read_exactly(self._stream, data[key])
        return data

    def storage(self, key: str, dtype: np.dtype, numel: int) -> np.ndarray:
        """The elements of a storage; `numel` as the pickle states it."""
        return self._data[key][: numel * dtype.itemsize].view(dtype)


def write_legacy_to(stream: BinaryIO, obj: object, describe: Describe) -> None:
    """Write `obj` in this format."""
    storages = StorageTable(with_view_metadata=True)
    body = Pickler(describe, storages).dumps(obj)
    for part in (_MAGIC, _VERSION, _SYSTEM):
        stream.write(pickle.dumps(part, protocol=2))
    stream.write(body)
    keys = sorted(storages.sources)
    stream.write(pickle.dumps(keys, protocol=2))
    for key in keys:
        numel, data = storages.read(key)
        stream.write(struct.pack("<q", numel))
        stream.write(data)
