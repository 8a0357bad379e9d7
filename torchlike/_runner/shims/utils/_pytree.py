"""torch.utils._pytree: nested containers as a list of leaves and a structure."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from torchlike.func import tree_text, trees
from torchlike.func.trees import Spec as TreeSpec

_LEAF_SPEC = trees.LEAF
_paths: dict[type, Callable] = {}  # for registered classes: tree -> ([(key, part)], context)
Context = Any
PyTree = Any


class LeafSpec(TreeSpec):
    """The structure of a leaf."""


def _get_node_type(tree) -> type:
    """The class under which a tree's own is registered: ``namedtuple`` for all such."""
    kind = type(tree)
    return namedtuple if issubclass(kind, tuple) and hasattr(kind, "_fields") else kind


class _Node(NamedTuple):
    type: type
    flatten_fn: Callable
    unflatten_fn: Callable


class _Nodes(dict):
    """The registered classes and the built-in ones, with how each is taken apart."""

    def __missing__(self, kind):
        if kind in trees.NODES:
            return _Node(kind, *trees.NODES[kind])
        if kind not in (tuple, list, dict, OrderedDict, defaultdict, deque, namedtuple):
            raise KeyError(kind)

        def take_apart(tree):
            _, context, parts = trees._children(tree)
            return parts, type(tree) if kind is namedtuple else context

        def build(parts, context):
            parts = list(parts)
            if kind is namedtuple:
                return context(*parts)
            spec = TreeSpec(kind, context, [trees.LEAF] * len(parts))
            return trees.unflatten(parts, spec)

        return _Node(kind, take_apart, build)

    def __contains__(self, kind) -> bool:
        try:
            self[kind]
        except KeyError:
            return False
        return True


SUPPORTED_NODES = _Nodes()


# ---- leaves ------------------------------------------------------------------------------------


def tree_flatten(tree, is_leaf=None) -> tuple[list, TreeSpec]:
    """The leaves and the structure."""
    return trees.flatten(tree, is_leaf)


def tree_unflatten(leaves: Iterable, treespec: TreeSpec):
    """The tree of a structure and its leaves; raises ``ValueError`` for too many or too few."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError(
            f"Expected `treespec` to be an instance of PyTreeSpec but got item of type "
            f"{type(treespec)}."
        )
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten(leaves, treespec): `leaves` has length {len(leaves)} but the spec "
            f"refers to a pytree that holds {treespec.num_leaves} items ({treespec})."
        )
    return trees.unflatten(leaves, treespec)


def tree_leaves(tree, is_leaf=None) -> list:
    """The leaves."""
    return trees.flatten(tree, is_leaf)[0]


def tree_iter(tree, is_leaf=None) -> Iterator:
    """The leaves, one by one."""
    return iter(tree_leaves(tree, is_leaf))


def tree_structure(tree, is_leaf=None) -> TreeSpec:
    """The structure."""
    return trees.flatten(tree, is_leaf)[1]


def tree_is_leaf(tree, is_leaf=None) -> bool:
    """Whether it is a leaf."""
    return tree_structure(tree, is_leaf).is_leaf()


def arg_tree_leaves(*args, **kwargs) -> list:
    """The leaves of all arguments."""
    return [*(x for a in args for x in tree_leaves(a)), *tree_leaves(kwargs)]


# ---- maps --------------------------------------------------------------------------------------


def tree_map(func: Callable, tree, *rests, is_leaf=None):
    """``func`` of every leaf, and of the leaves of trees of the same structure."""
    leaves, spec = trees.flatten(tree, is_leaf)
    others = [_up_to(spec, rest) for rest in rests]
    return trees.unflatten([func(*xs) for xs in zip(leaves, *others, strict=True)], spec)


def _up_to(spec: TreeSpec, tree) -> list:
    """The parts of a tree that stand where a structure has its leaves."""
    if spec.is_leaf():
        return [tree]
    found = trees._children(tree)
    if found is None or found[0] is not spec.kind:
        raise ValueError(f"Node type mismatch; expected {spec.kind}, but got {type(tree)}.")
    parts = found[2]
    if len(parts) != len(spec.parts):
        raise ValueError(f"Node arity mismatch; expected {len(spec.parts)}, but got {len(parts)}.")
    if spec.kind is dict:
        if set(tree) != set(spec.context):
            raise ValueError(f"Node keys mismatch; expected {spec.context}, but got {list(tree)}.")
        parts = [tree[key] for key in spec.context]
    return [x for below, part in zip(spec.parts, parts, strict=True) for x in _up_to(below, part)]


def tree_map_(func: Callable, tree, *rests, is_leaf=None):
    """``tree_map`` for what ``func`` does; returns the tree."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def _chooser(wanted) -> Callable:
    if isinstance(wanted, (type, tuple)) or not callable(wanted):
        return lambda x: isinstance(x, wanted)
    return wanted


def map_only(type_or_types_or_pred, /):
    """Decorator: a function for leaves of some classes, which returns others as they are."""
    chosen = _chooser(type_or_types_or_pred)
    return lambda func: lambda x: func(x) if chosen(x) else x


def tree_map_only(type_or_types_or_pred, /, func: Callable, tree, is_leaf=None):
    """``tree_map`` of the leaves of some classes, or for which a function holds."""
    return tree_map(map_only(type_or_types_or_pred)(func), tree, is_leaf=is_leaf)


def tree_map_only_(type_or_types_or_pred, /, func: Callable, tree, is_leaf=None):
    """``tree_map_only`` for what ``func`` does; returns the tree."""
    return tree_map_(map_only(type_or_types_or_pred)(func), tree, is_leaf=is_leaf)


def tree_all(pred: Callable, tree, is_leaf=None) -> bool:
    """Whether it holds for all leaves."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable, tree, is_leaf=None) -> bool:
    """Whether it holds for a leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))


def tree_all_only(type_or_types, /, pred: Callable, tree, is_leaf=None) -> bool:
    """Whether it holds for all leaves of some classes."""
    return all(pred(x) for x in tree_leaves(tree, is_leaf) if isinstance(x, type_or_types))


def tree_any_only(type_or_types, /, pred: Callable, tree, is_leaf=None) -> bool:
    """Whether it holds for a leaf of some classes."""
    return any(pred(x) for x in tree_leaves(tree, is_leaf) if isinstance(x, type_or_types))


def _broadcast_to_and_flatten(tree, treespec: TreeSpec, is_leaf=None) -> list | None:
    """One leaf of ``tree`` for each leaf of a structure that it begins; None if it does not."""
    return trees.broadcast(tree, treespec)


# ---- classes of one's own ----------------------------------------------------------------------


def register_pytree_node(
    cls: type, flatten_fn: Callable, unflatten_fn: Callable, *,
    serialized_type_name: str | None = None, to_dumpable_context=None,
    from_dumpable_context=None, flatten_with_keys_fn=None,
) -> None:  # fmt: skip
    """Let trees contain a class: ``flatten_fn(x) -> (parts, context)`` and the way back.

    Raises ``ValueError`` for a class that is registered.
    """
    if cls in trees.NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    trees.NODES[cls] = flatten_fn, unflatten_fn
    if serialized_type_name is not None:
        tree_text.REGISTERED[cls] = (
            serialized_type_name, to_dumpable_context, from_dumpable_context
        )  # fmt: skip
    if flatten_with_keys_fn is not None:
        _paths[cls] = flatten_with_keys_fn


def _register_pytree_node(
    cls: type, flatten_fn, unflatten_fn, to_str_fn=None, maybe_from_str_fn=None, **names
) -> None:
    """The old name of ``register_pytree_node``."""
    register_pytree_node(cls, flatten_fn, unflatten_fn, **names)


_private_register_pytree_node = _register_pytree_node


def _deregister_pytree_node(cls: type) -> None:
    """Let instances be leaves again."""
    del trees.NODES[cls]
    _paths.pop(cls, None)
    tree_text.REGISTERED.pop(cls, None)


def register_dataclass(
    cls: type, *, field_names=None, drop_field_names=None, serialized_type_name=None
) -> None:
    """Let trees contain a dataclass: its fields are its parts."""
    dropped = set(drop_field_names or ())
    names = [f.name for f in dataclasses.fields(cls) if f.init and f.name not in dropped]
    names = list(field_names) if field_names is not None else names

    def flatten_fn(x):
        return [getattr(x, n) for n in names], None

    def with_keys(x):
        return [(GetAttrKey(n), getattr(x, n)) for n in names], None

    def unflatten_fn(parts, context):
        return cls(**dict(zip(names, parts, strict=True)))

    register_pytree_node(cls, flatten_fn, unflatten_fn, flatten_with_keys_fn=with_keys)


def register_constant(cls: type) -> None:
    """Let instances of a class be part of the structure, not leaves."""
    register_pytree_node(cls, lambda x: ([], x), lambda parts, x: x)


# ---- structures as text ------------------------------------------------------------------------


def treespec_dumps(treespec: TreeSpec, protocol: int | None = None) -> str:
    """The structure as JSON, which PyTorch reads too; raises ``TypeError`` for no structure."""
    if not isinstance(treespec, TreeSpec):
        raise TypeError(
            "treespec_dumps(treespec, protocol): Expected `treespec` to be instance of TreeSpec "
            f"but got item of type {type(treespec)}."
        )
    return tree_text.dumps(treespec, protocol)


def treespec_loads(serialized: str) -> TreeSpec:
    """The structure that ``treespec_dumps`` wrote."""
    return tree_text.loads(serialized)


def treespec_pprint(treespec: TreeSpec) -> str:
    """The tree with "*" for its leaves."""
    return tree_text.pprint(treespec)


# ---- paths -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class MappingKey:
    """A key of a dict."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"

    def get(self, mapping):
        """The value there."""
        return mapping[self.key]


@dataclasses.dataclass(frozen=True)
class SequenceKey:
    """A place in a list or a tuple."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"

    def get(self, sequence):
        """The value there."""
        return sequence[self.idx]


@dataclasses.dataclass(frozen=True)
class GetAttrKey:
    """The name of a field."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"

    def get(self, obj):
        """The value there."""
        return getattr(obj, self.name)


KeyEntry = MappingKey | SequenceKey | GetAttrKey


def _walk(path: tuple, tree, is_leaf) -> Iterator[tuple]:
    found = None if is_leaf is not None and is_leaf(tree) else trees._children(tree)
    if found is None:
        yield path, tree
        return
    kind, _, parts = found
    if kind in _paths:
        keyed, _ = _paths[kind](tree)
    elif isinstance(tree, dict):
        keyed = [(MappingKey(k), v) for k, v in tree.items()]
    elif hasattr(kind, "_fields"):
        keyed = [(GetAttrKey(n), v) for n, v in zip(kind._fields, parts, strict=True)]
    else:
        keyed = [(SequenceKey(i), v) for i, v in enumerate(parts)]
    for key, part in keyed:
        yield from _walk((*path, key), part, is_leaf)


def tree_leaves_with_path(tree, is_leaf=None) -> list[tuple]:
    """(path, leaf) of each leaf."""
    return list(_walk((), tree, is_leaf))


def tree_flatten_with_path(tree, is_leaf=None) -> tuple[list[tuple], TreeSpec]:
    """(path, leaf) of each leaf, and the structure."""
    return tree_leaves_with_path(tree, is_leaf), tree_structure(tree, is_leaf)


def tree_map_with_path(func: Callable, tree, *rests, is_leaf=None):
    """``tree_map`` of a function that gets each leaf's path first."""
    pairs, spec = tree_flatten_with_path(tree, is_leaf)
    others = [_up_to(spec, rest) for rest in rests]
    return trees.unflatten(
        [func(path, x, *xs) for (path, x), *xs in zip(pairs, *others, strict=True)], spec
    )


def keystr(kp: tuple) -> str:
    """A path as the Python that follows it."""
    return "".join(map(str, kp))


def key_get(obj, kp: tuple):
    """What a path leads to."""
    for key in kp:
        obj = key.get(obj)
    return obj


# ---- how built-in containers are taken apart ---------------------------------------------------


def _dict_flatten(d) -> tuple[list, list]:
    """The values and the keys."""
    return list(d.values()), list(d)


def _dict_flatten_with_keys(d) -> tuple[list, list]:
    """(key, value) of each entry, and the keys."""
    return [(MappingKey(k), v) for k, v in d.items()], list(d)


def _dict_unflatten(values, context) -> dict:
    """The dict of these values under the keys."""
    return dict(zip(context, values, strict=True))


def _list_flatten(x) -> tuple[list, None]:
    """The entries."""
    return list(x), None


def _list_unflatten(values, context) -> list:
    """The list of them."""
    return list(values)


def _tuple_flatten(x) -> tuple[list, None]:
    """The entries."""
    return list(x), None


def _tuple_unflatten(values, context) -> tuple:
    """The tuple of them."""
    return tuple(values)
