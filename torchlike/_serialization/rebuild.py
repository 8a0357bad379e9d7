"""What the names of torch in a file stand for when it is read: storages, tensors, dtypes, sizes."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .records import (
    DTYPE_NAMES,
    STORAGE_CLASSES,
    Makers,
    StorageRecord,
    numpy_dtype,
    window_end,
)

# (key, numpy dtype to read it as, numel) -> the elements
ReadStorage = Callable[[str, np.dtype, int], np.ndarray]
MapLocation = Callable[[StorageRecord, str], "str | None"]

_SPARSE = "torch._utils._rebuild_sparse_tensor"
_LAYOUTS = (
    "strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "jagged",
)  # fmt: skip
_UNSUPPORTED = {
    _SPARSE: "a sparse tensor; save x.to_dense()",
    "torch._utils._rebuild_qtensor": "a quantized tensor; save x.dequantize()",
    "torch._utils._rebuild_nested_tensor": "a nested tensor; save its parts as a list",
    "torch._utils._rebuild_wrapper_subclass": "a tensor subclass that wraps another tensor",
    "torch.complex32": "a tensor of dtype torch.complex32; save x.to(torch.complex64)",
}
_LARGEST_INT = 2**63 - 1


@dataclass(frozen=True)
class StorageKind:
    """`torch.FloatStorage` and its like, as a value in a pickle."""

    name: str
    dtype_name: str


@dataclass(frozen=True, eq=False)
class StoragePart:
    """A slice of a storage that a very old file gives a name of its own."""

    root: StorageRecord
    offset: int


@dataclass(frozen=True)
class Layout:
    """A layout of sparse tensors, as `"sparse_coo"`."""

    name: str


class TensorClass:
    """Stands for the class torch.Tensor, or Parameter, where a file names it as a type."""


def storage_kind(module: str, name: str) -> StorageKind | None:
    """The storage class of this name, if it is one."""
    if module not in ("torch", "torch.cuda", "torch.storage"):
        return None
    if name == "UntypedStorage":
        return StorageKind(name, "uint8")
    if name in STORAGE_CLASSES:
        return StorageKind(name, STORAGE_CLASSES[name])
    if name.endswith("Storage"):
        raise pickle.UnpicklingError(f"storages of type {module}.{name} are not supported")
    return None


def is_index(value: object) -> bool:
    """Whether `value` can be a size, a stride, an offset or a count."""
    return type(value) is int and 0 <= value <= _LARGEST_INT


class Storages:
    """Reads each storage of a file once, when the pickle first mentions it."""

    def __init__(self, read: ReadStorage, map_location: MapLocation | None) -> None:
        self._read = read
        self._map_location = map_location
        self._records: dict[str, tuple[StorageKind, StorageRecord]] = {}

    def load(self, persistent_id: Any) -> StorageRecord | StoragePart:
        kind, key, location, numel, part = parse_persistent_id(persistent_id)
        before, record = self._records.get(key, (kind, None))
        if before.dtype_name != kind.dtype_name:
            raise RuntimeError(
                f"storage {key} is in the file as {before.name} and as {kind.name}; "
                "save a clone() of one of the tensors that view it"
            )
        if record is None:
            array = self._read(key, numpy_dtype(kind.dtype_name), numel)
            if array.dtype == np.bool_ and array.view(np.uint8).max(initial=0) > 1:
                array = array.view(np.uint8) != 0  # a bool of 2 is no bool to anybody
            record = StorageRecord(key, kind.dtype_name, array, location)
            if self._map_location is not None:
                mapped = self._map_location(record, location)
                record.location = location if mapped is None else mapped
            self._records[key] = (kind, record)
        return record if part is None else StoragePart(record, part)


def module_class(pid: Any) -> Any:
    """The class in a persistent id of a Module, which old files give with its source code."""
    if type(pid) is tuple and len(pid) == 4 and _text(pid[0]) == "module":
        return pid[1]
    return None


def parse_persistent_id(pid: Any) -> tuple[StorageKind, str, str, int, int | None]:
    """The kind, key, location, numel and offset of the part that a persistent id states."""
    if type(pid) is not tuple or len(pid) not in (5, 6) or _text(pid[0]) != "storage":
        raise pickle.UnpicklingError("Only persistent_load of storage is allowed")
    kind, key, location, numel = pid[1], _text(pid[2]), _text(pid[3]), pid[4]
    if type(kind) is not StorageKind or type(key) is not str or type(location) is not str:
        raise pickle.UnpicklingError("the description of a storage is corrupt")
    if not is_index(numel):
        raise pickle.UnpicklingError("the number of elements of a storage is corrupt")
    if len(pid) == 5 or pid[5] is None:
        return kind, key, location, numel, None
    if type(pid[5]) is not tuple or len(pid[5]) != 3 or not is_index(pid[5][1]):
        raise pickle.UnpicklingError("the description of a part of a storage is corrupt")
    return kind, key, location, numel, pid[5][1]


def _text(value: Any) -> Any:
    """Python 2's files give their names as bytes."""
    if type(value) is bytes and value.isascii():
        return value.decode("ascii")
    return value


class Rebuilder:
    """The allowed names of torch, and what takes the place of each."""

    def __init__(self, makers: Makers) -> None:
        self._makers = makers
        self._types: dict[StorageRecord, str] = {}
        # Everything here may be called by a file, and checks its arguments itself.
        self.functions: dict[str, Callable[..., Any]] = {
            "torch._utils._rebuild_tensor": self._tensor_v1,
            "torch._utils._rebuild_tensor_v2": self._tensor_v2,
            "torch._utils._rebuild_tensor_v3": self._tensor_v3,
            "torch._utils._rebuild_parameter": self._parameter,
            "torch._utils._rebuild_parameter_with_state": self._parameter_with_state,
            "torch._tensor._rebuild_from_type_v2": self._from_type,
            "torch.tensor._rebuild_from_type_v2": self._from_type,
            "torch.Size": self._size,
            "torch.device": self._device,
        }
        if makers.sparse is not None:
            self.functions[_SPARSE] = self._sparse
        if makers.sparse is not None or makers.layout is not None:
            self.functions["torch.serialization._get_layout"] = self._layout
        if makers.meta is not None:
            self.functions["torch._utils._rebuild_meta_tensor_no_storage"] = self._meta
        self._dtypes: dict[str, Any] = {}  # those that the file has named
        self._layouts: dict[int, tuple[Any, Layout]] = {}
        self._tensor_class = TensorClass()
        # What may become a Parameter; None for anything. A type gets in by being made here.
        self.tensor_types: set[type] | None = None

    def find(self, module: str, name: str) -> Any:
        """What a name of torch stands for; None for a name that is not known."""
        path = f"{module}.{name}"
        if path in self.functions:
            return self.functions[path]
        if module == "torch" and name in DTYPE_NAMES:
            return self._dtypes.setdefault(name, self._makers.dtype(name))
        if path in ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter"):
            return self._makers.classes.get(path, self._tensor_class)
        if path in _UNSUPPORTED:
            raise pickle.UnpicklingError(
                f"the file has what is not supported: {_UNSUPPORTED[path]}"
            )
        return storage_kind(module, name)

    # ---- tensors ------------------------------------------------------------

    def _tensor_v1(self, storage: Any, offset: Any, size: Any, stride: Any) -> Any:
        return self._tensor(storage, offset, size, stride, False, None)

    def _tensor_v2(
        self,
        storage: Any,
        offset: Any,
        size: Any,
        stride: Any,
        requires_grad: Any,
        hooks: Any,
        metadata: Any = None,
    ) -> Any:
        if not metadata:
            return self._tensor(storage, offset, size, stride, requires_grad, hooks)
        if (
            not isinstance(metadata, dict)
            or not set(metadata) <= {"conj", "neg"}
            or not all(type(x) is bool for x in metadata.values())
        ):
            raise pickle.UnpicklingError("the description of a tensor is corrupt")
        made = self._tensor(storage, offset, size, stride, False, hooks)
        made = made.conj() if metadata.get("conj") else made
        made = made.neg() if metadata.get("neg") else made
        return made.requires_grad_() if requires_grad else made

    def _tensor_v3(
        self,
        storage: Any,
        offset: Any,
        size: Any,
        stride: Any,
        requires_grad: Any,
        hooks: Any,
        dtype: Any,
        metadata: Any = None,
    ) -> Any:
        names = [name for name, made in self._dtypes.items() if made is dtype]
        if not names or type(storage) is not StorageRecord:
            raise pickle.UnpicklingError("the description of a tensor is corrupt")
        self._set_type(storage, names[0])
        return self._tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata)

    def _set_type(self, storage: StorageRecord, dtype_name: str) -> None:
        """Give an untyped storage the type of its first tensor."""
        if self._types.setdefault(storage, dtype_name) != dtype_name:
            raise RuntimeError(
                f"storage {storage.key} is in the file as torch.{self._types[storage]} and as "
                f"torch.{dtype_name}; save a clone() of one of the tensors that view it"
            )
        if storage.dtype_name != dtype_name:
            if storage.array.nbytes % numpy_dtype(dtype_name).itemsize:
                raise RuntimeError(f"storage {storage.key} does not hold whole torch.{dtype_name}s")
            storage.array = storage.array.view(numpy_dtype(dtype_name))
            storage.dtype_name = dtype_name

    def _tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any
    ) -> Any:
        if type(storage) is StoragePart and is_index(offset):
            storage, offset = storage.root, storage.offset + offset
        if (
            type(storage) is not StorageRecord
            or type(requires_grad) is not bool
            or not isinstance(size, tuple)
            or not isinstance(stride, tuple)
            or not len(stride) == len(size) <= 64
            or not all(map(is_index, (offset, *size, *stride)))
            or not _are_hooks(hooks)
        ):
            raise pickle.UnpicklingError("the description of a tensor is corrupt")
        if math.prod(size) > _LARGEST_INT:
            raise RuntimeError(f"a tensor of the file is too large: {size=}")
        if window_end(offset, size, stride) > storage.numel:
            raise RuntimeError(
                f"setStorage: {size=}, {stride=}, {offset=} are out of bounds for storage "
                f"{storage.key} of {storage.numel} elements"
            )
        made = self._makers.tensor(
            storage, offset, tuple(size), tuple(stride), requires_grad, hooks
        )
        if self.tensor_types is not None:
            self.tensor_types.add(type(made))
        return made

    def _meta(self, dtype: Any, size: Any, stride: Any, requires_grad: Any) -> Any:
        if (
            not any(made is dtype for made in self._dtypes.values())
            or not isinstance(size, tuple)
            or not isinstance(stride, tuple)
            or not len(stride) == len(size) <= 64
            or not all(map(is_index, (*size, *stride)))
            or type(requires_grad) is not bool
            or math.prod(size) > _LARGEST_INT
        ):
            raise pickle.UnpicklingError("the description of a tensor is corrupt")
        made = self._makers.meta(dtype, tuple(size), tuple(stride), requires_grad)
        if self.tensor_types is not None:
            self.tensor_types.add(type(made))
        return made

    def _layout(self, name: Any) -> Any:
        found = _text(name)
        if type(found) is not str or found.removeprefix("torch.") not in _LAYOUTS:
            raise pickle.UnpicklingError("the layout of a tensor is unknown")
        name = found.removeprefix("torch.")
        if self._makers.layout is None:
            return Layout(name)
        made = self._makers.layout(name)
        self._layouts[id(made)] = made, Layout(name)
        return made

    def _sparse(self, layout: Any, data: Any) -> Any:
        """A sparse tensor of parts that were rebuilt before; its maker checks the indices."""
        layout = self._layouts.get(id(layout), (None, layout))[1]
        coordinates = layout == Layout("sparse_coo")
        count = 2 if coordinates else 3
        if type(data) is tuple and coordinates and len(data) == count + 1:
            data = (*data, False)  # files of before is_coalesced was written
        if (
            type(layout) is not Layout
            or not layout.name.startswith("sparse_")
            or type(data) is not tuple
            or len(data) != count + 1 + coordinates
            or not isinstance(data[count], tuple)
            or len(data[count]) > 64
            or not all(map(is_index, data[count]))
            or not all(self._is_tensor(x) for x in data[:count])
            or not isinstance(data[-1], (bool, type(None), tuple))
        ):
            raise pickle.UnpicklingError("the description of a sparse tensor is corrupt")
        coalesced = coordinates and data[-1] is True
        made = self._makers.sparse(layout.name, data[:count], tuple(data[count]), coalesced)
        if self.tensor_types is not None:
            self.tensor_types.add(type(made))
        return made

    def _is_tensor(self, x: Any) -> bool:
        return self.tensor_types is None or type(x) in self.tensor_types

    def _parameter(self, data: Any, requires_grad: Any, hooks: Any) -> Any:
        known = self.tensor_types is None or type(data) in self.tensor_types
        if not known or type(requires_grad) is not bool or not _are_hooks(hooks):
            raise pickle.UnpicklingError("the description of a parameter is corrupt")
        return self._makers.parameter(data, requires_grad, hooks)

    def _parameter_with_state(self, data: Any, requires_grad: Any, hooks: Any, state: Any) -> Any:
        return _with_attributes(self._parameter(data, requires_grad, hooks), state)

    def _from_type(self, function: Any, cls: Any, args: Any, state: Any) -> Any:
        """A tensor with attributes of its own."""
        plain = cls is self._tensor_class or cls in self._makers.classes.values()
        base = self._makers.classes.get("torch.Tensor")
        # A class of a user's own gets here only if the file may name it.
        own = not plain and base and isinstance(cls, type) and issubclass(cls, base)
        if not (plain or own) or not self.has(function):
            raise pickle.UnpicklingError("the file has a subclass of Tensor, which is unknown here")
        if type(args) is not tuple:
            raise pickle.UnpicklingError("the description of a tensor is corrupt")
        made = self.call(function, args)
        if plain:
            return _with_attributes(made, state)
        made = made.as_subclass(cls)
        if cls.__setstate__ is not base.__setstate__:
            made.__setstate__(state)
            return made
        for part in state if type(state) is tuple else (state,):
            for name, value in (part or {}).items():
                setattr(made, name, value)
        return made

    def has(self, function: Any) -> bool:
        """Whether this is one of `functions`."""
        return any(function is known for known in self.functions.values())

    def call(self, function: Callable[..., Any], args: tuple) -> Any:
        """`function(*args)`, with a clean error for a wrong number of arguments."""
        low, high = _argument_counts(function)
        if not low <= len(args) <= high:
            raise pickle.UnpicklingError(f"{len(args)} arguments where {low} are expected")
        return function(*args)

    # ---- small objects ------------------------------------------------------

    def _size(self, sizes: Any) -> Any:
        if not isinstance(sizes, (tuple, list)) or not all(map(is_index, sizes)):
            raise pickle.UnpicklingError("a torch.Size in the file is corrupt")
        return self._makers.size(tuple(sizes))

    def _device(self, kind: Any, index: Any = None) -> Any:
        kind = _text(kind)
        if type(kind) is not str or not (index is None or type(index) is int):
            raise pickle.UnpicklingError("a torch.device in the file is corrupt")
        return self._makers.device(kind) if index is None else self._makers.device(kind, index)


def _are_hooks(hooks: Any) -> bool:
    return hooks is None or isinstance(hooks, dict)


def _argument_counts(function: Any) -> tuple[int, int]:
    code = function.__func__.__code__
    high = code.co_argcount - 1  # without self
    return high - len(function.__func__.__defaults__ or ()), high


def _with_attributes(obj: Any, state: Any) -> Any:
    """Set what the file says were attributes; never a method, never a name of Python's own."""
    # PyTorch writes (values of __dict__, values of slots) where a class has slots.
    parts = state if type(state) is tuple else (state,)
    for part in parts:
        if part is None:
            continue
        if type(part) is not dict:
            raise pickle.UnpicklingError("the attributes of a tensor are corrupt")
        for name, value in part.items():
            if type(name) is not str or name.startswith("__") or hasattr(type(obj), name):
                raise pickle.UnpicklingError(
                    "a tensor in the file sets what is not an attribute of its own"
                )
            try:
                setattr(obj, name, value)
            except AttributeError as error:
                raise pickle.UnpicklingError(f"a tensor in the file: {error}") from None
    return obj
