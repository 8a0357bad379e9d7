"""backward and grad: the public entries to the tape walk, with PyTorch's argument rules."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import NamedTuple

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotTraceable
from torchlike._core.settings import settings
from torchlike._engine.prefix import local, record
from torchlike._engine.values import Value
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, levels, tape
from torchlike._tensor import tensor as tensors_module
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.modes import enable_grad, modes, no_grad


class GradientEdge(NamedTuple):
    """A place on the tape, the ``output_nr``-th result of ``node``, in place of a tensor there."""

    node: object
    output_nr: int
    ownership_token: object = None


def edge_of(t):
    """Where a gradient for ``t`` enters the tape: (node, index), or the leaf itself."""
    if t.__class__ is GradientEdge:
        node = t.node
        return node.variable if node.__class__ is tape.AccumulateGrad else (node, t.output_nr)
    t._refresh()
    return t if t._node is None else (t._node, t._index)


def _roots(tensors, gradients, create_graph):
    roots = []
    for i, (t, g) in enumerate(zip(tensors, gradients, strict=True)):
        if t.__class__ is GradientEdge:
            roots.append((edge_of(t), _root_of_edge(t, g, create_graph)))
            continue
        if not t.requires_grad:
            raise RuntimeError(
                f"element {i} of tensors does not require grad and does not have a grad_fn"
            )
        a = t._value.aval
        if g is None:
            if a.numel != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if a.dtype.category == dt.COMPLEX:
                raise RuntimeError(
                    f"grad can be implicitly created only for real scalar outputs but got {a.dtype}"
                )
            g = dispatch.wrap(record(TABLE["ones_like"], (None,), (dispatch.value_of(t),))[0][0])
        elif not isinstance(g, dispatch._Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        else:
            b = g._value.aval
            if a.shape != b.shape:
                raise RuntimeError(
                    f"Mismatch in shape: grad_output[{i}] has a shape of "
                    f"torch.Size({list(b.shape)}) and output[{i}] has a shape of "
                    f"torch.Size({list(a.shape)})."
                )
            if (a.dtype.category == dt.COMPLEX) != (b.dtype.category == dt.COMPLEX):
                raise RuntimeError(
                    "For complex Tensors, both grad_output and output are required to have the "
                    f"same dtype. Mismatch in dtype: grad_output[{i}] has a dtype of {b.dtype} and "
                    f"output[{i}] has a dtype of {a.dtype}."
                )
        roots.append((edge_of(t), g if create_graph else dispatch.to_value(g)))
    return roots


def _root_of_edge(edge, gradient, create_graph):
    """The gradient put in at an edge; ones if it is one number and none is given."""
    if gradient is None:
        node = edge_of(edge)
        if node.__class__ is not tuple:
            found = node._value.aval
        elif node[0].call is not None:
            found = node[0].call.avals[edge.output_nr]
        else:
            found = node[0].shapes[edge.output_nr]
        if found.numel != 1:
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        gradient = FUNCTIONS["ones"](found.shape, dtype=found.dtype, device=found.device)
    return gradient if create_graph else dispatch.to_value(gradient)


def _sequence(x):
    """One tensor or edge, or any iterable of them (``model.parameters()`` is a generator)."""
    if x is None or x.__class__ is GradientEdge or isinstance(x, dispatch._Tensor):
        return [x]
    return list(x.values() if isinstance(x, dict) else x)


def _grad_tensors(grad_tensors, grad_variables):
    """The gradients put in, by their new name or the old one."""
    if grad_variables is None:
        return grad_tensors
    warnings.warn(
        "`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=3
    )
    if grad_tensors is not None:
        raise RuntimeError(
            "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to "
            "`backward()`. Please only use `grad_tensors`."
        )
    return grad_variables


def backward(
    tensors, grad_tensors=None, retain_graph=None, create_graph=False, grad_variables=None,
    inputs=None,
):  # fmt: skip
    """Accumulate into ``.grad`` of the leaves the gradients of ``tensors``
    (https://pytorch.org/docs/stable/generated/torch.autograd.backward.html)."""
    if modes.bodies:
        raise NotTraceable("backward()")
    if modes.transforms:
        raise RuntimeError(
            "backward() called inside a functorch transform. This is not supported, please use "
            "functorch.grad or functorch.vjp instead or call backward() outside of functorch "
            "transforms."
        )
    if grad_variables is not None:
        grad_tensors = _grad_tensors(grad_tensors, grad_variables)
    if retain_graph is None:
        retain_graph = create_graph
    wanted = None
    if inputs is not None:
        inputs = _sequence(inputs)
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
        wanted = [edge_of(t) for t in inputs]
    plain = not (retain_graph or create_graph or inputs or modes.anomaly) and grad_tensors is None
    before, walk = modes.grad, modes.walk
    try:  # around the setting, too: Ctrl-C may fall between any two lines
        modes.grad = create_graph
        modes.walk = tensors, wanted
        pairs = again(tensors) if plain and isinstance(tensors, dispatch._Tensor) else None
        if pairs is None:
            tensors = _sequence(tensors)
            gradients = [None] * len(tensors) if grad_tensors is None else _sequence(grad_tensors)
            roots = _roots(tensors, gradients, create_graph)
            for t in inputs or ():
                if t.__class__ is not GradientEdge and t._node is not None:
                    t.retain_grad()
            leaves, _ = tape.run(
                roots, dispatch, create_graph=create_graph, retain_graph=retain_graph, wanted=wanted
            )
            pairs = leaves.values()
        for leaf, grad in pairs:
            if wanted is None or any(w is leaf for w in wanted):
                if leaf._hooks:
                    grad = tape.run_leaf_hooks(leaf, grad, dispatch, create_graph)
                if leaf._requires_grad or leaf._node is not None:  # still
                    leaf.accumulate_grad(grad, create_graph)
                if leaf._after_hooks is not None:
                    for hook in list(leaf._after_hooks.values()):
                        given = hook(leaf)
                        if given is not None and given is not leaf:
                            raise RuntimeError(
                                "Tensor post accumulate grad hooks should return None."
                            )
    finally:
        modes.grad, modes.walk = before, walk
    # Not flushed here: an optimizer step that follows joins this program. The next forward
    # pass starts a new one (see Module.__call__), so that accumulated micro-batches do not pile up.
    local.after_backward = local.segment


tensors_module._backward = backward


def again(tensor):
    """(leaf, gradient) pairs of a scalar that was walked before after the same prefix; or None.

    The first time here the tape is walked and what it recorded is kept; from then on that is
    recorded in one go, which takes a fraction of the time.
    """
    tensor._refresh()
    if tensor._node is None or tensor._value.aval.numel != 1 or settings.immediate:
        return None
    if tensor._value.aval.dtype.category == dt.COMPLEX:
        return None
    found = tape.signature((tensor._node, tensor._index))
    if found is None:
        return None
    nodes, leaves, key = found
    segment = local.segment
    start = segment.node
    stretch = start.children.get(key)
    if stretch is not None:
        return tape.walk_again(nodes, leaves, stretch)
    walked, _ = tape.run(_roots([tensor], [None], False), dispatch)
    if local.segment is segment:
        tape.remember_walk(start, leaves, key, walked)
    return walked.values()


def grad(
    outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False,
    only_inputs=True, allow_unused=None, is_grads_batched=False, materialize_grads=False,
):  # fmt: skip
    """Gradients of ``outputs`` with respect to ``inputs``, as a tuple
    (https://pytorch.org/docs/stable/generated/torch.autograd.grad.html)."""
    if isinstance(inputs, dict):
        found = grad(
            outputs, list(inputs.values()), grad_outputs, retain_graph, create_graph, only_inputs,
            allow_unused, is_grads_batched, materialize_grads,
        )  # fmt: skip
        return dict(zip(inputs, found, strict=True))
    outputs, inputs = _sequence(outputs), _sequence(inputs)
    if is_grads_batched:
        return _batched_grad(
            outputs, inputs, _sequence(grad_outputs), retain_graph, create_graph,
            allow_unused=allow_unused, materialize_grads=materialize_grads,
        )  # fmt: skip
    if allow_unused is None:
        allow_unused = materialize_grads
    elif allow_unused is False and materialize_grads:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
            "allow_unused=False."
        )
    gradients = [None] * len(outputs) if grad_outputs is None else _sequence(grad_outputs)
    if retain_graph is None:
        retain_graph = create_graph
    if not inputs:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    for t in inputs:
        if t.__class__ is GradientEdge:
            continue
        if not isinstance(t, dispatch._Tensor):
            raise RuntimeError(
                f"all inputs have to be Tensors or GradientEdges, but got {type(t).__name__}"
            )
        if not t.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    roots = _roots(outputs, gradients, create_graph)
    wanted = [edge_of(t) for t in inputs]
    with enable_grad() if create_graph else no_grad(), _walking(outputs, wanted):
        leaves, interior = tape.run(
            roots, dispatch, create_graph=create_graph, retain_graph=retain_graph, wanted=wanted
        )
        for key, (leaf, g) in leaves.items():
            if leaf._hooks:
                leaves[key] = leaf, tape.run_leaf_hooks(leaf, g, dispatch, create_graph)
        out = []
        for t, edge in zip(inputs, wanted, strict=True):
            if edge.__class__ is tuple:
                g = interior.get(edge)
            else:
                g = leaves.get(id(edge), (None, None))[1]
            if g is None:
                if materialize_grads:
                    g = dispatch.apply(TABLE["zeros_like"], (t.detach(),), (None,))
                    g.requires_grad_(create_graph)
                elif not allow_unused:
                    raise RuntimeError(
                        f"The differentiated Tensor at index {len(out)} appears to not have been "
                        "used in the graph. Set allow_unused=True if this is the desired behavior."
                    )
            elif g.__class__ is Value:
                g = dispatch.wrap(g)
            out.append(g)
    return tuple(out)


@contextmanager
def _walking(outputs, wanted):
    walk, modes.walk = modes.walk, (outputs, wanted)
    try:
        yield
    finally:
        modes.walk = walk


def _batched_grad(outputs, inputs, grad_outputs, *args, **kwargs):
    """``grad`` for a batch of gradients put in, along their first dimension."""
    given = [g for g in grad_outputs if g is not None]
    with levels.open_level(given[0].shape[0], "error") as level:
        seeds = [None if g is None else levels.enter(g, level, True) for g in grad_outputs]
        found = grad(outputs, inputs, seeds, *args, **kwargs)
        return tuple(None if g is None else levels.leave(g, level) for g in found)
