"""torch.autograd.functional: Jacobians, Hessians and their products with vectors, on the tape."""

from __future__ import annotations

from torchlike._ops.table import TABLE
from torchlike._tensor import backward, dispatch
from torchlike._tensor.function import FunctionNode
from torchlike._tensor.modes import enable_grad, modes, set_grad_enabled
from torchlike._tensor.saving import HookedNode
from torchlike._tensor.tensor import Tensor
from torchlike.func.transforms import by_chunks, columns_of, pull, zeros_like
from torchlike.func.transforms import or_zeros as _or_zeros

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _as_tuple(x, what: str, name: str):
    """(whether it was a tuple, the tuple); raises unless it holds only tensors."""
    was = isinstance(x, tuple)
    items = x if was else (x,)
    for i, t in enumerate(items):
        if not isinstance(t, Tensor):
            tail = f"value at index {i} has type" if was else f"given {what} has type"
            raise TypeError(
                f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but the "
                f"{tail} {type(t)}."
            )
    return was, items


def _prepare(tensors, create_graph: bool, need_graph: bool):
    """New handles, on the caller's tape if a graph is to be created, else leaves; raises inside a
    transform of ``torch.func``, which would not be told of them."""
    if modes.transforms:
        raise RuntimeError(
            "You are attempting to call Tensor.requires_grad_() (or perhaps using "
            "torch.autograd.functional.* APIs) inside of a function being transformed by a "
            "functorch transform. This is unsupported, please attempt to use the functorch "
            "transforms (e.g. grad, vjp, jacrev, jacfwd, hessian) or call requires_grad_() outside "
            "of a function being transformed instead."
        )
    return tuple(
        dispatch.apply(TABLE["alias"], (t,))
        if create_graph and t.requires_grad
        else t.detach().requires_grad_(need_graph)
        for t in tensors
    )


def _post(x, create_graph: bool):
    """Nested tuples of tensors, off the tape unless a graph is to be created."""
    if isinstance(x, Tensor):
        return x if create_graph else x.detach()
    return tuple(_post(t, create_graph) for t in x)


def _unpack(x, was_tuple: bool):
    return x if was_tuple else x[0]


def _check_v(v, others, was_tuple: bool):
    if len(others) != len(v):
        if was_tuple:
            raise RuntimeError(
                f"v is a tuple of invalid length: should be {len(others)} but got {len(v)}."
            )
        raise RuntimeError("The given v should contain a single Tensor.")
    for i, (a, b) in enumerate(zip(v, others, strict=True)):
        if a.shape != b.shape:
            head = f"Entry {i} in " if was_tuple else ""
            raise RuntimeError(f"{head}v has invalid size: should be {b.shape} but got {a.shape}.")


_INDEPENDENT = {
    "outputs": "Output {i} of the user-provided function does not require gradients. The outputs "
    "must be computed in a differentiable manner from the input when running in strict mode.",
    "grad_inputs": "The gradient with respect to input {i} is independent of the inputs of the "
    "user-provided function. This is not allowed in strict mode.",
    "jacobian": "While computing the hessian, found that the jacobian of the user-provided "
    "function with respect to input {i} is independent of the input. This is not allowed in "
    "strict mode. You should ensure that your function is twice differentiable and that the "
    "jacobian depends on the inputs (this would be violated by a linear function for example).",
}


def _require(tensors, what: str, strict: bool):
    """In strict mode raise where a result does not depend on the inputs."""
    if not strict:
        return
    for i, t in enumerate(tensors):
        if t is None:
            raise RuntimeError(
                f"The output of the user-provided function is independent of input {i}. This is "
                "not allowed in strict mode."
            )
        if not t.requires_grad:
            raise RuntimeError(_INDEPENDENT[what].format(i=i))


_MISSING = {
    "back": "The output of the user-provided function is independent of input {i}. This is not "
    "allowed in strict mode.",
    "back_trick": "The gradient with respect to the input is independent of entry {i} in the "
    "grad_outputs when using the double backward trick to compute forward mode gradients. This is "
    "not allowed in strict mode.",
    "double_back": "The jacobian of the user-provided function is independent of input {i}. This "
    "is not allowed in strict mode.",
    "double_back_trick": "The hessian of the user-provided function is independent of entry {i} in "
    "the grad_jacobian. This is not allowed in strict mode as it prevents from using the double "
    "backward trick to replace forward mode AD.",
}


def _fill(grads, refs, strict: bool, create_graph: bool, stage: str):
    """Zeros for the gradients that are None; in strict mode these are errors."""
    for i, g in enumerate(grads):
        if strict and g is None:
            raise RuntimeError(_MISSING[stage].format(i=i))
        if strict and create_graph and not g.requires_grad:
            which = "hessian" if "double" in stage else "jacobian"
            raise RuntimeError(
                f"The {which} of the user-provided function is independent of input {i}. This is "
                "not allowed in strict mode when create_graph=True."
            )
    return tuple(_or_zeros(grads, refs))


def _pull(outputs, inputs, grads, create_graph):
    """Gradients of the inputs; without seeds these are ones for a single number."""
    grads = (None,) * len(outputs) if grads is None else grads
    pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if o is not None]
    return pull([o for o, _ in pairs], inputs, [g for _, g in pairs], create_graph)


_ONE_INPUT = (
    "The vector v can only be None if the input to the user-provided function is a single Tensor "
    "with a single element."
)


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """The value of ``func`` and ``v`` times its Jacobian
    (https://pytorch.org/docs/stable/generated/torch.autograd.functional.vjp.html)."""
    with enable_grad():
        was_in, inputs = _as_tuple(inputs, "inputs", "vjp")
        inputs = _prepare(inputs, create_graph, True)
        was_out, outputs = _as_tuple(func(*inputs), "outputs of the user-provided function", "vjp")
        _require(outputs, "outputs", strict)
        if v is not None:
            _, v = _as_tuple(v, "v", "vjp")
            v = _prepare(v, create_graph, False)
            _check_v(v, outputs, was_out)
        elif len(outputs) != 1 or outputs[0].numel() != 1:
            raise RuntimeError(
                "The vector v can only be None if the user-provided function returns a single "
                "Tensor with a single element."
            )
    with set_grad_enabled(create_graph or modes.grad):
        found = _fill(_pull(outputs, inputs, v, create_graph), inputs, strict, create_graph, "back")
    found, outputs = _post(found, create_graph), _post(outputs, create_graph)
    return _unpack(outputs, was_out), _unpack(found, was_in)


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """The value of ``func`` and its Jacobian times ``v``
    (https://pytorch.org/docs/stable/generated/torch.autograd.functional.jvp.html)."""
    with enable_grad():
        was_in, inputs = _as_tuple(inputs, "inputs", "jvp")
        inputs = _prepare(inputs, create_graph, True)
        v = _vector(v, inputs, was_in, create_graph, "jvp")
        was_out, outputs = _as_tuple(func(*inputs), "outputs of the user-provided function", "jvp")
        _require(outputs, "outputs", strict)
        seeds = tuple(zeros_like(o).requires_grad_() for o in outputs)
        grads = _pull(outputs, inputs, seeds, True)
        _require(grads, "grad_inputs", strict)
    with set_grad_enabled(create_graph or modes.grad):
        found = _through(grads, seeds, v, create_graph)
        found = _fill(found, outputs, strict, create_graph, "back_trick")
    found, outputs = _post(found, create_graph), _post(outputs, create_graph)
    return _unpack(outputs, was_out), _unpack(found, was_out)


def _vector(v, inputs, was_tuple, create_graph, name):
    if v is None:
        if len(inputs) != 1 or inputs[0].numel() != 1:
            raise RuntimeError(_ONE_INPUT)
        return None
    _, v = _as_tuple(v, "v", name)
    v = _prepare(v, create_graph, False)
    _check_v(v, inputs, was_tuple)
    return v


def _through(grads, seeds, v, create_graph):
    """The derivative of the gradients with respect to their seeds, along ``v``."""
    v = (None,) * len(grads) if v is None else v
    pairs = [(g, x) for g, x in zip(grads, v, strict=True) if g is not None]
    return pull([g for g, _ in pairs], seeds, [x for _, x in pairs], create_graph)


# ---- whole Jacobians ---------------------------------------------------------------------------


def jacobian(
    func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"
):
    """The Jacobian of ``func``: a tensor, or tuples of them for several results or inputs
    (https://pytorch.org/docs/stable/generated/torch.autograd.functional.jacobian.html)."""
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your '
            'function has more outputs than inputs, "forward-mode" tends to be more performant. '
            'Otherwise, prefer to use "reverse-mode".'
        )
    forward = strategy == "forward-mode"
    if forward and create_graph:
        raise NotImplementedError(
            "torch.autograd.functional.jacobian: `create_graph=True` and "
            '`strategy="forward-mode"` are not supported together (yet). Please either set '
            '`create_graph=False` or `strategy="reverse-mode"`.'
        )
    if strict and (forward or vectorize):
        raise RuntimeError(
            "torch.autograd.functional.jacobian: `strict=True` and "
            f"`{'strategy=' + chr(34) + 'forward-mode' + chr(34) if forward else 'vectorized=True'}"
            "` are not supported together. Please either set `strict=False` or "
            f"`{'strategy=' + chr(34) + 'reverse-mode' + chr(34) if forward else 'vectorize=False'}"
            "`."
        )
    if forward and not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is"
            "only implemented for `vectorize=True`."
        )
    with enable_grad():
        was_in, inputs = _as_tuple(inputs, "inputs", "jacobian")
        inputs = _prepare(inputs, create_graph, True)
        was_out, outputs = _as_tuple(
            func(*inputs), "outputs of the user-provided function", "jacobian"
        )
        _require(outputs, "outputs", strict)
        if forward:
            rows = columns_of(outputs, inputs, create_graph)
        else:
            rows = [
                _rows(o, i, inputs, create_graph, strict, vectorize) for i, o in enumerate(outputs)
            ]
    rows = _post(rows, create_graph)
    rows = tuple(_unpack(row, was_in) for row in rows)
    return _unpack(rows, was_out)


def _has_user_code(out) -> bool:
    """Whether user code takes part in the backward of a tensor: Functions, or hooks of nodes and
    of what they saved."""
    edges, seen = [backward.edge_of(out)] if out.requires_grad else [], set()
    for edge in edges:  # grows
        if edge.__class__ is tuple and edge[0] not in seen:
            node = edge[0]
            if isinstance(node, (FunctionNode, HookedNode)) or node.hooks or node.pre_hooks:
                return True
            seen.add(node)
            edges += node.targets
    return False


def _rows(out, i: int, inputs, create_graph, strict, vectorize):
    missing = []

    def pulled(g):
        found = pull([out], inputs, [g], create_graph)
        missing[:] = [n for n, x in enumerate(found) if x is None]
        return _or_zeros(found, inputs)

    # User code may read what it gets, or write to it: it sees no batch that it did not ask for.
    step = None if vectorize or not _has_user_code(out) else 1
    found = by_chunks(out, step, pulled) if out.numel() else [
        dispatch.apply(TABLE["zeros_like"], (x.detach(),), (None,)).new_zeros((0, *x.shape))
        for x in inputs
    ]  # fmt: skip
    if strict:
        for n in range(len(inputs)):
            if n in missing:
                raise RuntimeError(
                    f"Output {i} of the user-provided function is independent of input {n}. This "
                    "is not allowed in strict mode."
                )
            if create_graph and not found[n].requires_grad:
                raise RuntimeError(
                    "The jacobian of the user-provided function is independent of input "
                    f"{i}. This is not allowed in strict mode when create_graph=True."
                )
    return tuple(j.reshape((*out.shape, *x.shape)) for j, x in zip(found, inputs, strict=True))


def hessian(
    func, inputs, create_graph=False, strict=False, vectorize=False,
    outer_jacobian_strategy="reverse-mode",
):  # fmt: skip
    """The Hessian of ``func``, which returns one number
    (https://pytorch.org/docs/stable/generated/torch.autograd.functional.hessian.html)."""
    was_in, inputs = _as_tuple(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')

    def gradient(*given):
        found = jacobian(lambda *xs: _one_number(func, xs, strict, "hessian"), given, True)
        _require(found, "jacobian", strict)
        return found

    found = jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)
    return _unpack(tuple(_unpack(row, was_in) for row in found), was_in)


def _one_number(func, inputs, strict, name):
    out = func(*inputs)
    was_tuple, outs = _as_tuple(out, "outputs of the user-provided function", name)
    _require(outs, "outputs", strict)
    if was_tuple:
        raise RuntimeError(f"The function given to {name} should return a single Tensor")
    if out.numel() != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {name} should contain a single element"
        )
    return out.squeeze() if name == "hessian" else out


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """The value of ``func`` and ``v`` times its Hessian
    (https://pytorch.org/docs/stable/generated/torch.autograd.functional.vhp.html)."""
    with enable_grad():
        was_in, inputs = _as_tuple(inputs, "inputs", "vhp")
        inputs = _prepare(inputs, create_graph, True)
        v = _vector(v, inputs, was_in, create_graph, "vhp")
        output = _one_number(func, inputs, strict, "vhp")
        grads = _pull((output,), inputs, None, True)
        _require(grads, "jacobian", strict)
    with set_grad_enabled(create_graph or modes.grad):
        found = _pull(grads, inputs, v, create_graph)
        found = _fill(found, inputs, strict, create_graph, "double_back")
    return _post(output, create_graph), _unpack(_post(found, create_graph), was_in)


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """The value of ``func`` and its Hessian times ``v``
    (https://pytorch.org/docs/stable/generated/torch.autograd.functional.hvp.html)."""
    with enable_grad():
        was_in, inputs = _as_tuple(inputs, "inputs", "hvp")
        inputs = _prepare(inputs, create_graph, True)
        v = _vector(v, inputs, was_in, create_graph, "hvp")
        output = _one_number(func, inputs, strict, "hvp")
        grads = _pull((output,), inputs, None, True)
        _require(grads, "jacobian", strict)
        seeds = tuple(zeros_like(x).requires_grad_() for x in inputs)
        twice = _pull(grads, inputs, seeds, True)
    with set_grad_enabled(create_graph or modes.grad):
        found = _through(twice, seeds, v, create_graph)
        found = _fill(found, inputs, strict, create_graph, "double_back_trick")
    return _post(output, create_graph), _unpack(_post(found, create_graph), was_in)
