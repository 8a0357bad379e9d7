"""Hooks of backward: in which order they are called, and what they may give back.

Of one node, as in PyTorch: the hooks of the tensors that it made, its own prehooks and, after its
derivative, its own hooks. Of a leaf: its tensor's hooks, the prehooks of its node and, after its
gradient has been added, the hooks for that, then those of its node.
"""

from __future__ import annotations


def _name(hook) -> str:
    return getattr(hook, "__name__", "<unknown>")


def checked(hook, before, after, tensors):
    """What a hook gave in place of the tensor ``before``; raises if it cannot stand there."""
    if after is None:
        return None
    if before is None:
        raise RuntimeError("can't replace a None gradient with a non-None value")
    if not isinstance(after, tensors._Tensor):
        raise TypeError(f"expected Variable, but hook returned '{type(after).__name__}'")
    if after is before:
        return after
    if after._value.aval.shape != before._value.aval.shape:
        raise RuntimeError(f"hook '{_name(hook)}' has changed the size of value")
    if after.dtype is not before.dtype:
        raise RuntimeError(
            f"hook '{_name(hook)}' has changed the type of value (was {before.type()} got "
            f"{after.type()})"
        )
    return after


def _all_checked(hook, before, after, tensors) -> list:
    """The same for a hook of a node, which takes and gives tuples."""
    if not isinstance(after, tuple):
        raise TypeError(f"expected tuple, but hook returned '{type(after).__name__}'")
    if len(after) != len(before):
        raise RuntimeError(
            f"hook '{_name(hook)}' has returned an incorrect number of values (got {len(after)}, "
            f"but expected {len(before)})"
        )
    return [checked(hook, b, a, tensors) for b, a in zip(before, after, strict=True)]


def _shown(grads, tensors) -> tuple:
    return tuple(None if g is None else tensors.to_tensor(g) for g in grads)


def _taken(shown, tensors, create_graph):
    """A gradient that hooks have seen, and may have changed in place, as the walk has it."""
    return shown if create_graph or shown is None else tensors.to_value(shown)


def _after(hook, shown, out, tensors):
    out = checked(hook, shown, out, tensors)
    return shown if out is None else out


def run_tensor_hooks(node, grads, tensors, create_graph):
    """The gradients of a node's results after the hooks of these have seen them."""
    for index, hook in list(node.pre_hooks.values()):
        if index is not None:
            (shown,) = _shown([grads[index]], tensors)
            out = _after(hook, shown, hook(shown), tensors)
            grads[index] = _taken(out, tensors, create_graph)
    return grads


def run_pre_hooks(node, grads, tensors, create_graph):
    """The gradients of a node's results after its own prehooks have seen them."""
    for index, hook in list(node.pre_hooks.values()):
        if index is None:
            shown = _shown(grads, tensors)
            out = hook(shown)
            out = shown if out is None else _all_checked(hook, shown, out, tensors)
            grads = [_taken(g, tensors, create_graph) for g in out]
    return grads


def run_hooks(node, out, grads, tensors, create_graph):
    """A node's gradients after its own hooks have seen them, with None for what wants none."""
    edges = node.shown_edges()
    found = iter(out)
    shown = _shown([None if edge is None else next(found) for edge in edges], tensors)
    for hook in list(node.hooks.values()):
        changed = hook(shown, _shown(grads, tensors))
        if changed is not None:
            shown = tuple(_all_checked(hook, shown, changed, tensors))
    pairs = zip(shown, edges, strict=True)
    return [_taken(g, tensors, create_graph) for g, edge in pairs if edge is not None]


# ---- of leaves ---------------------------------------------------------------------------------


def of_node(hook):
    """Mark what is registered with a tensor for a hook of its node: it is called after its own."""
    hook.of_node = True
    return hook


def _in_order(hooks) -> list:
    found = list(hooks.values())
    own = [h for h in found if not getattr(h, "of_node", False)]
    return own, [h for h in found if getattr(h, "of_node", False)]


def run_leaf_hooks(leaf, grad, tensors, create_graph, node=True):
    """Call a leaf's hooks on its complete gradient, those of its node if wanted; what they return
    takes its place."""
    own, nodes = _in_order(leaf._hooks)
    for hook in own + nodes if node else own:
        (shown,) = _shown([grad], tensors)
        grad = _taken(_after(hook, shown, hook(shown), tensors), tensors, create_graph)
    return grad


def run_after_hooks(leaf, grad, tensors) -> None:
    """Call what waits for a leaf's gradient to have been added."""
    own, nodes = _in_order(leaf._after_hooks)
    for hook in own:
        given = checked(hook, leaf, hook(leaf), tensors)
        if given is not None and given is not leaf:
            raise RuntimeError("Tensor post accumulate grad hooks should return None.")
    for hook in nodes:
        hook(*_shown([grad], tensors))
