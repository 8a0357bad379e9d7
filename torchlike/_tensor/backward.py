"""backward and grad: the public entries to the tape walk, with PyTorch's argument rules."""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from typing import NamedTuple

from torchlike._core import dtypes as dt
from torchlike._core.errors import warn_once
from torchlike._core.settings import settings
from torchlike._engine.prefix import local, record
from torchlike._engine.values import Value
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, levels, shown, tape
from torchlike._tensor import tensor as tensors_module
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.hooks import run_after_hooks, run_leaf_hooks
from torchlike._tensor.modes import enable_grad, modes, no_grad


class GradientEdge(NamedTuple):
    """A place on the tape, the ``output_nr``-th result of ``node``, in place of a tensor there."""

    node: object
    output_nr: int
    ownership_token: object = None


def edge_of(t):
    """Where a gradient for ``t`` enters the tape: (node, index), or the leaf itself."""
    if t.__class__ is GradientEdge:
        node = getattr(t.node, "_tape_node", t.node)  # of a Function its ctx is shown
        return node.variable if node.__class__ is tape.AccumulateGrad else (node, t.output_nr)
    t._refresh()
    return t if t._node is None else (t._node, t._index)


def _roots(tensors, gradients, create_graph):
    if len(gradients) < len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(gradients)} gradients")
    roots = []
    for i, (t, g) in enumerate(zip(tensors, gradients, strict=False)):
        if t.__class__ is GradientEdge:
            edge = edge_of(t)
            a = _aval_at(edge)
        else:
            if not t.requires_grad:
                raise RuntimeError(
                    f"element {i} of tensors does not require grad and does not have a grad_fn"
                )
            a = t._value.aval
            edge = edge_of(t)
        if g is None:
            if a.numel != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if a.dtype.category == dt.COMPLEX:
                raise RuntimeError(
                    f"grad can be implicitly created only for real scalar outputs but got {a.dtype}"
                )
            if t.__class__ is GradientEdge:
                g = FUNCTIONS["ones"](a.shape, dtype=a.dtype, device=a.device)
            else:
                like = dispatch.value_of(t)
                g = dispatch.wrap(record(TABLE["ones_like"], (None,), (like,))[0][0])
        elif not isinstance(g, dispatch._Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        else:
            _check_gradient(i, a, g._value.aval)
            if g._value.aval.dtype is not a.dtype:
                g = g.to(a.dtype)
        roots.append((edge, g if create_graph else dispatch.to_value(g)))
    return roots


def _check_gradient(i: int, a, b) -> None:
    """Raise if a gradient with the aval ``b`` is none of the i-th output, of the aval ``a``."""
    if a.shape != b.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{i}] has a shape of torch.Size({list(b.shape)}) and "
            f"output[{i}] has a shape of torch.Size({list(a.shape)})."
        )
    if (a.dtype.category == dt.COMPLEX) != (b.dtype.category == dt.COMPLEX):
        raise RuntimeError(
            "For complex Tensors, both grad_output and output are required to have the same "
            f"dtype. Mismatch in dtype: grad_output[{i}] has a dtype of {b.dtype} and output[{i}] "
            f"has a dtype of {a.dtype}."
        )


def _aval_at(edge):
    """Shape, dtype and device of the gradient at an edge."""
    if edge.__class__ is not tuple:
        return edge._value.aval
    node, index = edge
    return node.shapes[index] if node.call is None else node.call.avals[index]


def _sequence(x):
    """One tensor or edge, or any iterable of them (``model.parameters()`` is a generator)."""
    if x is None or x.__class__ is GradientEdge or isinstance(x, dispatch._Tensor):
        return [x]
    return list(x.values() if isinstance(x, dict) else x)


def _check_inputs(inputs) -> None:
    for t in inputs:
        if t.__class__ is not GradientEdge and not isinstance(t, dispatch._Tensor):
            raise RuntimeError(
                f"all inputs have to be Tensors or GradientEdges, but got {type(t).__name__}"
            )


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
    modes.check_unsealed("backward()")
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
        _check_inputs(inputs)
        wanted = [edge_of(t) for t in inputs]
    plain = not (retain_graph or create_graph or inputs or modes.anomaly) and grad_tensors is None
    if create_graph:
        warn_once(
            "Using backward() with create_graph=True will create a reference cycle between the "
            "parameter and its gradient which can cause a memory leak. We recommend using "
            "autograd.grad when creating the graph to avoid this. If you have to use this "
            "function, make sure to reset the .grad fields of your parameters to None after use "
            "to break the cycle and avoid the leak."
        )
    before, walk = modes.grad, modes.walk

    def finish(leaf, grad):
        if wanted is None or any(w is leaf for w in wanted):
            _accumulate(leaf, grad, create_graph)

    try:  # around the setting, too: Ctrl-C may fall between any two lines
        modes.grad = create_graph
        modes.walk = running = tensors, wanted, {}
        pairs = again(tensors) if plain and isinstance(tensors, dispatch._Tensor) else None
        if pairs is None:
            tensors = _sequence(tensors)
            gradients = [None] * len(tensors) if grad_tensors is None else _sequence(grad_tensors)
            roots = _roots(tensors, gradients, create_graph)
            for t in inputs or ():
                if t.__class__ is GradientEdge:
                    continue
                if t._node is not None or not t.requires_grad:
                    t.retain_grad()
            leaves, _ = tape.run(
                roots, dispatch, create_graph=create_graph, retain_graph=retain_graph,
                wanted=wanted, finish=finish, beyond=wanted is not None,
            )  # fmt: skip
            pairs = leaves.values()
        if wanted is None and not tape.hooked:
            with _accumulating:
                for leaf, grad in pairs:
                    if leaf._requires_grad or leaf._node is not None:  # still
                        leaf.accumulate_grad(grad, create_graph)
        else:
            for leaf, grad in pairs:
                finish(leaf, grad)
        for callback in running[2].get("callbacks", ()):  # grows
            callback()
    finally:
        modes.grad, modes.walk = before, walk
    # Not flushed here: an optimizer step that follows joins this program. The next forward
    # pass starts a new one (see Module.__call__), so that accumulated micro-batches do not pile up.
    local.after_backward = local.segment


tensors_module._backward = backward

_accumulating = threading.RLock()  # threads may go back through graphs of the same leaves


def _accumulate(leaf, grad, create_graph) -> None:
    """Add a leaf's complete gradient to its ``.grad``, with its hooks before and after."""
    if leaf._hooks:
        grad = run_leaf_hooks(leaf, grad, dispatch, create_graph)
    first = leaf._grad is None
    if grad is not None and (leaf._requires_grad or leaf._node is not None):  # still
        with _accumulating:
            leaf.accumulate_grad(grad, create_graph)
    if leaf._after_hooks:  # the first gradient and ``.grad`` are one tensor
        run_after_hooks(leaf, leaf._grad if first and leaf._grad is not None else grad, dispatch)


def queue_callback(callback) -> None:
    """Call a function at the end of the backward that is running; raises if there is none."""
    if modes.walk is None:
        raise RuntimeError("Final callbacks can only be installed during backward pass.")
    modes.walk[2].setdefault("callbacks", []).append(callback)


def _derivative_of(node, grads) -> list:
    """A node's gradients for those of its results, as tensors that are on the tape themselves."""
    graph = dispatch if modes.grad else None
    given = [g if graph or g is None else dispatch.to_value(g) for g in grads]
    return [g if g is None else dispatch.to_tensor(g) for g in node.derive(given, graph)]


shown._derive = _derivative_of


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
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To "
            "accumulate gradient for other parts of the graph, please use torch.autograd.backward.",
            FutureWarning, stacklevel=2,
        )  # fmt: skip
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
    roots = _roots(outputs, gradients, create_graph)
    _check_inputs(inputs)
    for t in inputs:
        if t.__class__ is not GradientEdge and not t.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    wanted = [edge_of(t) for t in inputs]
    told: set = set()  # the leaves whose hooks have run

    def finish(leaf, g):
        told.add(id(leaf))
        return run_leaf_hooks(leaf, g, dispatch, create_graph, node=False) if leaf._hooks else g

    with enable_grad() if create_graph else no_grad(), _walking(outputs, wanted):
        leaves, interior = tape.run(
            roots, dispatch, create_graph=create_graph, retain_graph=retain_graph, wanted=wanted,
            finish=finish,
        )  # fmt: skip
        for key, (leaf, g) in leaves.items():
            if key not in told:
                leaves[key] = leaf, finish(leaf, g)
        out = []
        for t, edge in zip(inputs, wanted, strict=True):
            if edge.__class__ is tuple:
                g = interior.get(edge)
            else:
                g = leaves.get(id(edge), (None, None))[1]
            if g is None:
                if materialize_grads and t.__class__ is GradientEdge:
                    raise RuntimeError(
                        "materialize_grads cannot be used when the given input is a GradientEdge"
                    )
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
    walk, modes.walk = modes.walk, (outputs, wanted, {})
    try:
        yield
        for callback in modes.walk[2].get("callbacks", ()):  # grows
            callback()
    finally:
        modes.walk = walk


def _batched_grad(outputs, inputs, grad_outputs, *args, **kwargs):
    """``grad`` for a batch of gradients put in, along their first dimension."""
    given = [g for g in grad_outputs if g is not None]
    if not given:
        raise ValueError("is_grads_batched=True needs grad_outputs, with a dimension of the batch")
    for i, (t, g) in enumerate(zip(outputs, grad_outputs, strict=False)):
        if g is None or t.__class__ is GradientEdge or g.shape[1:] == t.shape:
            continue
        raise RuntimeError(
            "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as "
            "the batch dimension. The sizes of the remaining dimensions are expected to match the "
            f"shape of corresponding output, but a mismatch was detected: grad_output[{i}] has a "
            f"shape of {g.shape} and output[{i}] has a shape of {t.shape}. If you only want some "
            "tensors in `grad_output` to be considered batched, consider using vmap."
        )
    with levels.open_level(given[0].shape[0], "error") as level:
        seeds = [None if g is None else levels.enter(g, level, True) for g in grad_outputs]
        found = grad(outputs, inputs, seeds, *args, **kwargs)
        return tuple(None if g is None else levels.leave(g, level) for g in found)
