"""The `.pt` file format, read and written without torch and without knowing Tensor."""

from .files import read, unsafe_names, write_legacy, write_zip
from .records import (
    DTYPE_NAMES,
    FROM_TYPE,
    Call,
    GlobalName,
    Makers,
    StorageRecord,
    StorageSource,
    TensorRecord,
    device_record,
    dtype_record,
    layout_record,
    numpy_dtype,
    size_record,
)

__all__ = [
    "DTYPE_NAMES",
    "FROM_TYPE",
    "Call",
    "GlobalName",
    "Makers",
    "StorageRecord",
    "StorageSource",
    "TensorRecord",
    "device_record",
    "dtype_record",
    "layout_record",
    "numpy_dtype",
    "read",
    "size_record",
    "unsafe_names",
    "write_legacy",
    "write_zip",
]
