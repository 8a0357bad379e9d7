"""Tensors in safetensors files (https://huggingface.co/docs/safetensors), by the package of that
name, which ``pip install torchlike[safetensors]`` brings: the functions of its ``torch`` module.
"""

from __future__ import annotations

import json
import os
import struct
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._engine.flush import host_array
from torchlike._tensor import views
from torchlike._tensor.creation import from_host
from torchlike._tensor.dispatch import value_of
from torchlike._tensor.tensor import Tensor
from torchlike.nn import Module

__all__ = ["load", "load_file", "load_model", "safe_open", "save", "save_file", "save_model"]

_DTYPES = {
    "F64": dt.float64, "F32": dt.float32, "F16": dt.float16, "BF16": dt.bfloat16,
    "I64": dt.int64, "I32": dt.int32, "I16": dt.int16, "I8": dt.int8,
    "U64": dt.uint64, "U32": dt.uint32, "U16": dt.uint16, "U8": dt.uint8, "BOOL": dt.bool_,
    "F8_E4M3": dt.float8_e4m3fn, "F8_E5M2": dt.float8_e5m2, "C64": dt.complex64,
    "F8_E4M3FNUZ": dt.float8_e4m3fnuz, "F8_E5M2FNUZ": dt.float8_e5m2fnuz,
    "F8_E8M0": dt.float8_e8m0fnu,
}  # fmt: skip


def _library():
    try:
        import safetensors
    except ImportError as error:
        raise ImportError("safetensors files need: pip install torchlike[safetensors]") from error
    return safetensors


# ---- reading -----------------------------------------------------------------------------------


class safe_open:
    """A file whose tensors are read one by one; a context manager.

    ``framework`` is any of PyTorch's names, "pt", "torch" or "pytorch". Raises ``SafetensorError``
    for a file that is none and ``FileNotFoundError`` for no file.
    """

    def __init__(self, filename, framework="pt", device="cpu", *, backend: str = "mmap"):
        if framework not in ("pt", "torch", "pytorch"):
            raise NotSupported(f"safe_open(framework={framework!r})", "use safetensors.safe_open")
        self._device = _device(device)
        # The package checks the header: no tensor reaches out of the file or into another.
        self._checked = _library().safe_open(filename, framework="np", backend=backend)
        with open(filename, "rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            self._header = json.loads(file.read(size))
        self._header.pop("__metadata__", None)
        self._start = 8 + size
        # Private pages: what is written to a tensor never reaches the file.
        self._bytes = np.memmap(filename, np.uint8, "c").view(np.ndarray)

    def __enter__(self) -> safe_open:
        return self

    def __exit__(self, *exc) -> None:
        self._checked.__exit__(*exc)
        self._bytes = None

    def keys(self) -> list[str]:
        """The names of the tensors."""
        return self._checked.keys()

    def offset_keys(self) -> list[str]:
        """The names of the tensors in the order of the file."""
        return sorted(self._header, key=lambda name: self._header[name]["data_offsets"])

    def metadata(self) -> dict[str, str] | None:
        """The texts that were saved beside the tensors."""
        return self._checked.metadata()

    def _array(self, name: str) -> np.ndarray:
        if self._bytes is None:
            raise _library().SafetensorError("File is closed")
        if name not in self._header:
            raise _library().SafetensorError(f"File does not contain tensor {name}")
        entry = self._header[name]
        start, stop = (self._start + n for n in entry["data_offsets"])
        return _shaped(self._bytes[start:stop], entry["dtype"], entry["shape"])

    def get_tensor(self, name: str) -> Tensor:
        """A tensor; raises ``SafetensorError`` if there is none of this name."""
        return from_host(self._array(name), self._device)

    def get_tensors(self, names=None) -> dict[str, Tensor]:
        """Several tensors by name; all without names."""
        return {name: self.get_tensor(name) for name in (self.keys() if names is None else names)}

    def get_slice(self, name: str) -> _Slice:
        """A tensor whose parts are read by indexing."""
        return _Slice(self._array(name), self._header[name]["dtype"], self._device)


class _Slice:
    """A tensor of a file of which only what an index names is read."""

    def __init__(self, array: np.ndarray, dtype: str, device):
        self._array, self._dtype, self._device = array, dtype, device

    def get_shape(self) -> list[int]:
        """The shape of the whole."""
        return list(self._array.shape)

    def get_dtype(self) -> str:
        """The format's name of the dtype."""
        return self._dtype

    def __getitem__(self, index) -> Tensor:
        return from_host(np.ascontiguousarray(self._array[index]), self._device)


def _shaped(raw: np.ndarray, dtype: str, shape: list[int]) -> np.ndarray:
    if dtype not in _DTYPES:
        raise NotSupported(f"the dtype {dtype} of a safetensors file")
    numpy = _DTYPES[dtype].numpy
    array = raw.view(numpy).reshape(shape)
    return array if array.flags.aligned else array.copy()


def _device(device) -> devices.device:
    if isinstance(device, int):
        device = f"cuda:{device}"
    found = devices.canonical(device)
    if found is not devices.META:
        devices.jax_device(found)  # raises where there is none such
    return found


def load_file(filename, device="cpu", *, backend: str = "mmap") -> dict[str, Tensor]:
    """All tensors of a file, on a device. The file is mapped: its pages are read when needed."""
    with safe_open(filename, "pt", device, backend=backend) as file:
        return {name: file.get_tensor(name) for name in file.offset_keys()}


def load(data: bytes) -> dict[str, Tensor]:
    """All tensors of a file's bytes, on the CPU."""
    found = {}
    for name, entry in _library().deserialize(data):
        raw = np.frombuffer(bytearray(entry["data"]), np.uint8)
        found[name] = from_host(_shaped(raw, entry["dtype"], entry["shape"]), devices.CPU)
    return found


# ---- writing -----------------------------------------------------------------------------------


def save_file(tensors: dict[str, Tensor], filename, metadata: dict[str, str] | None = None) -> None:
    """Write tensors, and texts beside them, to a file.

    Raises ``RuntimeError`` for tensors that share memory and ``ValueError`` for what is no tensor
    or not dense and contiguous.
    """
    entries, arrays = _entries(tensors)
    _library().serialize_file(entries, os.fspath(filename), metadata=metadata)
    del arrays  # which had to live as long as that


def save(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes of a file of tensors; raises what ``save_file`` raises."""
    entries, arrays = _entries(tensors)
    data = bytes(_library().serialize(entries, metadata=metadata))
    del arrays
    return data


def _entries(tensors: dict[str, Tensor]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The package's description of each tensor, and the arrays that it points to."""
    _check(tensors)
    library, entries, arrays = _library(), {}, []
    for name, t in tensors.items():
        if not t.is_contiguous():
            raise ValueError(
                f"You are trying to save a non contiguous tensor: `{name}` which is not allowed. "
                "Call .contiguous() on it first, or save the tensor that it is a view of."
            )
        array = _host(t)
        arrays.append(array)
        entries[name] = library.TensorSpec(
            dtype=t.dtype.name, shape=list(t.shape), data_ptr=array.ctypes.data,
            data_len=array.nbytes,
        )  # fmt: skip
    return entries, arrays


def _host(t: Tensor) -> np.ndarray:
    """The bytes of a tensor, of which the caller keeps a reference."""
    array = np.ascontiguousarray(host_array(value_of(t)))
    return array.reshape(-1).view(np.uint8)


def _check(tensors) -> None:
    if not isinstance(tensors, dict):
        raise ValueError(f"Expected a dict of [str, torch.Tensor] but received {type(tensors)}")
    for name, t in tensors.items():
        if not isinstance(t, Tensor):
            raise ValueError(
                f"Key `{name}` is invalid, expected torch.Tensor but received {type(t)}"
            )
    sparse = [name for name, t in tensors.items() if repr(t.layout) != "torch.strided"]
    if sparse:
        raise ValueError(
            f"You are trying to save a sparse tensors: `{sparse}` which this library does not "
            "support. Make them dense with .to_dense() before saving."
        )
    shared = [names for names in _sharing(tensors) if len(names) > 1]
    if shared:
        raise RuntimeError(
            "Some tensors share memory, this will lead to duplicate memory on disk and potential "
            f"differences when loading them again: {shared}. save_model handles that for modules."
        )


# ---- modules, whose tensors may share memory ---------------------------------------------------


def _window(t: Tensor) -> tuple:
    """(key of the storage, its bytes, first byte, byte after the last) of a tensor."""
    size = t.dtype.itemsize
    if t._storage is None:
        return id(t), t.numel() * size, 0, t.numel() * size
    strides, offset = views.geometry(t)
    last = offset + sum((n - 1) * s for n, s in zip(t.shape, strides, strict=True))
    whole = t._storage.value.aval
    return (
        id(t._storage), whole.numel * whole.dtype.itemsize, offset * size,
        (last + 1) * size if t.numel() else offset * size,
    )  # fmt: skip


def _sharing(tensors: dict[str, Tensor]) -> Iterator[set[str]]:
    """The names whose tensors lie in one storage and overlap there."""
    storages = defaultdict(list)
    for name, t in tensors.items():
        if t.device is devices.META or not t.numel():
            continue
        key, _, start, stop = _window(t)
        storages[key].append((start, stop, name))
    for areas in storages.values():
        group, end = set(), None
        for start, stop, name in sorted(areas):
            if end is not None and start >= end:
                yield group
                group = set()
            group.add(name)
            end = stop
        yield group


def _covers(t: Tensor) -> bool:
    """Whether it is all of its storage."""
    _, whole, start, _ = _window(t)
    return start == 0 and t.numel() * t.dtype.itemsize == whole


def _duplicates(tensors: dict[str, Tensor], preferred=()) -> dict[str, list[str]]:
    """Of the names that share memory the one to keep: those that it stands for."""
    found = {}
    for names in _sharing(tensors):
        if len(names) < 2:
            continue
        complete = {name for name in names if _covers(tensors[name])}
        if not complete:
            raise RuntimeError(
                "Error while trying to find names to remove to save state dict, but found no "
                f"suitable name to keep for saving amongst: {names}. None is covering the entire "
                "storage. Refusing to save/load the model since you could be storing much more "
                "memory than needed."
            )
        keep = min(complete.intersection(preferred) or complete)
        found[keep] = sorted(names - {keep})
    return found


def save_model(
    model: Module, filename, metadata: dict[str, str] | None = None, force_contiguous: bool = True
) -> None:
    """Write a module's state; of names that share memory one, and the others into the metadata.

    Raises ``RuntimeError`` for shared memory that none of them covers.
    """
    state = dict(model.state_dict())
    for kept, others in _duplicates(state).items():
        for name in others:
            metadata = {} if metadata is None else metadata
            metadata.setdefault(name, kept)
            del state[name]
    if force_contiguous:
        state = {name: t.contiguous() for name, t in state.items()}
    try:
        save_file(state, filename, metadata=metadata)
    except ValueError as error:
        raise ValueError(f"{error} Or use save_model(..., force_contiguous=True).") from error


def load_model(
    model: Module, filename, strict: bool = True, device="cpu", *, backend: str = "mmap"
) -> tuple:
    """Read a module's state: (names that the file lacks, names that only the file has).

    Raises ``RuntimeError`` if there are any, unless ``strict`` is False.
    """
    state = load_file(filename, device=device, backend=backend)
    duplicates = _duplicates(dict(model.state_dict()), preferred=state)
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = set(missing)
    for name in (n for names in duplicates.values() for n in names):
        if name in missing:
            missing.remove(name)
        else:
            unexpected.append(name)
    if strict and (missing or unexpected):
        lines = [f"Error(s) in loading state_dict for {type(model).__name__}:"]
        for kind, names in (("Missing", missing), ("Unexpected", unexpected)):
            if names:
                quoted = ", ".join(f'"{name}"' for name in sorted(names))
                lines.append(f"    {kind} key(s) in state_dict: {quoted}")
        raise RuntimeError("\n".join(lines))
    return missing, unexpected
