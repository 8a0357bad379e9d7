"""Structures of trees as text: the JSON that PyTorch writes, and a line to look at."""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict, deque
from importlib import import_module

from torchlike._core.sizes import Size
from torchlike.func import trees
from torchlike.func.trees import Spec

_PROTOCOL = 1
_NAMES = {
    tuple: "builtins.tuple", list: "builtins.list", dict: "builtins.dict", Size: "torch.Size",
    OrderedDict: "collections.OrderedDict", defaultdict: "collections.defaultdict",
    deque: "collections.deque",
}  # fmt: skip
_KINDS = {name: kind for kind, name in _NAMES.items()}
# Of classes that a program has registered: class -> (name, context to JSON, the way back).
REGISTERED: dict = {}


def dumps(spec: Spec, protocol: int | None = None) -> str:
    """The structure as JSON; raises ``NotImplementedError`` for a class without a name there."""
    _check(_PROTOCOL if protocol is None else protocol)
    return json.dumps([_PROTOCOL, _node(spec)])


def _check(protocol) -> None:
    if protocol != _PROTOCOL:
        raise ValueError(f"Unknown protocol {protocol}. Available protocols: [{_PROTOCOL}]")


def _node(spec: Spec) -> dict:
    if spec.kind is None:
        return {"type": None, "context": None, "children_spec": []}
    kind, context = spec.kind, spec.context
    name = _NAMES.get(kind)
    if kind in REGISTERED:
        name, to_text, _ = REGISTERED[kind]
        context = json.dumps(context) if to_text is None else to_text(context)
    elif name is None:
        raise NotImplementedError(
            f"Can't serialize TreeSpec of {kind}: register it with a serialized_type_name"
        )
    elif kind is defaultdict:
        factory, keys = context
        context = {
            "default_factory_module": factory.__module__,
            "default_factory_name": factory.__qualname__,
            "dict_context": keys,
        }
    else:
        context = json.dumps(context)
    return {"type": name, "context": context, "children_spec": [_node(p) for p in spec.parts]}


def loads(serialized: str) -> Spec:
    """The structure that ``dumps`` wrote; raises ``NotImplementedError`` for an unknown name."""
    protocol, node = json.loads(serialized)
    _check(protocol)
    return _spec(node)


def _spec(node: dict) -> Spec:
    name, context = node["type"], node["context"]
    if name is None:
        return trees.LEAF
    parts = [_spec(child) for child in node["children_spec"]]
    for kind, (own, _, from_text) in REGISTERED.items():
        if own == name:
            return Spec(kind, (json.loads if from_text is None else from_text)(context), parts)
    kind = _KINDS.get(name)
    if kind is None:
        raise NotImplementedError(f"Deserializing {name} in pytree is not registered.")
    if kind is defaultdict:
        factory = import_module(context["default_factory_module"])
        for part in context["default_factory_name"].split("."):
            factory = getattr(factory, part)
        return Spec(kind, [factory, context["dict_context"]], parts)
    return Spec(kind, json.loads(context), parts)


class _Star:
    def __repr__(self) -> str:
        return "*"


def pprint(spec: Spec) -> str:
    """The tree with "*" for its leaves."""
    return repr(trees.unflatten([_Star()] * spec.num_leaves, spec))
