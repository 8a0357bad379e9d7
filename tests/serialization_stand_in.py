"""A tensor of a few lines over numpy, with which the file format is tested without Tensor."""

import io
from dataclasses import dataclass, field

import numpy as np

from torchlike import _serialization as fmt
from torchlike._serialization import archive


class Size(tuple):
    """Stands for torch.Size."""


@dataclass(frozen=True)
class DType:
    """Stands for torch.dtype."""

    name: str


@dataclass(frozen=True)
class Device:
    """Stands for torch.device."""

    kind: str
    index: int | None = None


@dataclass(eq=False)
class Tensor:
    """A window on a 1-d numpy array; two of them share storage where they share the array."""

    base: np.ndarray
    offset: int
    size: tuple
    stride: tuple
    dtype_name: str
    requires_grad: bool = False
    is_parameter: bool = False
    location: str = "cpu"
    extra: dict = field(default_factory=dict)

    def numpy(self):
        if 0 in self.size:
            return np.empty(self.size, self.base.dtype)
        itemsize = self.base.itemsize
        strides = [step * itemsize for step in self.stride]
        buffer = self.base.view(np.uint8)
        return np.ndarray(self.size, self.base.dtype, buffer, self.offset * itemsize, strides)


def tensor(array, *, dtype_name=None, **keywords):
    """A contiguous Tensor of its own."""
    array = np.array(array, order="C")
    strides = tuple(step // array.itemsize for step in array.strides)
    base = array.reshape(-1)
    return Tensor(base, 0, array.shape, strides, dtype_name or array.dtype.name, **keywords)


def describe(obj):
    if isinstance(obj, Tensor):
        base = obj.base
        storage = fmt.StorageSource(id(base), obj.dtype_name, base.size, lambda: base, obj.location)
        return fmt.TensorRecord(
            storage, obj.offset, obj.size, obj.stride, obj.requires_grad, obj.is_parameter
        )
    if isinstance(obj, Size):
        return fmt.size_record(obj)
    if isinstance(obj, DType):
        return fmt.dtype_record(obj.name)
    if isinstance(obj, Device):
        return fmt.device_record(obj.kind, obj.index)
    return None


def make_tensor(storage, offset, size, stride, requires_grad, hooks):
    made = Tensor(storage.array, offset, size, stride, storage.dtype_name, requires_grad)
    made.location = storage.location
    made.storage = storage
    return made


def make_parameter(data, requires_grad, hooks):
    data.requires_grad, data.is_parameter = requires_grad, True
    return data


MAKERS = {
    "make_tensor": make_tensor,
    "make_parameter": make_parameter,
    "make_dtype": DType,
    "make_device": Device,
    "make_size": Size,
}


def load(file, **options):
    return fmt.read(file, **MAKERS, **options)


def save(obj, file, **options):
    fmt.write_zip(file, obj, describe=describe, **options)


def zip_bytes(obj):
    buffer = io.BytesIO()
    save(obj, buffer)
    return buffer.getvalue()


def legacy_bytes(obj):
    buffer = io.BytesIO()
    fmt.write_legacy(buffer, obj, describe=describe)
    return buffer.getvalue()


def load_bytes(data, **options):
    return load(io.BytesIO(data), **options)


def pack(entries):
    """An archive, correct in itself, with these entries."""
    buffer = io.BytesIO()
    writer = archive.ZipWriter(buffer)
    for name, content in entries.items() if isinstance(entries, dict) else entries:
        writer.add(name, content)
    writer.close()
    return buffer.getvalue()
