"""Storages as PyTorch shows them: the flat memory behind a tensor and its views, to be read."""

from __future__ import annotations

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported, warn_once
from torchlike._engine.flush import host_array
from torchlike._tensor import views
from torchlike._tensor.forms import FUNCTIONS, METHODS, method
from torchlike._tensor.tensor import Tensor


class _Reading:
    """What both kinds of storage share: a handle to the one cell of a tensor and its views."""

    def __init__(self, tensor):
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

    def __setitem__(self, index, value):
        raise NotSupported("writing to a storage", "write to a tensor over it")

    def resize_(self, size):
        """Not supported: raises ``NotSupported``."""
        raise NotSupported("resizing a storage", "make a new tensor")

    def __eq__(self, other):
        return type(self) is type(other) and self._cell is other._cell

    def __hash__(self):
        return id(self._cell)

    def __repr__(self) -> str:
        lines = [f" {x}" for x in self.tolist()]
        return "\n".join([*lines, f"[torch.storage.{self._title()} of size {len(self)}]"])


def _tensor_of(given, dtype, device):
    """What a storage is made over: a tensor, as many elements, or the elements themselves."""
    if isinstance(given, Tensor):
        return given
    make = FUNCTIONS["empty" if isinstance(given, int) else "tensor"]
    return make(given, dtype=dtype, device=device)


class UntypedStorage(_Reading):
    """The bytes behind a tensor (https://pytorch.org/docs/stable/storage.html).

    Made from a number of bytes, it belongs to no tensor.
    """

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


class TypedStorage(_Reading):
    """The elements behind a tensor (https://pytorch.org/docs/stable/storage.html)."""

    def __init__(self, *args, wrap_storage=None, dtype=None, device=None, _internal=False):
        if wrap_storage is not None:
            raise NotSupported("TypedStorage(wrap_storage=)", "use torch.frombuffer or a tensor")
        (given,) = args or (0,)
        tensor = _tensor_of(given, dtype or dt.get_default_dtype(), device)
        super().__init__(tensor)
        self.dtype: dt.dtype = tensor.dtype
        self._tensor = tensor

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

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
