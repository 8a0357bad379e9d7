"""Storages as PyTorch shows them: the flat memory behind a tensor and its views."""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported, warn_once
from torchlike._engine.flush import host_array
from torchlike._tensor import views
from torchlike._tensor.forms import FUNCTIONS, METHODS, method
from torchlike._tensor.tensor import Tensor


class _Storage:
    """What both kinds of storage share: a handle to the one cell of a tensor and its views."""

    dtype: dt.dtype

    def __init__(self, tensor):
        self._tensor = tensor
        self._cell = views.storage_of(tensor)
        self._pointer = METHODS["data_ptr"](tensor) - (
            views.geometry(tensor)[1] * tensor.element_size()
        )

    @property
    def device(self):
        """The device that holds the data."""
        return self._cell.value.aval.device

    @property
    def is_cuda(self) -> bool:
        """Whether it lies on a GPU."""
        return self.device.type == "cuda"

    @property
    def is_sparse(self) -> bool:
        """Always False."""
        return False

    def nbytes(self) -> int:
        """Bytes of the whole storage."""
        a = self._cell.value.aval
        return a.numel * a.dtype.itemsize

    def __sizeof__(self) -> int:
        return super().__sizeof__() + self.nbytes()

    def data_ptr(self) -> int:
        """The number that tells storages apart."""
        return self._pointer

    def size(self) -> int:
        """The number of elements."""
        return self.nbytes() // self.element_size()

    def __len__(self) -> int:
        return self.size()

    def tolist(self) -> list:
        """The elements as Python numbers."""
        return self._elements().tolist()

    def __getitem__(self, index):
        found = self._elements()[index]
        return found.tolist() if isinstance(index, slice) else found.item()

    def __iter__(self):
        return iter(self.tolist())

    def as_tensor(self, dtype: dt.dtype):
        """All elements, as a tensor of a dtype over the same memory.

        Raises ``RuntimeError`` if the storage is typed, of another dtype.
        """
        if self.dtype is not dtype and isinstance(self, TypedStorage):
            raise RuntimeError(
                f"Expected a Storage of type {dt.C_NAMES.get(dtype, dtype)} or an UntypedStorage, "
                f"but got type {dt.SCALAR_NAMES[self.dtype]} for argument 1 'storage'"
            )
        flat = views.root_handle(self._tensor).view(-1)
        return flat if flat.dtype is dtype else flat.view(dtype)

    def __setitem__(self, index, value):
        self.as_tensor(self.dtype)[index] = value

    def fill_(self, value):
        """Overwrite all elements with a number."""
        self.as_tensor(self.dtype).fill_(value)
        return self

    def copy_(self, source, non_blocking: bool | None = None):
        """Overwrite with the elements of another storage."""
        self.as_tensor(self.dtype).copy_(source.as_tensor(source.dtype))
        return self

    def clone(self):
        """A copy with memory of its own."""
        return type(self)(self.as_tensor(self.dtype).clone())

    def cpu(self):
        """Itself on the CPU, a copy from elsewhere."""
        return self if self.device.type == "cpu" else type(self)(self._tensor.cpu())

    def is_shared(self) -> bool:
        """Whether another process may read the memory."""
        return self._tensor.is_shared()

    def is_pinned(self, device=None) -> bool:
        """Always False."""
        return False

    def __copy__(self):
        return self.clone()

    def __deepcopy__(self, memo):
        return type(self)(deepcopy(self._tensor.detach(), memo))  # shares what its tensors share

    def resize_(self, size):
        """Not supported: raises ``NotSupported``."""
        raise NotSupported("resizing a storage", "make a new tensor")

    def __eq__(self, other):
        return type(self) is type(other) and self._cell is other._cell

    def __hash__(self):
        return id(self._cell)

    def __reduce__(self):
        dtype = getattr(self, "dtype", dt.uint8)
        return type(self), (FUNCTIONS["tensor"](np.array(self._elements()), dtype=dtype),)

    def __repr__(self) -> str:
        lines = [f" {x}" for x in self.tolist()]
        return "\n".join([*lines, f"[torch.storage.{self._title()} of size {len(self)}]"])


def _tensor_of(given, dtype, device):
    """What a storage is made over: a tensor, as many elements, or the elements themselves."""
    if isinstance(given, Tensor):
        return given
    make = FUNCTIONS["empty" if isinstance(given, int) else "tensor"]
    return make(given, dtype=dtype, device=device)


class UntypedStorage(_Storage):
    """The bytes behind a tensor (https://pytorch.org/docs/stable/storage.html).

    Made from a number of bytes, it belongs to no tensor.
    """

    dtype = dt.uint8

    def __init__(self, *args, device=None):
        (given,) = args or (0,)
        super().__init__(_tensor_of(given, dt.uint8, device))

    def element_size(self) -> int:
        """One byte."""
        return 1

    def _elements(self):
        return np.frombuffer(np.ascontiguousarray(host_array(self._cell.value)), np.uint8)

    def _title(self):
        return f"UntypedStorage(device={self.device})"


class TypedStorage(_Storage):
    """The elements behind a tensor (https://pytorch.org/docs/stable/storage.html)."""

    def __init__(self, *args, wrap_storage=None, dtype=None, device=None, _internal=False):
        if wrap_storage is not None:
            raise NotSupported("TypedStorage(wrap_storage=)", "use torch.frombuffer or a tensor")
        (given,) = args or (0,)
        tensor = _tensor_of(given, dtype or dt.get_default_dtype(), device)
        super().__init__(tensor)
        self.dtype = tensor.dtype

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    def type(self, dtype=None, non_blocking=False):
        """The name of its legacy type, or a storage of another dtype."""
        if dtype is None:
            return f"torch.{dt.SCALAR_NAMES[self.dtype]}Storage"
        return TypedStorage(self.as_tensor(self.dtype).to(getattr(dtype, "dtype", dtype)))

    def untyped(self) -> UntypedStorage:
        """The same memory as bytes."""
        return UntypedStorage(self._tensor)

    def _elements(self):
        flat = np.ascontiguousarray(host_array(self._cell.value)).reshape(-1)
        flat = flat.view(self.dtype.numpy)
        half = self.dtype.category == dt.FLOATING and self.dtype.itemsize < 4
        return flat.astype(np.float32) if half else flat

    def _title(self):
        return f"TypedStorage(dtype={self.dtype}, device={self.device})"


def _cast(d):
    def cast(self):
        return self if self.dtype is d else self.type(d)

    cast.__doc__ = f"As {d!r}."
    return cast


_NAMES = {
    "float": dt.float32, "double": dt.float64, "half": dt.float16, "bfloat16": dt.bfloat16,
    "long": dt.int64, "int": dt.int32, "short": dt.int16, "char": dt.int8, "byte": dt.uint8,
    "bool": dt.bool_, "complex_float": dt.complex64, "complex_double": dt.complex128,
}  # fmt: skip
for _name, _d in _NAMES.items():
    setattr(TypedStorage, _name, _cast(_d))


class _Legacy(type):
    """The classes ``torch.FloatStorage`` and its kin: typed storages of one dtype."""

    def __instancecheck__(cls, x) -> bool:
        return isinstance(x, TypedStorage) and x.dtype is cls._of()

    def __call__(cls, *args, **kwargs):
        return TypedStorage(*args, dtype=cls._of(), **kwargs)

    def _of(cls) -> dt.dtype:
        return cls.dtype or dt.get_default_dtype()


def _legacy(name: str, dtype):
    text = f"Legacy type of storages of dtype {dtype or 'that is the default'}."
    scope = {"dtype": dtype, "__module__": "torchlike", "__doc__": text, "__slots__": ()}
    return _Legacy(name, (), scope)


_LEGACY = {d: _legacy(f"{dt.SCALAR_NAMES[d]}Storage", d) for d in _NAMES.values()}


def legacy_storage(d: dt.dtype):
    """The legacy class of storages of a dtype, ``TypedStorage`` where there is none."""
    return _LEGACY.get(d, TypedStorage)


FUNCTIONS.update({c.__name__: c for c in _LEGACY.values()}, Storage=_legacy("Storage", None))

for _class in (UntypedStorage, TypedStorage):
    _class.__module__ = "torchlike.storage"


@method("untyped_storage")
def untyped_storage(self) -> UntypedStorage:
    """The bytes that the tensor and its views share."""
    return UntypedStorage(self)


@method("storage")
def storage(self) -> TypedStorage:
    """The elements that the tensor and its views share."""
    warn_once(
        "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be "
        "the only storage class. This should only matter to you if you are using storages "
        "directly.  To access UntypedStorage directly, use tensor.untyped_storage() instead of "
        "tensor.storage()"
    )
    return TypedStorage(self)


@method("is_set_to")
def is_set_to(self, tensor) -> bool:
    """Whether both show the same elements of the same storage in the same way."""
    return (
        views.storage_of(self) is views.storage_of(tensor)
        and self._value.aval.shape == tensor._value.aval.shape
        and views.geometry(self) == views.geometry(tensor)
    )
