"""Tensors as bytes in the layout of safetensors: a header in JSON, then the numbers."""

from __future__ import annotations

import json
import struct

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._engine.flush import host_array
from torchlike._tensor.creation import from_host
from torchlike._tensor.dispatch import value_of

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32",
    "U16": "uint16", "U8": "uint8", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "C64": "complex64", "C128": "complex128",
}  # fmt: skip
_TAGS = {name: tag for tag, name in _DTYPES.items()}


def as_bytes(tensors: dict) -> bytes:
    """A dict of tensors as one file; raises ``NotSupported`` for a dtype that has no tag."""
    header, parts, end = {}, [], 0
    for name, t in tensors.items():
        if t.dtype.name not in _TAGS:
            raise NotSupported(f"saving tensors of {t.dtype} in a program", "convert them before")
        data = np.asarray(host_array(value_of(t)), order="C").tobytes()
        start, end = end, end + len(data)
        header[name] = {
            "dtype": _TAGS[t.dtype.name], "shape": list(t.shape), "data_offsets": [start, end],
        }  # fmt: skip
        parts.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *parts])


def from_bytes(data: bytes, device=devices.CPU) -> dict:
    """The tensors again, each in memory of its own; raises ``ValueError`` for a broken file."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        out = {}
        for name, entry in header.items():
            first, last = (8 + length + n for n in entry["data_offsets"])
            dtype = dt.BY_NAME[_DTYPES[entry["dtype"]]]
            array = np.frombuffer(data[first:last], dtype.numpy).reshape(entry["shape"]).copy()
            out[name] = from_host(array, device)
    except (KeyError, TypeError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"its weights cannot be read: {error!r}") from error
    return out
