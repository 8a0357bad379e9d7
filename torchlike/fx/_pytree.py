"""Nested arguments as generated code takes them apart and builds them."""

from __future__ import annotations

from torchlike.func import trees


def tree_flatten(tree, is_leaf=None):
    """The leaves, and the structure."""
    return trees.flatten(tree, is_leaf)


def tree_unflatten(leaves, spec):
    """The tree of a structure and its leaves."""
    return trees.unflatten(list(leaves), spec)


def tree_map(function, tree, is_leaf=None):
    """The tree with a function of each leaf."""
    leaves, spec = trees.flatten(tree, is_leaf)
    return trees.unflatten([function(x) for x in leaves], spec)


def arg_tree_leaves(*args, **kwargs) -> list:
    """The leaves of all arguments."""
    return [*(x for a in args for x in trees.flatten(a)[0]), *trees.flatten(kwargs)[0]]


def tree_flatten_spec(tree, spec) -> list:
    """The leaves of a tree that is to have a structure; dicts may have their keys in another order.

    Raises ``TypeError``, ``KeyError`` or ``IndexError`` where it has another.
    """
    if spec.kind is None:
        return [tree]
    if issubclass(spec.kind, dict):
        parts = [tree[key] for key in spec.context]
    elif issubclass(spec.kind, (tuple, list)):
        parts = [tree[i] for i in range(len(spec.parts))]
    else:
        parts = trees._children(tree)[2]
    found: list = []
    for part, below in zip(parts, spec.parts, strict=True):
        found += tree_flatten_spec(part, below)
    return found
