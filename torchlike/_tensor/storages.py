"""Storages as PyTorch shows them: the flat memory behind a tensor and its views."""

from __future__ import annotations

import sys
from copy import deepcopy

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported, warn_once
from torchlike._engine.flush import host_array
from torchlike._tensor import views
from torchlike._tensor.forms import FUNCTIONS, METHODS, method
from torchlike._tensor.products import need_tensor


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

    is_sparse = is_hpu = False
    filename = None

    @property
    def _cdata(self) -> int:
        return id(self._cell)

    def get_device(self) -> int:
        """The number of the GPU that holds the data, -1 for the CPU."""
        return self._tensor.get_device()

    def resizable(self) -> bool:
        """Whether PyTorch could resize it."""
        return True

    def nbytes(self) -> int:
        """Bytes of the whole storage."""
        a = self._cell.value.aval
        return a.numel * a.dtype.itemsize

    def __sizeof__(self) -> int:
        return super().__sizeof__() + self.nbytes()

    def data_ptr(self) -> int:
        """The number that tells storages apart; 0 without data."""
        return 0 if self.device.type == "meta" else self._pointer

    def size(self) -> int:
        """The number of elements."""
        return self.nbytes() // self.element_size()

    def __len__(self) -> int:
        return self.size()

    def tolist(self) -> list:
        """The elements as Python numbers."""
        return self._known().tolist()

    def _known(self):
        if self.device.type == "meta":
            raise NotImplementedError("Not available for 'meta' device type")
        return self._elements()

    def _place(self, index) -> int:
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"index {index} out of range for storage of size {n}")
        return index

    def __iter__(self):
        return iter(self.tolist())

    def as_tensor(self, dtype: dt.dtype, place: str = " for argument 1 'storage'"):
        """All elements, as a tensor of a dtype over the same memory.

        Raises ``RuntimeError`` if the storage is typed, of another dtype.
        """
        if self.dtype is not dtype and isinstance(self, TypedStorage):
            wanted, found = dt.SCALAR_NAMES[dtype], dt.SCALAR_NAMES[self.dtype]
            if place:
                wanted, found = dt.C_NAMES.get(dtype, dtype), f"type {found}{place}"
            raise RuntimeError(
                f"Expected a Storage of type {wanted} or an UntypedStorage, but got {found}"
            )
        return self._as(dtype)

    def _as(self, dtype: dt.dtype):
        flat = views.root_handle(self._tensor).view(-1)
        if flat.dtype is dtype:
            return flat
        rest = self.nbytes() % dtype.itemsize
        if rest:
            flat = flat.view(dt.uint8)[: self.nbytes() - rest]
        return flat.view(dtype)

    def fill_(self, value):
        """Overwrite all elements with a number."""
        self[:] = value
        return self

    def copy_(self, source, non_blocking: bool | None = None):
        """Overwrite with the bytes of another storage."""
        if source.nbytes() != self.nbytes():
            raise RuntimeError(
                f"size does not match, self was {self.nbytes()} bytes but src was "
                f"{source.nbytes()} bytes"
            )
        self._as(dt.uint8).copy_(source._as(dt.uint8))
        return self

    def clone(self):
        """A copy with memory of its own."""
        return self._made(self._as(self.dtype).clone())

    def _made(self, tensor):
        return type(self)._over(tensor, self.dtype)

    def new(self):
        """An empty one of its kind."""
        return self._made(self._as(self.dtype)[:0].clone())

    def to(self, *, device, non_blocking: bool | None = None):
        """Itself on a device, a copy from elsewhere."""
        moved = self._as(self.dtype).to(device)
        return self if moved.device is self.device else self._made(moved)

    def cpu(self):
        """Itself on the CPU, a copy from elsewhere."""
        return self.to(device="cpu")

    def cuda(self, device=None, non_blocking: bool = False):
        """A copy on a GPU."""
        return self._made(self._as(self.dtype).cuda(device))

    def pin_memory(self, device=None):
        """``Tensor.pin_memory``."""
        return self._made(self._as(self.dtype).pin_memory())

    def share_memory_(self):
        """Move the memory to where other processes can see it; itself."""
        if self.device.type == "meta":
            raise RuntimeError("_share_fd_: only available on CPU")
        self._tensor.share_memory_()
        return self

    def is_shared(self) -> bool:
        """Whether another process may read the memory."""
        return self._tensor.is_shared()

    def is_pinned(self, device=None) -> bool:
        """Always False."""
        return False

    def __copy__(self):
        return self.clone()

    def __deepcopy__(self, memo):
        return self._made(deepcopy(self._tensor.detach(), memo))  # shares what its tensors share

    def _cast(self, dtype):
        return TypedStorage._over(self._as(self.dtype).to(dtype), dtype)

    def resize_(self, size):
        """Not supported: raises ``NotSupported``."""
        raise NotSupported("resizing a storage", "make a new tensor")

    def __eq__(self, other):
        return type(self) is type(other) and self._cell is other._cell

    def __hash__(self):
        return id(self._cell)

    def __reduce__(self):
        return type(self)._over, (self._as(self.dtype).clone(), self.dtype)

    @classmethod
    def _over(cls, tensor, dtype):
        """The storage of a tensor, read as elements of a dtype."""
        self = object.__new__(cls)
        _Storage.__init__(self, tensor)
        if cls is TypedStorage:
            self.dtype = dtype
        return self

    def __repr__(self) -> str:
        lines = [f" {x}" for x in self.tolist()]
        return "\n".join([*lines, f"[torch.storage.{self._title()} of size {len(self)}]"])


def _tensor_of(name, args, dtype, device):
    """What a storage is made over: as many elements, or the elements themselves."""
    if len(args) > 1:
        raise RuntimeError(
            f"{name} received an invalid combination of arguments. Too many positional arguments"
        )
    (given,) = args or (0,)
    if not isinstance(given, (int, list, tuple, range)):
        raise TypeError(
            f"{name} received an invalid combination of arguments. Argument type not recognized: "
            f"{type(given)}"
        )
    make = FUNCTIONS["empty" if isinstance(given, int) else "tensor"]
    return make(given, dtype=dtype, device=device)


class UntypedStorage(_Storage):
    """The bytes behind a tensor (https://pytorch.org/docs/stable/storage.html).

    Made from a number of bytes, it belongs to no tensor.
    """

    dtype = dt.uint8

    def __init__(self, *args, device=None):
        super().__init__(_tensor_of("torch.UntypedStorage()", args, dt.uint8, device))

    def element_size(self) -> int:
        """One byte."""
        return 1

    def __getitem__(self, index):
        if isinstance(index, slice):  # a copy, where PyTorch's shows the same bytes
            return UntypedStorage._over(self._as(dt.uint8)[index].clone(), dt.uint8)
        return self._known()[self._place(index)].item()

    def __setitem__(self, index, value):
        if not isinstance(value, int):
            raise RuntimeError(
                "can only set storage content with a int types, but got "
                f"{type(value).__name__} instead"
            )
        if not isinstance(index, slice) and not -len(self) <= index < len(self):
            raise RuntimeError("out of bounds")
        self._as(dt.uint8)[index] = value

    def type(self, dtype=None, non_blocking=False):
        """The name of the class."""
        return "torch.storage.UntypedStorage"

    def untyped(self):
        """Itself."""
        return self

    def byteswap(self, dtype) -> None:
        """Turn the bytes of each element of a dtype around, in place."""
        size = dtype.itemsize // (2 if dtype.is_complex else 1)
        self._as(dt.uint8).view(-1, size).copy_(self._as(dt.uint8).view(-1, size).flip(1))

    @classmethod
    def from_file(cls, filename, shared: bool = False, nbytes: int = 0):
        """The bytes of a file; if ``shared``, writes go into it."""
        return cls._over(FUNCTIONS["from_file"](filename, shared, nbytes, dtype=dt.uint8), None)

    def _elements(self):
        return np.frombuffer(np.ascontiguousarray(host_array(self._cell.value)), np.uint8)

    def _title(self):
        return f"UntypedStorage(device={self.device})"


class TypedStorage(_Storage):
    """The elements behind a tensor (https://pytorch.org/docs/stable/storage.html)."""

    def __init__(self, *args, wrap_storage=None, dtype=None, device=None, _internal=False):
        name = "TypedStorage.__init__"
        if wrap_storage is None:
            tensor = _tensor_of(name, args, dtype or dt.get_default_dtype(), device)
            super().__init__(tensor)
            self.dtype = tensor.dtype
            return
        wrong = f"{name} received an invalid combination of arguments."
        if args:
            raise RuntimeError(f"{wrong} No positional arguments should be given with wrap_storage")
        if dtype is None:
            raise RuntimeError(f"{wrong} Argument 'dtype' must be specified")
        if not isinstance(dtype, dt.dtype):
            raise TypeError(f"{wrong} Argument 'dtype' must be torch.dtype, not {type(dtype)}")
        if device is not None:
            raise RuntimeError(f"{wrong} Argument 'device' should not be specified")
        if not isinstance(wrap_storage, UntypedStorage):
            raise TypeError(
                f"{wrong} Argument 'wrap_storage' must be UntypedStorage, not {type(wrap_storage)}"
            )
        super().__init__(wrap_storage._tensor)
        self.dtype = dtype

    def __getitem__(self, index):
        if isinstance(index, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        if not isinstance(index, int):
            raise RuntimeError(f"can't index a {type(self)} with {type(index)}")
        return self._known()[self._place(index)].item()

    def __setitem__(self, index, value):
        if not isinstance(index, (int, slice)):
            raise RuntimeError(f"can't index a {type(self)} with {type(index)}")
        if isinstance(value, _Storage):
            raise RuntimeError(f"cannot set item with value type {type(value)}")
        self._as(self.dtype)[index] = value

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    def type(self, dtype=None, non_blocking=False):
        """The name of its legacy type, or a storage of another dtype."""
        if dtype is None:
            return f"torch.{dt.SCALAR_NAMES[self.dtype]}Storage"
        return self._cast(getattr(dtype, "dtype", dtype))

    def untyped(self) -> UntypedStorage:
        """The same memory as bytes."""
        return UntypedStorage._over(self._tensor, None)

    _untyped_storage = property(untyped)

    def pickle_storage_type(self) -> str:
        """The name of its legacy class."""
        return f"{dt.SCALAR_NAMES[self.dtype]}Storage"

    _pickle_storage_type = pickle_storage_type

    def _elements(self):
        flat = np.ascontiguousarray(host_array(self._cell.value)).reshape(-1)
        flat = flat.view(self.dtype.numpy)
        half = self.dtype.category == dt.FLOATING and self.dtype.itemsize < 4
        return flat.astype(np.float32) if half else flat

    def _title(self):
        return f"TypedStorage(dtype={self.dtype}, device={self.device})"


def _cast(d):
    def cast(self):
        if self.dtype is d and isinstance(self, TypedStorage):
            return self
        return self._cast(d)

    cast.__doc__ = f"As {d!r}."
    return cast


_NAMES = {
    "float": dt.float32, "double": dt.float64, "half": dt.float16, "bfloat16": dt.bfloat16,
    "long": dt.int64, "int": dt.int32, "short": dt.int16, "char": dt.int8, "byte": dt.uint8,
    "bool": dt.bool_, "complex_float": dt.complex64, "complex_double": dt.complex128,
}  # fmt: skip
for _name, _d in _NAMES.items():
    setattr(_Storage, _name, _cast(_d))


class _Legacy(type):
    """The classes ``torch.FloatStorage`` and its kin: typed storages of one dtype."""

    def __instancecheck__(cls, x) -> bool:
        return isinstance(x, TypedStorage) and x.dtype is cls._of()

    def __call__(cls, *args, wrap_storage=None, _internal=False, **kwargs):
        for name in ("device", "dtype"):
            if name in kwargs:
                raise RuntimeError(
                    f"{cls}.__new__ received an invalid combination of arguments. Keyword argument "
                    f"'{name}' cannot be specified"
                )
        for name in kwargs:
            raise TypeError(f"TypedStorage.__new__() got an unexpected keyword argument '{name}'")
        return TypedStorage(*args, wrap_storage=wrap_storage, dtype=cls._of())

    def from_buffer(cls, buffer, byte_order: str | None = None):
        """A copy of the bytes of a buffer, in the order "native", "big" or "little"."""
        dtype = cls._of()
        single = dtype.itemsize == 1
        if byte_order is None and not single:
            raise RuntimeError("function missing required argument 'byte_order' (pos 2)")
        if byte_order not in (None, "native", "big", "little"):
            raise ValueError(
                f"invalid byte_order '{byte_order}' (expected 'big', 'little', or 'native')"
            )
        data = np.frombuffer(buffer, np.uint8)
        if data.size % dtype.itemsize:
            raise ValueError(
                f"buffer size ({data.size}) must be a multiple of element size ({dtype.itemsize})"
            )
        if byte_order not in (None, "native", sys.byteorder) and not dtype.is_complex:
            data = data.reshape(-1, dtype.itemsize)[:, ::-1].reshape(-1)
        if dtype is dt.bool_:
            data = data != 0
        return TypedStorage._over(FUNCTIONS["tensor"](np.array(data)).view(dtype), dtype)

    def from_file(cls, filename, shared: bool = False, size: int = 0):
        """The elements of a file; if ``shared``, writes go into it."""
        tensor = FUNCTIONS["from_file"](filename, shared, size, dtype=cls._of())
        return TypedStorage._over(tensor, cls._of())

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
    return UntypedStorage._over(self, None)


@method("storage")
def storage(self) -> TypedStorage:
    """The elements that the tensor and its views share."""
    warn_once(
        "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be "
        "the only storage class. This should only matter to you if you are using storages "
        "directly.  To access UntypedStorage directly, use tensor.untyped_storage() instead of "
        "tensor.storage()"
    )
    return TypedStorage._over(self, self.dtype)


@method("is_set_to")
def is_set_to(self, tensor) -> bool:
    """Whether both show the same elements of the same storage in the same way."""
    need_tensor("is_set_to", "tensor", 1, tensor)
    return (
        views.storage_of(self) is views.storage_of(tensor)
        and self._value.aval.shape == tensor._value.aval.shape
        and views.geometry(self) == views.geometry(tensor)
    )
