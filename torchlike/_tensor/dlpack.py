"""DLPack: memory shared with other libraries
(https://dmlc.github.io/dlpack/latest/python_spec.html).

On the CPU it is NumPy's memory, so what either side writes shows at the other (bridge.py).
Elsewhere, and in dtypes that NumPy has not, values are handed over without a copy, and no write
shows.
"""

from __future__ import annotations

import ctypes

import jax
import numpy as np

from torchlike._core import devices
from torchlike._tensor import bridge, views
from torchlike._tensor.creation import from_jax, from_numpy
from torchlike._tensor.forms import function
from torchlike._tensor.tensor import Tensor

_CPU = 1  # the kind of device, as DLPack numbers them


def _check_export(tensor) -> bool:
    """Raise ``BufferError`` or ``ValueError`` for what no other library could read; whether the
    elements are the negatives of those in memory."""
    if tensor.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    pending = bool(tensor._chain) and views.conjugated(tensor)
    if pending and tensor.is_complex():
        raise BufferError("Can't export tensors with the conjugate bit set")
    if tensor._sparse:
        raise BufferError("Can't export tensors with layout other than torch.strided")
    if tensor.device.type == "meta":
        raise ValueError("Unknown device type meta for Dlpack")
    return pending


def _export(self, *, stream=-1, max_version=None, dl_device=None, copy=None):
    """A capsule over the tensor's memory, for ``from_dlpack`` of any library."""
    if stream not in (-1, None):
        if not isinstance(stream, int):
            raise TypeError("stream must be ``int`` or ``none``")
        if self.device.type == "cpu":
            raise AssertionError("stream should be None on cpu.")
    pending = _check_export(self)
    a = self._value.aval
    is_numpy = bridge.can_share(a) and a.dtype.numpy.isbuiltin == 1
    source = bridge.array_of(self) if is_numpy and not pending else self.jax()
    return source.__dlpack__(
        stream=None if stream == -1 else stream,
        max_version=max_version,
        dl_device=dl_device,
        copy=copy,
    )


def _export_device(self):
    """The (kind, number) of the device that the memory is on."""
    return self.jax().__dlpack_device__()


Tensor.__dlpack__, Tensor.__dlpack_device__ = _export, _export_device


@function()
def to_dlpack(tensor):
    """A DLPack capsule over the data, for libraries that take no tensors."""
    return tensor.detach().__dlpack__()


class _Capsule:
    """A DLPack capsule as the object that others want; its header says where the data is."""

    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack__(self, **options):
        return self.capsule

    def __dlpack_device__(self):
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        versioned = '"dltensor_versioned"' in repr(self.capsule)
        name, at = (b"dltensor_versioned", 10) if versioned else (b"dltensor", 2)
        header = (ctypes.c_int32 * 12).from_address(pointer(self.capsule, name))
        return header[at], header[at + 1]  # after the data's address


@function()
def from_dlpack(ext_tensor, *, device=None, copy=None):
    """A tensor in the memory of another library's array that speaks DLPack, or of a capsule; on
    another device, or copied, if asked."""
    if isinstance(ext_tensor, Tensor):
        _check_export(ext_tensor)
        out = ext_tensor.detach()
    else:
        if type(ext_tensor).__name__ == "PyCapsule":
            ext_tensor = _Capsule(ext_tensor)
        out = _over(ext_tensor)
    if device is not None and out.device != devices.canonical(device):
        if copy is False:
            raise ValueError(f"cannot move an array to {device} without a copy")
        return out.to(device)
    return out.clone() if copy else out


def _over(source):
    """A tensor in the memory of a source."""
    if isinstance(source, np.ndarray):
        return from_numpy(source)
    immutable = isinstance(source, jax.Array)
    if not immutable and hasattr(source, "__dlpack__") and source.__dlpack_device__()[0] == _CPU:
        try:
            array = np.from_dlpack(source)
        except (BufferError, RuntimeError, TypeError):  # a dtype that NumPy has not
            pass
        else:
            return from_numpy(bridge.writable(array))
    with jax.enable_x64(True):
        return from_jax(jax.dlpack.from_dlpack(source))
