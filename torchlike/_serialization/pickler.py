"""The pickler: objects to a protocol-2 pickle as PyTorch writes it, names of torch included.

It is written here, not derived from `pickle.Pickler`, for two reasons: that one looks up every
name it writes, and there is no torch to look into; and it recurses, so that deep nesting fails.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import struct
import sys
from _compat_pickle import REVERSE_IMPORT_MAPPING, REVERSE_NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from types import FunctionType
from typing import Any

import numpy as np

from .records import (
    FROM_TYPE,
    Call,
    GlobalName,
    StorageSource,
    TensorRecord,
    numpy_dtype,
    storage_class,
    window_end,
)

Describe = Callable[[object], "TensorRecord | StorageSource | GlobalName | Call | None"]
Steps = Iterator[object]  # writes bytes, and yields each part whose pickle comes next

_BATCH = 1000
_CONSTANTS = {None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}
_TUPLES = (pickle.EMPTY_TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)
_ATOMS = (int, float, str, bytes, tuple, list, dict)
_RECORDS = (GlobalName, Call, TensorRecord, StorageSource)


class StorageTable:
    """The storages met while pickling, in order, and the name that each goes by in the file."""

    def __init__(self, *, with_view_metadata: bool = False) -> None:
        self.sources: dict[str, StorageSource] = {}
        self._names: dict[object, tuple[str, str]] = {}
        self._itemsizes: dict[str, int] = {}
        self._with_view_metadata = with_view_metadata

    def persistent_id(self, source: StorageSource, dtype_name: str) -> tuple[Any, ...]:
        """The tuple that stands for a storage in the pickle, seen through `dtype_name`."""
        cls = storage_class(dtype_name)
        seen_as = "uint8" if cls is None else dtype_name
        name, before = self._names.setdefault(source.key, (str(len(self._names)), seen_as))
        if before != seen_as:
            raise RuntimeError(
                "Cannot save multiple tensors or storages that view the same data as different "
                f"types (torch.{before} and torch.{seen_as}); save a clone() of one of them"
            )
        self.sources.setdefault(name, source)
        self._itemsizes[name] = numpy_dtype(seen_as).itemsize
        kind = GlobalName("torch", cls) if cls else GlobalName("torch.storage", "UntypedStorage")
        numel = source.nbytes // self._itemsizes[name]
        persistent = ("storage", kind, name, source.location, numel)
        return (*persistent, None) if self._with_view_metadata else persistent

    def read(self, name: str) -> tuple[int, memoryview]:
        """How many elements a storage has as the file states it, and its bytes."""
        source = self.sources[name]
        data = np.ascontiguousarray(source.read()).reshape(-1).view(np.uint8)
        if data.size != source.nbytes:
            raise RuntimeError(
                f"a storage of {source.nbytes} bytes gave {data.size} bytes to be saved"
            )
        return source.nbytes // self._itemsizes[name], memoryview(data)


class _Window:
    """A storage as one tensor sees it; stands in the pickle for the storage itself."""

    def __init__(self, source: StorageSource, dtype_name: str) -> None:
        self.source, self.dtype_name = source, dtype_name


class Pickler:
    """Pickles one object; `storages` then holds what must be written beside the pickle."""

    def __init__(self, describe: Describe, storages: StorageTable) -> None:
        self.storages = storages
        self._describe = describe
        self._out = io.BytesIO()
        # id -> (number in the file, the object itself: its id must not be given to another)
        self._memo: dict[int, tuple[int, object]] = {}
        self._globals: dict[GlobalName, int] = {}
        self._memoized = 0

    def dumps(self, obj: object) -> bytes:
        self._out.write(pickle.PROTO + b"\x02")
        pending: list[Steps] = [self._steps(obj)]
        while pending:  # a stack of half-written objects instead of recursion
            for part in pending[-1]:
                pending.append(self._steps(part))
                break
            else:
                pending.pop()
        self._out.write(pickle.STOP)
        return self._out.getvalue()

    # ---- one object ---------------------------------------------------------

    def _steps(self, obj: object) -> Steps:
        if obj is None or obj is True or obj is False:
            self._out.write(_CONSTANTS[obj])
            return
        known = self._memo.get(id(obj))
        if known is not None:
            self._get(known[0])
            return
        kind = type(obj)
        if kind in _ATOMS:
            yield from _WRITERS[kind](self, obj)
            return
        if kind is _Window:
            yield self.storages.persistent_id(obj.source, obj.dtype_name)
            self._out.write(pickle.BINPERSID)
            return
        record = obj if kind in _RECORDS else self._describe(obj)
        if record is not None:
            yield from self._write_record(record, obj)
        elif isinstance(obj, type):
            yield from self._write_class(obj)
        elif isinstance(obj, FunctionType):
            yield from self._write_reference(obj, obj.__qualname__)
        else:
            yield from self._write_reduced(obj)

    def _get(self, number: int) -> None:
        small = number < 256
        self._out.write(pickle.BINGET if small else pickle.LONG_BINGET)
        self._out.write(struct.pack("<B" if small else "<I", number))

    def _put(self) -> int:
        number = self._memoized
        self._memoized += 1
        small = number < 256
        self._out.write(pickle.BINPUT if small else pickle.LONG_BINPUT)
        self._out.write(struct.pack("<B" if small else "<I", number))
        return number

    def _remember(self, obj: object) -> None:
        self._memo[id(obj)] = (self._put(), obj)

    # ---- plain values -------------------------------------------------------

    def _write_int(self, value: int) -> Steps:
        if 0 <= value < 1 << 8:
            self._out.write(pickle.BININT1 + struct.pack("<B", value))
        elif 0 <= value < 1 << 16:
            self._out.write(pickle.BININT2 + struct.pack("<H", value))
        elif -(1 << 31) <= value < 1 << 31:
            self._out.write(pickle.BININT + struct.pack("<i", value))
        else:
            data = pickle.encode_long(value)
            short = len(data) < 256
            self._out.write(pickle.LONG1 if short else pickle.LONG4)
            self._out.write(struct.pack("<B" if short else "<i", len(data)) + data)
        yield from ()

    def _write_float(self, value: float) -> Steps:
        self._out.write(pickle.BINFLOAT + struct.pack(">d", value))
        yield from ()

    def _write_str(self, value: str) -> Steps:
        data = value.encode("utf-8", "surrogatepass")
        if len(data) > 0xFFFFFFFF:
            raise OverflowError("cannot save a string of 4 GiB or more")
        self._out.write(pickle.BINUNICODE + struct.pack("<I", len(data)) + data)
        self._remember(value)
        yield from ()

    def _write_bytes(self, value: bytes) -> Steps:
        # Protocol 2 has no bytes: they travel as the text with the same code points.
        text = value.decode("latin-1")
        yield from self._write_call(GlobalName("_codecs", "encode"), (text, "latin1"))
        self._remember(value)

    # ---- containers ---------------------------------------------------------

    def _write_tuple(self, value: tuple) -> Steps:
        marked = len(value) >= len(_TUPLES)
        if marked:
            self._out.write(pickle.MARK)
        yield from value
        known = self._memo.get(id(value))
        if known is not None:
            # A part of the tuple contains the tuple, and so has written it already.
            self._out.write(pickle.POP_MARK if marked else pickle.POP * len(value))
            self._get(known[0])
            return
        self._out.write(pickle.TUPLE if marked else _TUPLES[len(value)])
        if value:
            self._remember(value)

    def _write_list(self, value: list) -> Steps:
        self._out.write(pickle.EMPTY_LIST)
        self._remember(value)
        yield from self._write_items(value)

    def _write_dict(self, value: dict) -> Steps:
        self._out.write(pickle.EMPTY_DICT)
        self._remember(value)
        yield from self._write_pairs(value.items())

    def _write_items(self, items: Iterable[object]) -> Steps:
        items = iter(items)
        while batch := list(islice(items, _BATCH)):
            self._out.write(pickle.MARK)
            yield from batch
            self._out.write(pickle.APPENDS)

    def _write_pairs(self, pairs: Iterable[tuple[object, object]]) -> Steps:
        pairs = iter(pairs)
        while batch := list(islice(pairs, _BATCH)):
            self._out.write(pickle.MARK)
            for key, value in batch:
                yield key
                yield value
            self._out.write(pickle.SETITEMS)

    # ---- records ------------------------------------------------------------

    def _write_record(self, record: object, obj: object) -> Steps:
        if isinstance(record, GlobalName):
            self._write_global(record)
        elif isinstance(record, Call):
            yield from self._write_call(record.function, record.args)
            self._remember(obj)
        elif isinstance(record, TensorRecord):
            yield from self._write_tensor(record)
            self._remember(obj)
        elif isinstance(record, StorageSource):
            yield _Window(record, record.dtype_name)
        else:
            raise TypeError(f"describe() must return a record or None, got {type(record).__name__}")

    def _write_global(self, name: GlobalName) -> None:
        if name in self._globals:
            self._get(self._globals[name])
            return
        # The names that Python 2 had, where they differ: protocol 2 is also its format.
        module, attribute = REVERSE_NAME_MAPPING.get(
            (name.module, name.name),
            (REVERSE_IMPORT_MAPPING.get(name.module, name.module), name.name),
        )
        if "\n" in module + attribute:
            raise pickle.PicklingError(f"cannot save a reference to {module}.{attribute}")
        self._out.write(pickle.GLOBAL + f"{module}\n{attribute}\n".encode())
        self._globals[name] = self._put()

    def _write_call(self, function: GlobalName, args: tuple) -> Steps:
        yield function
        yield args
        self._out.write(pickle.REDUCE)

    def _write_tensor(self, record: TensorRecord) -> Steps:
        hooks: OrderedDict[str, object] = OrderedDict()  # PyTorch keeps the place, never the hooks
        if record.is_parameter:
            data = TensorRecord(
                record.storage,
                record.offset,
                record.size,
                record.stride,
                dtype_name=record.dtype_name,
            )
            rebuild = GlobalName("torch._utils", "_rebuild_parameter")
            yield from self._write_call(rebuild, (data, record.requires_grad, hooks))
            return
        dtype_name = record.dtype_name or record.storage.dtype_name
        size = tuple(int(n) for n in record.size)
        stride = tuple(int(n) for n in record.stride)
        offset = int(record.offset)
        if window_end(offset, size, stride) * numpy_dtype(dtype_name).itemsize > (
            record.storage.nbytes
        ):
            raise RuntimeError(
                f"cannot save a tensor with {size=}, {stride=}, {offset=}: "
                f"its storage has only {record.storage.nbytes} bytes"
            )
        args: tuple = (_Window(record.storage, dtype_name), offset, size, stride)
        args += (bool(record.requires_grad), hooks)
        rebuild = GlobalName("torch._utils", "_rebuild_tensor_v2")
        if storage_class(dtype_name) is None:
            rebuild = GlobalName("torch._utils", "_rebuild_tensor_v3")
            args += (GlobalName("torch", dtype_name),)
        if record.kind is not None:
            rebuild, args = FROM_TYPE, (rebuild, record.kind, args, record.state)
        yield from self._write_call(rebuild, args)

    # ---- everything else, by Python's own protocol --------------------------

    def _write_class(self, cls: type) -> Steps:
        if cls in (type(None), type(NotImplemented), type(...)):
            singleton = {type(None): None, type(NotImplemented): NotImplemented}.get(cls, ...)
            yield from self._write_call(GlobalName("builtins", "type"), (singleton,))
        else:
            yield from self._write_reference(cls, cls.__qualname__)

    def _write_reference(self, obj: object, qualname: str) -> Steps:
        """A class or function, which loading finds again by its name."""
        module = pickle.whichmodule(obj, qualname)
        found: object = sys.modules.get(module)
        owner: object = None
        for part in qualname.split("."):
            owner, found = found, getattr(found, part, None)
        if found is not obj:
            raise pickle.PicklingError(
                f"Can't pickle {obj!r}: it's not found as {module}.{qualname}"
            )
        if "." not in qualname:
            self._write_global(GlobalName(module, qualname))
            return
        last = qualname.rpartition(".")[2]
        yield from self._write_call(GlobalName("builtins", "getattr"), (owner, last))
        self._remember(obj)

    def _write_reduced(self, obj: Any) -> Steps:
        reducer = copyreg.dispatch_table.get(type(obj))
        reduced = obj.__reduce_ex__(2) if reducer is None else reducer(obj)
        if isinstance(reduced, str):
            yield from self._write_reference(obj, reduced)
            return
        function, args, state, items, pairs, setter = (*reduced, None, None, None, None)[:6]
        if getattr(function, "__name__", "") == "__newobj_ex__":
            cls, positional, keywords = args
            function, args = partial(cls.__new__, cls, *positional, **keywords), ()
        if getattr(function, "__name__", "") == "__newobj__":
            cls, *rest = args
            yield cls
            yield tuple(rest)
            self._out.write(pickle.NEWOBJ)
        else:
            yield function
            yield args
            self._out.write(pickle.REDUCE)
        known = self._memo.get(id(obj))
        if known is not None:  # as for tuples: an argument contains the object
            self._out.write(pickle.POP)
            self._get(known[0])
            return
        self._remember(obj)
        if items is not None:
            yield from self._write_items(items)
        if pairs is not None:
            yield from self._write_pairs(pairs)
        if state is None:
            return
        if setter is not None:
            yield setter
            yield (obj, state)
            self._out.write(pickle.REDUCE + pickle.POP)
            return
        yield state
        self._out.write(pickle.BUILD)


_WRITERS: dict[type, Callable[[Pickler, Any], Steps]] = {
    int: Pickler._write_int,
    float: Pickler._write_float,
    str: Pickler._write_str,
    bytes: Pickler._write_bytes,
    tuple: Pickler._write_tuple,
    list: Pickler._write_list,
    dict: Pickler._write_dict,
}
