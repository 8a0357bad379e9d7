"""Records of an event file: length, checksum, data, checksum."""

from __future__ import annotations

import struct

from torchlike.utils.tensorboard._needs import tensorboardx


class RecordWriter:
    """Writes records of bytes to a file object, in TensorFlow's format of records."""

    def __init__(self, writer):
        self._writer = writer
        self._checksum = tensorboardx("record_writer").masked_crc32c

    def write(self, data: bytes) -> None:
        """Write one record."""
        length = struct.pack("<Q", len(data))
        self._writer.write(
            length + struct.pack("<I", self._checksum(length))
            + data + struct.pack("<I", self._checksum(data))
        )  # fmt: skip

    def flush(self) -> None:
        """Hand what is written to the system."""
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._writer.closed
