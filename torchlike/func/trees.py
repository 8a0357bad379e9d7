"""Nested tuples, lists and dicts as a list of leaves and a structure, in PyTorch's order."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque

from torchlike._core.sizes import Size


class Spec:
    """The structure of a tree: the class of its root, what else it takes to build it, the parts.

    A leaf has the class None.
    """

    __slots__ = ("context", "kind", "parts")

    def __init__(self, kind=None, context=None, parts=()):
        self.kind, self.context, self.parts = kind, context, parts

    def __eq__(self, other):
        return (
            isinstance(other, Spec)
            and self.kind is other.kind
            and self.context == other.context
            and self.parts == other.parts
        )

    def __hash__(self):
        return hash((self.kind, repr(self.context), tuple(self.parts)))

    def __repr__(self):
        return self.show(0)

    def show(self, indent: int) -> str:
        """What PyTorch prints for the structure."""
        if self.kind is None:
            return "*"
        parts = (",\n" + " " * (indent + 2)).join(p.show(indent + 2) for p in self.parts)
        name, context = self.kind.__name__, self.context
        ours = self.kind.__module__ == "torchlike.return_types"  # not named tuples there
        if hasattr(self.kind, "_fields") and not ours:
            name, context = "namedtuple", self.kind
        return f"TreeSpec({name}, {context}, [{parts}])"

    @property
    def num_leaves(self) -> int:
        """How many leaves such a tree has."""
        return 1 if self.kind is None else sum(p.num_leaves for p in self.parts)

    @property
    def num_nodes(self) -> int:
        """How many containers and leaves such a tree has."""
        return 1 + sum(p.num_nodes for p in self.parts)

    @property
    def num_children(self) -> int:
        """How many parts the root has."""
        return len(self.parts)

    @property
    def type(self):
        """The class of the root; None for a leaf."""
        return self.kind

    @property
    def children_specs(self) -> list:
        """The structures of the parts."""
        return list(self.parts)

    def children(self) -> list:
        """The structures of the parts."""
        return list(self.parts)

    def child(self, index: int):
        """The structure of one part."""
        return self.parts[index]

    def is_leaf(self) -> bool:
        """Whether the tree is a single leaf."""
        return self.kind is None

    def unflatten(self, leaves):
        """The tree of this structure with these leaves."""
        return unflatten(leaves, self)


LEAF = Spec()
# Containers that a program has registered: class -> (tree -> (parts, context), the way back).
NODES: dict = {}


def _children(tree):
    """(class, context, parts) of a container; None for a leaf."""
    kind = tree.__class__
    if kind in (tuple, list, Size):
        return kind, None, list(tree)
    if kind in (dict, OrderedDict):
        return kind, list(tree), list(tree.values())
    if kind is defaultdict:
        return kind, [tree.default_factory, list(tree)], list(tree.values())
    if kind is deque:
        return kind, tree.maxlen, list(tree)
    if isinstance(tree, tuple) and (hasattr(kind, "_fields") or hasattr(kind, "n_fields")):
        return kind, None, list(tree)
    if kind in NODES:
        parts, context = NODES[kind][0](tree)
        return kind, context, list(parts)
    return None


def flatten(tree, is_leaf=None) -> tuple[list, Spec]:
    """The leaves of a tree and its structure; ``is_leaf`` says what else counts as a leaf."""
    leaves: list = []
    return leaves, _flatten_into(tree, leaves, is_leaf)


def _flatten_into(tree, leaves, is_leaf=None) -> Spec:
    found = None if is_leaf is not None and is_leaf(tree) else _children(tree)
    if found is None:
        leaves.append(tree)
        return LEAF
    kind, context, parts = found
    return Spec(kind, context, [_flatten_into(p, leaves, is_leaf) for p in parts])


def unflatten(leaves, spec: Spec):
    """The tree of this structure with these leaves."""
    return _build(iter(leaves), spec)


def _build(leaves, spec: Spec):
    if spec.kind is None:
        return next(leaves)
    parts = [_build(leaves, p) for p in spec.parts]
    kind, context = spec.kind, spec.context
    if kind in (dict, OrderedDict):
        return kind(zip(context, parts, strict=True))
    if kind is defaultdict:
        return defaultdict(context[0], zip(context[1], parts, strict=True))
    if kind is deque:
        return deque(parts, context)
    if kind in NODES:
        return NODES[kind][1](parts, context)
    if hasattr(kind, "_fields"):
        return kind(*parts)
    if kind is Size and not all(isinstance(p, int) for p in parts):
        return tuple(parts)  # a map made something else of the lengths
    return kind(parts)


def map_tree(function, tree):
    """The tree with ``function`` applied to every leaf."""
    leaves, spec = flatten(tree)
    return unflatten([function(x) for x in leaves], spec)


def broadcast(prefix, spec: Spec) -> list | None:
    """One leaf of ``prefix`` for each leaf of a tree that it is a prefix of; None if it is not."""
    found = _children(prefix)
    if found is None or spec.kind is None:
        return None if found is not None else [prefix] * spec.num_leaves
    kind, context, parts = found
    if kind is not spec.kind or context != spec.context or len(parts) != len(spec.parts):
        return None
    out: list = []
    for part, below in zip(parts, spec.parts, strict=True):
        leaves = broadcast(part, below)
        if leaves is None:
            return None
        out += leaves
    return out
