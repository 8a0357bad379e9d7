"""Structures of inputs and outputs in files, and dataclasses as containers."""

from __future__ import annotations

import dataclasses
import importlib
from collections import OrderedDict, defaultdict, deque, namedtuple

from torchlike._core.errors import NotSupported
from torchlike._core.sizes import Size
from torchlike.func import trees
from torchlike.func.trees import Spec

_BUILTIN = {"tuple": tuple, "list": list, "dict": dict, "OrderedDict": OrderedDict,
            "deque": deque, "Size": Size}  # fmt: skip
_names: dict[type, str] = {}  # of registered classes, as files have them


def register_dataclass(cls: type, *, serialized_type_name: str | None = None) -> None:
    """Let a dataclass be a container of inputs and outputs; raises ``AssertionError`` for a class
    that is none (https://pytorch.org/docs/stable/export.html#torch.export.register_dataclass)."""
    if not dataclasses.is_dataclass(cls):
        raise AssertionError(f"Only dataclasses can be registered with this function: {cls}")
    fields = [f.name for f in dataclasses.fields(cls) if f.init]

    def take_apart(tree):
        given = [n for n in fields if getattr(tree, n) is not None]
        return [getattr(tree, n) for n in given], given

    def build(parts, given):
        return cls(**dict.fromkeys(fields), **{}) if not given and not fields else cls(
            **{**dict.fromkeys([f for f in fields if f not in given]),
               **dict(zip(given, parts, strict=True))}
        )  # fmt: skip

    trees.NODES[cls] = take_apart, build
    _names[cls] = serialized_type_name or f"{cls.__module__}.{cls.__qualname__}"


def as_json(spec: Spec):
    """A structure as JSON can hold it; raises ``NotSupported`` for a container it cannot name."""
    kind = spec.kind
    if kind is None:
        return None
    parts = [as_json(p) for p in spec.parts]
    for name, known in _BUILTIN.items():
        if kind is known:
            return {"kind": name, "context": _plain(spec.context), "parts": parts}
    if hasattr(kind, "_fields"):
        fields = list(kind._fields)
        return {"kind": "namedtuple", "name": f"{kind.__module__}.{kind.__qualname__}",
                "context": fields, "parts": parts}  # fmt: skip
    if kind in _names:
        return {"kind": "dataclass", "name": _names[kind], "context": spec.context, "parts": parts}
    raise NotSupported(
        f"a {kind.__name__} among the inputs or outputs of a saved program",
        "use tuples, lists, dicts, named tuples or torch.export.register_dataclass",
    )


def _plain(context):
    if context is None or isinstance(context, int):
        return context
    if isinstance(context, list) and all(isinstance(k, (str, int)) for k in context):
        return context
    raise NotSupported(
        f"a dict with the keys {context} among the inputs or outputs of a saved program",
        "use texts or integers as keys",
    )


def from_json(data) -> Spec:
    """The structure again. A named tuple whose class is absent is made anew, a dataclass raises."""
    if data is None:
        return trees.LEAF
    parts = [from_json(p) for p in data["parts"]]
    kind, context = data["kind"], data["context"]
    if kind in _BUILTIN:
        return Spec(_BUILTIN[kind], context, parts)
    if kind == "namedtuple":
        return Spec(_named_tuple(data["name"], tuple(context)), None, parts)
    for cls, name in _names.items():
        if name == data["name"]:
            return Spec(cls, context, parts)
    found = _imported(data["name"])
    if found is None or found not in _names:
        raise ValueError(
            f"the program takes or gives a {data['name']}: import it and call "
            "torch.export.register_dataclass before loading"
        )
    return Spec(found, context, parts)


_made: dict = {}


def _named_tuple(name: str, fields: tuple):
    found = _imported(name)
    if found is not None and getattr(found, "_fields", None) == fields:
        return found
    key = name, fields
    if key not in _made:
        _made[key] = namedtuple(name.rpartition(".")[2], fields)
    return _made[key]


def _imported(name: str):
    """A class of a module that is imported already: a file brings no code in."""
    import sys

    module, _, attribute = name.rpartition(".")
    return getattr(sys.modules.get(module), attribute, None)


_ = defaultdict, importlib
