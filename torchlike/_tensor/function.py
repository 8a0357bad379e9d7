"""autograd.Function: a user's own forward and backward on the tape."""

from __future__ import annotations

import functools

from torchlike._core import dtypes as dt
from torchlike._tensor import dispatch, saving, tape, views
from torchlike._tensor.levels import share
from torchlike._tensor.modes import modes, no_grad


class FunctionNode(tape.Node):
    """A tape node whose derivative is a user's ``backward``; it is also the ``ctx``."""

    op = call = None
    outs = 1

    def __init__(self, kind, edges):
        self.number = tape._next_number()
        self.function = kind
        self.all_edges = edges
        self.targets = [e for e in edges if e is not None]
        self.saved = ()
        self._saved_tensors = ()
        self._dirty = ()
        self._non_differentiable = ()
        self._materialize = True
        self._tracked = False
        self.needs_input_grad = tuple(e is not None for e in edges)

    @property
    def edges(self) -> list:
        """Per argument: None, a leaf Tensor, or (Node, result index)."""
        return self.all_edges

    def name(self) -> str:
        return self.label or f"{self.function.__name__}Backward"

    # ---- what forward and backward use as ctx ----

    def save_for_backward(self, *tensors):
        """Keep tensors for backward; in-place changes to them are noticed."""
        for t in tensors:
            if t is not None and not isinstance(t, dispatch._Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument is of type "
                    f"{type(t).__name__}"
                )
        self._saved_tensors = tuple(
            None if t is None else saving.Saved(t, self._tracked) for t in tensors
        )

    def save_for_forward(self, *tensors):
        """Accepted: forward-mode derivatives use the saved tensors too."""

    @property
    def saved_tensors(self):
        """The tensors given to ``save_for_backward``."""
        if self.used:
            raise RuntimeError(tape.BACKWARD_TWICE)
        name = self.name()
        return tuple(None if x is None else x.get(name) for x in self._saved_tensors)

    def mark_dirty(self, *tensors):
        """Declare inputs that forward changed in place and returns."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors):
        """Declare outputs that need no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool):
        """Whether missing gradients reach backward as zeros (default) or None."""
        self._materialize = value

    def release(self):
        self.used = True
        self._saved_tensors = ()

    def _untracked(self, result, args):
        """What the caller gets for a result of forward where nothing is on the tape."""
        given = isinstance(result, dispatch._Tensor) and any(result is x for x in args)
        if not given or (any(result is d for d in self._dirty) and not result.requires_grad):
            return result
        return result.detach()

    def _on_tape(self, i: int, result, args):
        """What the caller gets for result ``i`` of forward: on the tape, if it has a gradient."""
        if not isinstance(result, dispatch._Tensor):
            return result
        dirty = any(result is d for d in self._dirty)
        given = not dirty and any(result is x for x in args)
        constant = any(result is n for n in self._non_differentiable)
        if constant or result.dtype.category < dt.FLOATING:
            return result.detach() if given or result.requires_grad else result
        if given:
            result = views.apply_view(dispatch.TABLE["alias"], result.detach())
        if dirty:
            if result._node is None and result._requires_grad:
                raise RuntimeError(
                    "a leaf Variable that requires grad has been used in an in-place operation."
                )
            dispatch.check_inplace(result)
            if views.base_of(result) is not None:
                views.rebase(result, self, i)
            elif result._storage is not None and not result._chain and not result._detached:
                result._storage.node, result._storage.index = self, i
        elif result._base is not None:
            views.mark_function_view(result, i, self.function.__name__)
        result._requires_grad = False
        result._node, result._index = self, i
        return result

    def derive(self, grads, graph=None):
        if self.used:
            raise RuntimeError(tape.BACKWARD_TWICE)
        given = []
        for g, shape in zip(grads, self.shapes, strict=True):
            if g is None and self._materialize and shape is not None:
                from torchlike._tensor.creation import zeros

                given.append(zeros(shape.shape, dtype=shape.dtype, device=shape.device))
            else:
                given.append(None if g is None else dispatch.to_tensor(g))
        out = self.function.backward(self, *given)
        out = out if isinstance(out, tuple) else (out,)
        if len(out) > len(self.all_edges) and all(g is None for g in out[len(self.all_edges) :]):
            out = out[: len(self.all_edges)]
        if len(out) != len(self.all_edges):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected "
                f"{len(self.all_edges)}, got {len(out)})"
            )
        checked = []
        for g, edge, a in zip(out, self.all_edges, self.in_avals, strict=True):
            if edge is None:
                continue
            if g is None:
                checked.append(None)
                continue
            if not isinstance(g, dispatch._Tensor):
                raise RuntimeError(
                    f"function {self.name()} returned a gradient of type {type(g).__name__}, "
                    "expected Variable or None"
                )
            if g._value.aval.shape != a.shape:
                try:
                    g = _sum_to(g, a.shape)
                except RuntimeError:
                    raise RuntimeError(
                        f"Function {self.name()} returned an invalid gradient at index "
                        f"{len(checked)} - got {list(g.shape)} but expected shape compatible with "
                        f"{list(a.shape)}"
                    ) from None
            if g.dtype is not a.dtype:
                g = g.to(a.dtype)
            checked.append(dispatch.to_value(g) if graph is None else g)
        return checked


def _sum_to(g, shape):
    extra = g.ndim - len(shape)
    if extra < 0:
        raise RuntimeError("gradient has too few dimensions")
    dims = tuple(range(extra)) + tuple(
        extra + i for i, n in enumerate(shape) if n == 1 and g.shape[extra + i] != 1
    )
    out = g.sum(dims, keepdim=True) if dims else g
    out = out.reshape(tuple(out.shape)[extra:])
    if tuple(out.shape) != tuple(shape):
        raise RuntimeError("gradient does not broadcast")
    return out


class Function:
    """Subclass with static ``forward(ctx, ...)`` and ``backward(ctx, *grads)``, call ``apply``
    (https://pytorch.org/docs/stable/autograd.html#function)."""

    generate_vmap_rule = False

    def __init__(self, *args, **kwargs):
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use "
            "new-style autograd function with static forward method."
        )

    @staticmethod
    def forward(*args, **kwargs):
        """Compute the results; ``ctx`` comes first unless ``setup_context`` is defined."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Fill ``ctx`` after a forward that takes none."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Gradients of the inputs, one for each."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    @classmethod
    def apply(cls, *args):
        """Run forward and put the call on the tape."""
        edges, in_avals = [], []
        if modes.levels:
            args = tuple(share(x) if isinstance(x, dispatch._Tensor) else x for x in args)
        for x in args:
            edge = None
            a = None
            if isinstance(x, dispatch._Tensor):
                x._refresh()
                a = x._value.aval
                if x._node is not None:
                    edge = (x._node, x._index)
                elif x._requires_grad:
                    edge = x
            edges.append(edge)
            in_avals.append(a)
        ctx = FunctionNode(cls, edges)
        ctx.in_avals = in_avals
        ctx._tracked = tracked = modes.grad and any(e is not None for e in edges)
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                result = cls.forward(*args)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args)
        results = result if isinstance(result, tuple) else (result,)
        ctx.outs = len(results)
        ctx.shapes = [r._value.aval if isinstance(r, dispatch._Tensor) else None for r in results]
        if not tracked:
            results = tuple(ctx._untracked(r, args) for r in results)
            return results if isinstance(result, tuple) else results[0]
        out = [ctx._on_tape(i, r, args) for i, r in enumerate(results)]
        return tuple(out) if isinstance(result, tuple) else out[0]


Function.__module__ = "torchlike.autograd"
FunctionNode.__module__ = "torchlike.autograd.function"


def once_differentiable(backward):
    """Decorator for ``backward``: differentiating it again raises
    (https://pytorch.org/docs/stable/generated/torch.autograd.function.once_differentiable.html)."""

    @functools.wraps(backward)
    def wrapped(ctx, *grads):
        with no_grad():
            out = backward(ctx, *grads)
        if not modes.grad or not any(g is not None and g.requires_grad for g in grads):
            return out
        outs = out if isinstance(out, tuple) else (out,)
        results = [
            _NoSecond.apply(o.detach(), *[g for g in grads if g is not None])
            if isinstance(o, dispatch._Tensor) else o
            for o in outs
        ]  # fmt: skip
        return tuple(results) if isinstance(out, tuple) else results[0]

    return wrapped


class _NoSecond(Function):
    """Stands between a once-differentiable result and a second derivative."""

    @staticmethod
    def forward(ctx, out, *grads):
        return out.clone()

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )
