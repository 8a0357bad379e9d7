"""The zip container of a `.pt` file: entries stored as they are, aligned, checked by CRC.

Written here because PyTorch maps its entries into memory, so each starts on a multiple of 64 bytes,
and because sizes and positions that a file claims are checked against the file before any is used.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

ALIGNMENT = 64
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<4sIQI")
_LIMIT32 = 0xFFFFFFFF
_LIMIT16 = 0xFFFF
_DATE = 0x21  # 1980-01-01: the same objects make the same file
_UTF8 = 0x800
_CHUNK = 1 << 24
# zipfile meets some damage with BadZipFile, and some with whatever its parts raise.
_ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, OverflowError)


def corrupt(what: str) -> RuntimeError:
    """The error for an archive that cannot be trusted."""
    return RuntimeError(f"PytorchStreamReader failed reading zip archive: {what}")


# ---- writing ----------------------------------------------------------------


class ZipWriter:
    """Writes entries one after the other; the stream need not be able to seek."""

    def __init__(self, stream: BinaryIO, alignment: int = ALIGNMENT) -> None:
        self._stream = stream
        self._alignment = alignment
        self._position = 0
        self._directory: list[bytes] = []

    def add(self, name: str, data: bytes | memoryview) -> None:
        """Write one entry; `data` is used before the call returns, and not kept."""
        encoded = name.encode()
        size, crc, start = len(data), zlib.crc32(data), self._position
        sizes64 = struct.pack("<HHQQ", 1, 16, size, size) if size >= _LIMIT32 else b""
        short = _LIMIT32 if sizes64 else size
        head = start + _LOCAL.size + len(encoded) + len(sizes64) + 4
        padding = -head % self._alignment
        extra = sizes64 + struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        version = 45 if sizes64 else 20
        common = (_UTF8, 0, 0, _DATE, crc, short, short, len(encoded))
        self._write(_LOCAL.pack(b"PK\3\4", version, *common, len(extra)) + encoded + extra)
        self._write(data)

        large = [size, size] if sizes64 else []
        if start >= _LIMIT32:
            large.append(start)
        extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        offset = min(start, _LIMIT32)
        fields = (*common, len(extra), 0, 0, 0, 0, offset)
        version = 45 if large else 20
        entry = _CENTRAL.pack(b"PK\1\2", version, version, *fields)
        self._directory.append(entry + encoded + extra)

    def close(self) -> None:
        """Write the directory; without it the file is no archive."""
        start, count = self._position, len(self._directory)
        for entry in self._directory:
            self._write(entry)
        size, end = self._position - start, self._position
        if start >= _LIMIT32 or size >= _LIMIT32 or count >= _LIMIT16:
            fields = (_END64.size - 12, 45, 45, 0, 0, count, count, size, start)
            self._write(_END64.pack(b"PK\6\6", *fields))
            self._write(_LOCATOR64.pack(b"PK\6\7", 0, end, 1))
        count, size, start = min(count, _LIMIT16), min(size, _LIMIT32), min(start, _LIMIT32)
        self._write(_END.pack(b"PK\5\6", 0, 0, count, count, size, start, 0))

    def _write(self, data: bytes | memoryview) -> None:
        self._stream.write(data)
        self._position += len(data)


# ---- reading ----------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    start: int
    size: int
    crc: int


def aligned_empty(nbytes: int) -> np.ndarray:
    """Uninitialised bytes at a multiple of 64, as XLA on the CPU can take over without a copy."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    skip = -raw.ctypes.data % ALIGNMENT
    return raw[skip : skip + nbytes]


def read_exactly(stream: BinaryIO, target: np.ndarray) -> None:
    """Fill the bytes of `target`, or raise RuntimeError."""
    view, done = memoryview(target), 0
    while done < len(view):
        part = view[done : done + _CHUNK]
        if hasattr(stream, "readinto"):
            count = stream.readinto(part) or 0
        else:
            data = stream.read(len(part))
            count = len(data)
            part[:count] = data
        if count == 0:
            left = len(view) - done
            raise RuntimeError(
                f"unexpected EOF, expected {left} more bytes. The file might be corrupted."
            )
        done += count


class ZipReader:
    """The entries of an archive by their name below its top folder.

    Opening checks the directory as a whole: no entry outside the file, compressed, encrypted, twice
    there or overlapping another. So all entries together are never larger than the file.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        start = stream.tell()
        try:
            with zipfile.ZipFile(stream) as archive:
                infos, end = archive.infolist(), archive.start_dir
        except _ZIP_ERRORS as error:
            raise corrupt(f"{error}") from None
        files = sorted((i for i in infos if not i.is_dir()), key=lambda info: info.header_offset)
        if not files:
            raise corrupt("it is empty")
        if min(info.header_offset for info in infos) != start:
            raise corrupt("its directory belongs to another archive")
        folder, slash, _ = files[0].filename.partition("/")
        if not slash:
            raise corrupt("file in archive is not in a subdirectory: " + _shown(folder))
        self._entries: dict[str, _Entry] = {}
        limits = [info.header_offset for info in files[1:]] + [end]
        for info, limit in zip(files, limits, strict=True):
            self._add(info, folder + "/", limit)
        # A writer may leave CRCs out, and then writes zeros.
        self._checks = any(entry.crc for entry in self._entries.values())

    def _add(self, info: zipfile.ZipInfo, folder: str, limit: int) -> None:
        name = info.filename
        if not name.startswith(folder):
            raise corrupt(f"{_shown(name)} is not in the folder of the others")
        name = name.removeprefix(folder)
        if name in self._entries:
            raise corrupt(f"{_shown(name)} is there twice")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise corrupt(f"{_shown(name)} is compressed; pack the file again with `zip -0`")
        if info.flag_bits & 0x1:
            raise corrupt(f"{_shown(name)} is encrypted")
        self._stream.seek(info.header_offset)
        head = self._stream.read(_LOCAL.size)
        if len(head) < _LOCAL.size or head[:4] != b"PK\3\4":
            raise corrupt(f"{_shown(name)} has no header")
        name_size, extra_size = _LOCAL.unpack(head)[-2:]
        if self._stream.read(name_size) != info.orig_filename.encode():
            raise corrupt(f"{_shown(name)} has another name in its header")
        start = info.header_offset + _LOCAL.size + name_size + extra_size
        if start + info.file_size > limit:
            raise corrupt(f"{_shown(name)} is larger than its place in the file")
        self._entries[name] = _Entry(start, info.file_size, info.CRC)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            raise corrupt(f"file {_shown(name)} not found")
        return self._entries[name]

    def read(self, name: str, nbytes: int | None = None) -> np.ndarray:
        """The bytes of an entry in fresh memory; of `nbytes` if that is given."""
        entry = self._entry(name)
        _check_size(name, entry, nbytes)
        data = aligned_empty(entry.size)
        self._stream.seek(entry.start)
        read_exactly(self._stream, data)
        if self._checks and zlib.crc32(data) != entry.crc:
            raise corrupt(f"{_shown(name)} is damaged (its CRC-32 does not match)")
        return data if nbytes is None else data[:nbytes]

    def map(self, name: str, nbytes: int, whole: np.ndarray) -> np.ndarray:
        """The bytes of an entry as a part of `whole`, the mapped file; the CRC is not checked."""
        entry = self._entry(name)
        _check_size(name, entry, nbytes)
        return whole[entry.start : entry.start + nbytes]


def _check_size(name: str, entry: _Entry, nbytes: int | None) -> None:
    if nbytes is not None and nbytes > entry.size:
        raise corrupt(f"{_shown(name)} has {entry.size} bytes, and {nbytes} are expected")


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else name[:77] + "...")


def map_file(path: str | os.PathLike[str]) -> np.ndarray:
    """A file as bytes in memory that are read when used; writing to them leaves the file alone."""
    return np.asarray(np.memmap(path, np.uint8, mode="c"))
