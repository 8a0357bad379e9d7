"""save and load: objects with tensors to and from PyTorch's `.pt` files."""

from __future__ import annotations

import importlib
import os
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from types import FunctionType
from typing import Any, BinaryIO

import numpy as np

from torchlike import _serialization as fmt
from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._core.sizes import Size
from torchlike._engine.flush import host_array
from torchlike._engine.prefix import local
from torchlike._engine.values import Value
from torchlike._ops.table import TABLE
from torchlike._serialization import options
from torchlike._serialization.locations import MapLocation, device_of, location_hook
from torchlike._serialization.options import (
    LoadEndianness,
    get_crc32_options,
    get_default_load_endianness,
    get_default_mmap_options,
    set_crc32_options,
    set_default_load_endianness,
    set_default_mmap_options,
    skip_data,
)
from torchlike._tensor import layouts, views
from torchlike._tensor.creation import from_host
from torchlike._tensor.dispatch import value_of
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.noted import Noted
from torchlike._tensor.sparse.parts import SparseTensor, components
from torchlike._tensor.storages import TypedStorage, UntypedStorage
from torchlike._tensor.tensor import Tensor
from torchlike.nn.modules._hooks import WrappedHook
from torchlike.nn.parameter import PICKLED_AS_DATA, Buffer, Parameter

__all__ = [
    "LoadEndianness",
    "add_safe_globals",
    "clear_safe_globals",
    "get_crc32_options",
    "get_default_load_endianness",
    "get_default_mmap_options",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "safe_globals",
    "save",
    "set_crc32_options",
    "set_default_load_endianness",
    "set_default_mmap_options",
    "skip_data",
]

File = str | os.PathLike | BinaryIO


def save(
    obj: object,
    f: File,
    pickle_module: Any = pickle,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Write an object to a file that ``torch.load`` reads (https://pytorch.org/docs/stable/generated/torch.save.html).

    A path holds either all of the new file or what it held before. The file is a protocol-2 pickle
    whatever ``pickle_protocol`` says, which loads as the same object.
    """
    if local.capture is not None:
        local.capture.refuse("a file is written")
    _check_pickle_module(pickle_module)
    write = fmt.write_zip if _use_new_zipfile_serialization else fmt.write_legacy
    write(f, obj, describe=_describe)


def load(
    f: File,
    map_location: MapLocation = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Read what ``torch.save`` wrote (https://pytorch.org/docs/stable/generated/torch.load.html).

    Raises ``pickle.UnpicklingError`` for a file that names what is not allowed, ``RuntimeError`` or
    ``EOFError`` for one that is damaged. ``weights_only=False`` runs what the file says.
    """
    if local.capture is not None:  # it may hold other numbers the next time
        local.capture.refuse("a file is read")
    weights_only = _weights_only(weights_only, pickle_module)
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    if weights_only and pickle_load_args:
        warnings.warn("pickle_load_args only works if `weights_only=False`.", stacklevel=2)
    if pickle_module is not None:
        _check_pickle_module(pickle_module)
    encoding = pickle_load_args.pop("encoding", "utf-8")
    if pickle_load_args:
        raise TypeError(
            f"load() got an unexpected keyword argument '{next(iter(pickle_load_args))}'"
        )
    maker = _Maker()
    allowed = _allowed_globals()
    result = fmt.read(
        f,
        make_tensor=maker.tensor,
        make_parameter=maker.parameter,
        make_dtype=dt.BY_NAME.__getitem__,
        make_device=devices.device,
        make_size=Size,
        make_sparse=_sparse_tensor,
        make_meta=_meta_tensor,
        make_layout=layouts._named,
        classes={
            "torch.Tensor": Tensor,
            "torch._tensor.Tensor": Tensor,
            "torch.nn.parameter.Parameter": Parameter,
        },
        weights_only=weights_only,
        extra_globals=allowed if weights_only else _Globals(allowed),
        map_location_hook=location_hook(map_location),
        mmap=bool(options.current.maps if mmap is None else mmap),
        encoding=encoding,
    )
    return maker.with_storages(result)


def _check_pickle_module(module: Any) -> None:
    if module is not pickle and module is not None:
        raise NotSupported(
            f"pickle_module={getattr(module, '__name__', module)}", "save a state_dict()"
        )


def _weights_only(asked: bool | None, pickle_module: Any) -> bool:
    def is_set(name):
        return os.environ.get(name, "0") in ("1", "y", "yes", "true")

    force, never = (
        is_set("TORCH_FORCE_WEIGHTS_ONLY_LOAD"),
        is_set("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"),
    )
    if force and never:
        raise RuntimeError(
            "Only one of `TORCH_FORCE_WEIGHTS_ONLY_LOAD` or `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` "
            "should be set, but both were set."
        )
    if force:
        return True
    if asked is not None:
        return asked
    if never and pickle_module is None:
        warnings.warn(
            "Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD detected, since the "
            "`weights_only` argument was not explicitly passed to `torch.load`, forcing "
            "weights_only=False.",
            UserWarning,
            stacklevel=3,
        )
        return False
    return pickle_module is None


# ---- writing -----------------------------------------------------------------------------------


def _describe(obj: object):
    """The record of what PyTorch writes in a way of its own; None for all else."""
    kind = type(obj)
    if kind is Tensor or kind is Parameter:
        return _tensor_record(obj)
    if kind is SparseTensor:
        return _sparse_record(obj)
    if isinstance(obj, Tensor) and kind.__reduce_ex__ in PICKLED_AS_DATA:  # of a user's own class
        return _tensor_record(obj)
    if kind is Size:
        return fmt.size_record(obj)
    if isinstance(obj, dt.dtype):
        return fmt.dtype_record(obj.name)
    if kind is devices.device:
        return fmt.device_record(obj.type, obj.index)
    if kind is layouts.layout:
        return fmt.layout_record(obj._name)
    if isinstance(obj, (type, FunctionType)):
        return _public_name(obj)
    if isinstance(obj, (TypedStorage, UntypedStorage)):
        return _storage_source(obj._tensor, obj.dtype)
    return None


def _storage_source(t: Tensor, dtype):
    """The record of a storage that stands by itself, as elements of a dtype."""
    value_of(t)  # brings a view up to date with its base
    cell = views.storage_of(t)
    numel = cell.value.aval.numel * cell.value.aval.dtype.itemsize // dtype.itemsize

    def read():
        return host_array(cell.value).reshape(-1)

    key = ("storage", id(cell))
    return fmt.StorageSource(key, dtype.name, numel, read, str(cell.value.aval.device))


def _tensor_record(t: Tensor):
    kind, parameter = type(t), isinstance(t, Parameter)
    written: Any = kind if kind not in (Tensor, Buffer) else fmt.GlobalName("torch", "Tensor")
    if kind.__getstate__ is object.__getstate__:
        state = _own_attributes(t)
    else:
        state = t.__getstate__()
        if type(state) is tuple:  # its __dict__ is no dict here
            state = tuple([dict(x) if isinstance(x, Noted) else x for x in state])
    if t.device is devices.META:
        return _meta_record(t, written, state)
    storage, offset, stride = _storage_window(t)
    size, dtype = tuple(t.shape), t.dtype.name
    record = fmt.TensorRecord(storage, offset, size, stride, t.requires_grad, parameter, dtype)
    if parameter and state:
        data = fmt.TensorRecord(storage, offset, size, stride, dtype_name=dtype)
        rebuild = fmt.GlobalName("torch._utils", "_rebuild_parameter_with_state")
        return fmt.Call(rebuild, (data, t.requires_grad, OrderedDict(), state))
    if parameter or (kind is Tensor and not state):
        return record
    return replace(record, kind=written, state=state)


def _meta_record(t: Tensor, kind, state):
    """PyTorch's description of a tensor without data, which shares it with no other."""
    size, stride, parameter = tuple(t.shape), tuple(t.stride()), isinstance(t, Parameter)
    rebuild = fmt.GlobalName("torch._utils", "_rebuild_meta_tensor_no_storage")
    args = (fmt.dtype_record(t.dtype.name), size, stride, t.requires_grad and not parameter)
    if parameter:
        data = fmt.Call(rebuild, args)
        rebuild = fmt.GlobalName("torch._utils", "_rebuild_parameter")
        return fmt.Call(rebuild, (data, t.requires_grad, OrderedDict()))
    if type(t) is Tensor and not state:
        return fmt.Call(rebuild, args)
    return fmt.Call(fmt.FROM_TYPE, (rebuild, kind, args, state))


def _sparse_record(t):
    """PyTorch's description of a sparse tensor: its layout, its parts, its size."""
    layout = fmt.layout_record(t.layout._name)
    args = (*components(t), t.shape)
    if t.is_sparse:
        args += (t.is_coalesced(),)
    return fmt.Call(fmt.GlobalName("torch._utils", "_rebuild_sparse_tensor"), (layout, args))


def _storage_window(t: Tensor) -> tuple:
    """(storage, offset, stride): a tensor as a window on the elements that its views share."""
    own = value_of(t)  # brings a view up to date with its base
    shared = t._storage
    if shared is None or shared.parted is not None or views.conjugated(t):
        key, value, (stride, offset) = ("tensor", id(t)), own, (None, 0)
        stride = views.contiguous_strides(own.aval.shape)
    else:
        key, value, (stride, offset) = ("storage", id(shared)), shared.value, views.geometry(t)
    a = value.aval

    def read():
        if options.current.skip:
            return np.zeros(a.numel, a.dtype.numpy)
        return host_array(value).reshape(-1)

    source = fmt.StorageSource(key, a.dtype.name, a.numel, read, str(a.device))
    return source, offset, stride


def _own_attributes(t: Tensor) -> dict[str, Any]:
    """What the user has set on a tensor beside its data."""
    usual = Parameter if isinstance(t, Parameter) else Tensor
    return {name: value for name, value in t.__dict__.items() if not hasattr(usual, name)}


# ---- reading -----------------------------------------------------------------------------------


class _Maker:
    """Makes the tensors of one file; those of one storage share it."""

    def __init__(self):
        self._bases: dict[int, tuple] = {}  # storage record's id: (record, its first tensor)

    def tensor(self, storage, offset, size, stride, requires_grad, hooks) -> Tensor:
        """A tensor over a storage: a plain one if it is the first and covers all of it."""
        key = id(storage)
        whole = offset == 0 and stride == views.contiguous_strides(size)
        whole = whole and prod(size) == storage.numel
        if key not in self._bases:
            shape = size if whole else (storage.numel,)
            base = from_host(storage.array.reshape(shape), device_of(storage.location))
            self._bases[key] = storage, base
            if whole:
                return base.requires_grad_() if requires_grad else base
        base = self._bases[key][1]
        out = views.detach(base)
        if not whole or tuple(base.shape) != size:
            out = _strided(out, storage.array, size, stride, offset)
        return out.requires_grad_() if requires_grad else out

    def with_storages(self, loaded: Any) -> Any:
        """What was loaded, the storages that stand by themselves made: in its lists and so on."""
        seen: dict = {}

        def made(x):
            kind = type(x)
            if kind is fmt.StorageRecord:
                return seen.get(id(x)) or seen.setdefault(id(x), self._storage(x))
            if kind is tuple and any(made(y) is not y for y in x):
                return tuple(made(y) for y in x)
            if kind in (list, dict, OrderedDict) and id(x) not in seen:
                seen[id(x)] = x
                for key, y in enumerate(x) if kind is list else list(x.items()):
                    if (new := made(y)) is not y:
                        x[key] = new
            return x

        return made(loaded)

    def _storage(self, record):
        if id(record) not in self._bases:
            self.tensor(record, 0, (record.numel,), (1,), False, None)
        untyped = self._bases[id(record)][1].untyped_storage()
        return TypedStorage(wrap_storage=untyped, dtype=dt.BY_NAME[record.dtype_name])

    def parameter(self, data: Tensor, requires_grad: bool, hooks) -> Parameter:
        """A Parameter that takes the place of its data."""
        if data._storage is not None:
            return Parameter(data, requires_grad)
        out = object.__new__(Parameter)
        out._value = data._value
        for key, (storage, base) in self._bases.items():
            if base is data:
                self._bases[key] = storage, out
                break
        return out.requires_grad_(requires_grad)


def _meta_tensor(dtype, size, stride, requires_grad) -> Tensor:
    """A tensor without data of a file."""
    out = FUNCTIONS["empty_strided"](size, stride, dtype=dtype, device="meta")
    return out.requires_grad_() if requires_grad else out


def _strided(handle: Tensor, array: np.ndarray, size, stride, offset) -> Tensor:
    """A window on the storage of a handle that is off the tape."""
    op, statics = TABLE["as_strided"], (size, stride, offset)
    base = views.detach(handle)
    if handle.device is devices.CPU:
        steps = [n * array.itemsize for n in stride]
        # Not as_strided, which knows no float8_e5m2.
        window = np.ndarray(size, array.dtype, array.view(np.uint8), offset * array.itemsize, steps)
        window.flags.writeable = False
        value = Value(from_host(window, devices.CPU)._value.aval, window)
        out = object.__new__(Tensor)
        out._value = value
        out = views.attach(out, base, (op, (), statics, 0))
    else:
        out = views.apply_view(op, base, (), statics)
    out._detached = True
    return out


def _sparse_tensor(layout: str, parts: tuple, size: tuple, coalesced: bool):
    """A sparse tensor of a file, whose indices are checked."""
    make = FUNCTIONS[f"{layout}_tensor"]
    if layout == "sparse_coo":
        return make(*parts, size, is_coalesced=coalesced, check_invariants=True)
    return make(*parts, size, check_invariants=True)


# ---- names: torch.nn.modules.linear.Linear in the file is torchlike's here ---------------------

# What the reader itself makes, with checks of its own.
_READERS = ("torch", "torch._utils", "torch._tensor", "torch.tensor", "torch.storage", "torch.cuda")
_PARAMETER = "torch.nn.parameter.Parameter"
_WRAPPED_HOOK = ("torch.nn.modules.module", "_WrappedHook")
# Packages here that are one module there, and what lies in a module of another name.
_ONE_FILE = (
    "torch.distributions.kl", "torch.distributions.transforms", "torch.func", "torch.nn.functional",
    "torch.optim.lr_scheduler",
)  # fmt: skip
_ELSEWHERE = {"torch.optim.adam.AdamW": "torch.optim.adamw"}


def _public_name(obj) -> fmt.GlobalName | None:
    """PyTorch's name of a public class or function of ours; None for anybody else's."""
    module = getattr(obj, "__module__", None) or ""
    if obj is WrappedHook:
        return fmt.GlobalName(*_WRAPPED_HOOK)
    if not module.startswith("torchlike.") or "._" in module or "." in obj.__qualname__:
        return None
    module = "torch" + module.removeprefix("torchlike")
    for one_file in _ONE_FILE:
        if module.startswith(one_file + "."):
            module = one_file
    module = _ELSEWHERE.get(f"{module}.{obj.__qualname__}", module)
    return (
        fmt.GlobalName(module, obj.__qualname__) if _ours(module, obj.__qualname__) is obj else None
    )


def _ours(module: str, name: str):
    """What a name of torch is here, looked up in its module or one above it; None if nothing."""
    if (module, name) == _WRAPPED_HOOK:
        return WrappedHook
    if module == "torch.fx._symbolic_trace":  # its names are those of the package here
        module = "torch.fx"
    if module in _READERS or not module.startswith("torch.") or "._" in module:
        return None
    parts = ["torchlike", *module.split(".")[1:]]
    while len(parts) > 1:
        try:
            found = getattr(importlib.import_module(".".join(parts)), name, None)
        except ModuleNotFoundError:
            found = None
        if found is not None:
            return found
        parts.pop()
    return None


class _Globals(Mapping):
    """The names of a trusted file: those that the user allowed, then PyTorch's, as ours."""

    def __init__(self, allowed: dict[str, Any]):
        self._allowed = allowed

    def __contains__(self, path) -> bool:
        return path in self._allowed or self._find(path) is not None

    def __getitem__(self, path: str):
        return self._allowed[path] if path in self._allowed else self._find(path)

    def _find(self, path: str):
        module, _, name = path.rpartition(".")
        return None if path == _PARAMETER else _ours(module, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._allowed)

    def __len__(self) -> int:
        return len(self._allowed)


_safe_globals: list = []


def add_safe_globals(safe_globals: list) -> None:
    """Allow classes and functions in files read with ``weights_only=True``.

    An entry is the object, or ``(object, "its.full.path")``
    (https://pytorch.org/docs/stable/notes/serialization.html#torch.serialization.add_safe_globals).
    """
    _safe_globals.extend(x for x in safe_globals if x not in _safe_globals)


def get_safe_globals() -> list:
    """What ``add_safe_globals`` has allowed."""
    return list(_safe_globals)


def clear_safe_globals() -> None:
    """Allow nothing any more but what is always allowed."""
    _safe_globals.clear()


def get_unsafe_globals_in_checkpoint(f: File) -> list[str]:
    """The names in a file that ``load`` would refuse with ``weights_only=True``; raises
    ``ValueError`` for a file of the old format
    (https://pytorch.org/docs/stable/notes/serialization.html)."""
    return fmt.unsafe_names(f, _allowed_globals())


class safe_globals:
    """``add_safe_globals`` for the length of a ``with`` block."""

    def __init__(self, safe_globals: list):
        self._added = safe_globals

    def __enter__(self):
        self._before = get_safe_globals()
        add_safe_globals(self._added)
        return self

    def __exit__(self, *exc):
        _safe_globals[:] = self._before


def _allowed_globals() -> dict[str, Any]:
    allowed = {}
    for entry in _safe_globals:
        if not isinstance(entry, tuple):
            path = f"{entry.__module__}.{entry.__qualname__}"
            allowed[path] = entry
            if name := _public_name(entry):
                allowed[f"{name.module}.{name.name}"] = entry
            continue
        if len(entry) != 2:
            raise ValueError(
                "Expected tuple of length 2 (global, str of callable full path), but got tuple of "
                f"length: {len(entry)}"
            )
        if type(entry[1]) is not str:
            raise TypeError(
                "Expected second item in tuple to be str of callable full path, but got: "
                f"{type(entry[1])}"
            )
        allowed[entry[1]] = entry[0]
    return allowed
