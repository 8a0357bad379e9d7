"""The pickle machine: runs the opcodes of protocols 2 to 5, and leaves decisions to a subclass.

It imports nothing and calls nothing of what the file names. What can go wrong in a hostile file is
checked here: an empty stack, a read past the end, a hash that never ends.
"""

from __future__ import annotations

import pickle
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO

_LONGEST_NAME = 4096
_KEY_PARTS = 1000


class PickleMachine:
    """Runs one pickle from `file`, which ends at position `end`."""

    def __init__(self, file: BinaryIO, end: int, *, encoding: str = "utf-8") -> None:
        self._file = file
        self._end = end
        self._encoding = encoding
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    # ---- decisions of a subclass --------------------------------------------

    def find_global(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"a name is not expected here, but got {module}.{name}")

    def call(self, function: Any, args: tuple) -> Any:
        raise pickle.UnpicklingError("a call is not expected here")

    def make_new(self, cls: Any, args: tuple) -> Any:
        raise pickle.UnpicklingError("an object is not expected here")

    def set_state(self, obj: Any, state: Any) -> None:
        raise pickle.UnpicklingError("an object's state is not expected here")

    def load_persistent(self, persistent_id: Any) -> Any:
        raise pickle.UnpicklingError("a storage is not expected here")

    def list_to_extend(self, obj: Any) -> list:
        """The list that APPEND writes to."""
        if type(obj) is not list:
            raise pickle.UnpicklingError(f"Can only append to lists, but got {type(obj)}")
        return obj

    def mapping_to_fill(self, obj: Any) -> Any:
        """The mapping that SETITEM writes to."""
        if type(obj) not in (dict, OrderedDict, Counter):
            raise pickle.UnpicklingError(
                "Can only set items of dict, collections.OrderedDict, collections.Counter, "
                f"but got {type(obj)}"
            )
        return obj

    # ---- running ------------------------------------------------------------

    def load(self) -> Any:
        while True:
            code = self._read(1)
            if code == pickle.STOP:
                break
            run = _OPCODES.get(code)
            if run is None:
                raise pickle.UnpicklingError(f"Unsupported operand {code[0]}")
            run(self)
        if self._marks or len(self._stack) != 1:
            raise pickle.UnpicklingError("the pickle stops in the middle of an object")
        return self._stack.pop()

    def _read(self, count: int) -> bytes:
        # A length that the file cannot have must not become an allocation.
        if count > 4096 and count > self._end - self._file.tell():
            raise EOFError("the pickle is truncated")
        data = self._file.read(count)
        if len(data) < count:
            raise EOFError("the pickle is truncated")
        return data

    def _read_number(self, layout: str) -> Any:
        return struct.unpack(layout, self._read(struct.calcsize(layout)))[0]

    def _read_line(self) -> str:
        line = self._file.readline(_LONGEST_NAME)
        if not line.endswith(b"\n"):
            if len(line) == _LONGEST_NAME:
                raise pickle.UnpicklingError("a name in the pickle is too long")
            raise EOFError("the pickle is truncated")
        return _decode(line[:-1], "utf-8")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack:
            raise pickle.UnpicklingError("the pickle is corrupt: its stack is empty")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise pickle.UnpicklingError("the pickle is corrupt: its stack is empty")
        return self._stack[-1]

    def _pop_mark(self) -> list[Any]:
        if not self._marks:
            raise pickle.UnpicklingError("the pickle is corrupt: a mark is missing")
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _pop_args(self) -> tuple:
        args = self._pop()
        if type(args) is not tuple:
            raise pickle.UnpicklingError(f"arguments must be a tuple, but got {type(args)}")
        return args

    def _get(self, number: int) -> None:
        if number not in self._memo:
            raise pickle.UnpicklingError(f"the pickle is corrupt: memo {number} is not set")
        self._push(self._memo[number])

    def _put(self, number: int) -> None:
        self._memo[number] = self._top()

    def _make_tuple(self, count: int) -> None:
        parts = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(parts)))

    def _append(self, items: list[Any]) -> None:
        self.list_to_extend(self._top()).extend(items)

    def _set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise pickle.UnpicklingError("the pickle is corrupt: a key without a value")
        target = self.mapping_to_fill(self._top())
        for i in range(0, len(items), 2):
            target[checked_key(items[i])] = items[i + 1]

    def _find(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise pickle.UnpicklingError("a name in the pickle is not text")
        self._push(self.find_global(module, name))


def _decode(data: bytes, encoding: str, errors: str = "strict") -> str:
    try:
        return str(data, encoding, errors)
    except UnicodeDecodeError as error:
        raise pickle.UnpicklingError(f"text in the pickle is not {encoding}: {error}") from None


def checked_key(key: Any) -> Any:
    """`key`, if it can be hashed in little time and depth.

    A tuple is hashed by recursion in C without a guard: nested 10**6 deep it overflows the
    process's stack, and as (x, x) of (x, x) of ... it never ends.
    """
    if type(key) is tuple:
        waiting, met = [key], 0
        while waiting:
            parts = waiting.pop()
            met += len(parts)
            if met > _KEY_PARTS:
                raise pickle.UnpicklingError("a key in the pickle is too large")
            waiting += [part for part in parts if type(part) is tuple]
    try:
        hash(key)
    except TypeError as error:
        raise pickle.UnpicklingError(f"a key in the pickle is not allowed: {error}") from None
    return key


# ---- the opcodes ------------------------------------------------------------


def _mark(m: PickleMachine) -> None:
    m._marks.append(m._stack)
    m._stack = []


def _protocol(m: PickleMachine) -> None:
    version = m._read(1)[0]
    if not 2 <= version <= 5:
        raise pickle.UnpicklingError(f"pickle protocol {version} is not supported, only 2 to 5")


def _text(layout: str) -> Callable[[PickleMachine], None]:
    def run(m: PickleMachine) -> None:
        m._push(_decode(m._read(m._read_number(layout)), "utf-8", "surrogatepass"))

    return run


def _old_text(layout: str) -> Callable[[PickleMachine], None]:
    """Python 2's strings."""

    def run(m: PickleMachine) -> None:
        data = m._read(_not_negative(m._read_number(layout)))
        m._push(data if m._encoding == "bytes" else _decode(data, m._encoding))

    return run


def _not_negative(length: int) -> int:
    if length < 0:
        raise pickle.UnpicklingError("the pickle is corrupt: a negative length")
    return length


def _frozen_set(m: PickleMachine) -> None:
    m._push(frozenset([checked_key(item) for item in m._pop_mark()]))


def _add_items(m: PickleMachine) -> None:
    items = m._pop_mark()
    if type(m._top()) is not set:
        raise pickle.UnpicklingError(f"Can only add items to sets, but got {type(m._top())}")
    m._top().update([checked_key(item) for item in items])


def _reduce(m: PickleMachine) -> None:
    args = m._pop_args()
    m._push(m.call(m._pop(), args))


def _new_object(m: PickleMachine) -> None:
    args = m._pop_args()
    m._push(m.make_new(m._pop(), args))


def _build(m: PickleMachine) -> None:
    state = m._pop()
    m.set_state(m._top(), state)


def _set_item(m: PickleMachine) -> None:
    value, key = m._pop(), m._pop()
    m._set_items([key, value])


def _stack_global(m: PickleMachine) -> None:
    name, module = m._pop(), m._pop()
    m._find(module, name)


_OPCODES: dict[bytes, Callable[[PickleMachine], Any]] = {
    pickle.PROTO: _protocol,
    pickle.FRAME: lambda m: m._read(8),
    # constants and numbers
    pickle.NONE: lambda m: m._push(None),
    pickle.NEWTRUE: lambda m: m._push(True),
    pickle.NEWFALSE: lambda m: m._push(False),
    pickle.BININT: lambda m: m._push(m._read_number("<i")),
    pickle.BININT1: lambda m: m._push(m._read_number("<B")),
    pickle.BININT2: lambda m: m._push(m._read_number("<H")),
    pickle.LONG1: lambda m: m._push(pickle.decode_long(m._read(m._read_number("<B")))),
    pickle.LONG4: lambda m: m._push(
        pickle.decode_long(m._read(_not_negative(m._read_number("<i"))))
    ),
    pickle.BINFLOAT: lambda m: m._push(m._read_number(">d")),
    # text and bytes
    pickle.BINUNICODE: _text("<I"),
    pickle.SHORT_BINUNICODE: _text("<B"),
    pickle.BINUNICODE8: _text("<Q"),
    pickle.BINSTRING: _old_text("<i"),
    pickle.SHORT_BINSTRING: _old_text("<B"),
    pickle.BINBYTES: lambda m: m._push(m._read(m._read_number("<I"))),
    pickle.SHORT_BINBYTES: lambda m: m._push(m._read(m._read_number("<B"))),
    pickle.BINBYTES8: lambda m: m._push(m._read(m._read_number("<Q"))),
    pickle.BYTEARRAY8: lambda m: m._push(bytearray(m._read(m._read_number("<Q")))),
    # containers
    pickle.MARK: _mark,
    pickle.EMPTY_TUPLE: lambda m: m._push(()),
    pickle.TUPLE1: lambda m: m._make_tuple(1),
    pickle.TUPLE2: lambda m: m._make_tuple(2),
    pickle.TUPLE3: lambda m: m._make_tuple(3),
    pickle.TUPLE: lambda m: m._push(tuple(m._pop_mark())),
    pickle.EMPTY_LIST: lambda m: m._push([]),
    pickle.APPEND: lambda m: m._append([m._pop()]),
    pickle.APPENDS: lambda m: m._append(m._pop_mark()),
    pickle.EMPTY_DICT: lambda m: m._push({}),
    pickle.SETITEM: _set_item,
    pickle.SETITEMS: lambda m: m._set_items(m._pop_mark()),
    pickle.EMPTY_SET: lambda m: m._push(set()),
    pickle.ADDITEMS: _add_items,
    pickle.FROZENSET: _frozen_set,
    # stack and memo
    pickle.POP: lambda m: m._pop() if m._stack else m._pop_mark(),
    pickle.POP_MARK: lambda m: m._pop_mark(),
    pickle.DUP: lambda m: m._push(m._top()),
    pickle.BINGET: lambda m: m._get(m._read_number("<B")),
    pickle.LONG_BINGET: lambda m: m._get(m._read_number("<I")),
    pickle.BINPUT: lambda m: m._put(m._read_number("<B")),
    pickle.LONG_BINPUT: lambda m: m._put(m._read_number("<I")),
    pickle.MEMOIZE: lambda m: m._put(len(m._memo)),
    # what a subclass decides
    pickle.GLOBAL: lambda m: m._find(m._read_line(), m._read_line()),
    pickle.STACK_GLOBAL: _stack_global,
    pickle.REDUCE: _reduce,
    pickle.NEWOBJ: _new_object,
    pickle.BUILD: _build,
    pickle.BINPERSID: lambda m: m._push(m.load_persistent(m._pop())),
}
