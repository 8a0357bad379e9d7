"""What programs see of the tape's nodes: their classes, what they have saved, the tape's ends."""

from __future__ import annotations

import weakref
from typing import NamedTuple

from torchlike._core.dtypes import FLOATING
from torchlike._core.sizes import Size
from torchlike._tensor.hooks import of_node

_show_saved = None  # set by saving.py: what ``grad_fn._saved_self`` shows


class InputMetadata(NamedTuple):
    """What is known of a gradient that a node is given."""

    shape: Size
    dtype: object
    device: object
    is_tensor_subclass: bool = False
    is_nested_tensor: bool = False


def input_metadata(node) -> list:
    """The same per result of a node's call, None for what is no tensor."""
    found = node.shapes if node.call is None else node.call.avals
    return [a and InputMetadata(Size(a.shape), a.dtype, a.device) for a in found]


def call_node(node, *grads):
    """A node's gradients for those given, as ``grad_fn(grad)`` gives them."""
    if len(grads) != node.outs:
        raise TypeError(f"expected {node.outs} arguments, got {len(grads)} instead")
    for i, g in enumerate(grads):
        if g is not None and not hasattr(g, "_value"):
            raise TypeError(f"argument {i} is not a Variable")
    known = node.takes_none or any(g is not None for g in grads)
    found = iter(_derive(node, list(grads)) if known else [None] * len(node.edges))
    out = tuple(None if edge is None else next(found) for edge in node.edges)
    return out[0] if len(out) == 1 else out


_derive = None  # set by backward.py: a node's derivative as tensors


def _attribute(node, name):
    if name == "_input_metadata":
        return input_metadata(node)
    if name.startswith(("_saved_", "_raw_saved_")):
        return _show_saved(node, name)
    raise AttributeError(f"{node.name()!r} object has no attribute {name!r}")


def shown_edges(op, operands, edges) -> list:
    """The edges of a call as PyTorch lists them: none for masks, indices and options that are
    numbers, one for a number that stands where a tensor could."""
    if op.list_at is not None:
        names = [""] * len(edges)
    else:
        names = [p.name if op.name != "rsub" else "" for p in op.inputs]
    return [
        edge for name, a, edge in zip(names, operands, edges, strict=True)
        if edge is not None or name == "other"
        or (hasattr(a, "numel") and a.dtype.category >= FLOATING)
    ]  # fmt: skip


_named: dict[tuple, type] = {}


def named(node):
    """The node, now of a class with PyTorch's name: programs that draw the tape ask for it."""
    if node.facade is not None:
        return node.facade()
    kind, name = node.__class__, node.name()
    if kind.__name__ != name:
        key = kind, name
        if key not in _named:
            # Here and not in Node: with a __getattr__ every attribute would be slower to read.
            _named[key] = type(name, (kind,), {"__getattr__": _attribute, "__call__": call_node})
            _named[key].__module__ = kind.__module__
        node.__class__ = _named[key]
    return node


class AccumulateGrad:
    """The end of the tape at a leaf, as ``next_functions`` shows it."""

    __slots__ = ("__dict__", "__weakref__", "variable")

    def __init__(self, variable):
        self.variable = variable

    next_functions = ()
    requires_grad = True

    @property
    def _input_metadata(self) -> list:
        a = self.variable._value.aval
        return [InputMetadata(Size(a.shape), a.dtype, a.device)]

    def name(self) -> str:
        """PyTorch's name of this node."""
        return "torch::autograd::AccumulateGrad"

    @property
    def metadata(self) -> dict:
        """A dict for notes about this node, the user's own."""
        return self.__dict__.setdefault("notes", {})

    def register_prehook(self, hook):
        """Call ``hook(grads)`` before the gradient is added to the leaf's."""

        def before(grad):
            out = hook((grad,))
            return out[0] if isinstance(out, tuple) else out

        return self.variable.register_hook(of_node(before))

    def register_hook(self, hook):
        """Call ``hook((), grads)`` after the gradient has been added to the leaf's."""

        def after(grad):
            hook((), (grad,))

        return self.variable.register_post_accumulate_grad_hook(of_node(after))

    def __repr__(self):
        return f"<AccumulateGrad object at {id(self):#x}>"

    def __eq__(self, other):
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self):
        return id(self.variable)


_ends: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def end_at(leaf) -> AccumulateGrad:
    """The end of the tape at a leaf: the same one as long as anybody holds it."""
    found = _ends.get(id(leaf))
    if found is None:
        found = _ends[id(leaf)] = AccumulateGrad(leaf)
    return found
