"""Hooks on saved tensors: what a node keeps passes through a user's functions."""

from __future__ import annotations

import threading

from torchlike._core import dtypes as dt
from torchlike._core.errors import user_line
from torchlike._engine.prefix import record
from torchlike._engine.values import Value, overwritten_at
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, shown, tape, views, watching
from torchlike._tensor.modes import modes, no_grad


class _Local(threading.local):
    def __init__(self):
        self.stack = ()  # pairs (pack, unpack), innermost last: only that one is asked
        self.disabled = None  # the message for who wants to add one
        self.grads = ()  # the gradients that the derivative now being computed has at hand


local = _Local()


def push(pack, unpack) -> None:
    """Let everything saved from now on pass through a pair of functions."""
    if local.disabled is not None:
        raise RuntimeError(local.disabled)
    local.stack = (*local.stack, (pack, unpack))
    modes.saving = save
    watching.begin()


def pop() -> None:
    """Undo the last ``push``."""
    local.stack = local.stack[:-1]
    modes.saving = save if local.stack else None
    watching.end()


def save(out) -> None:
    """Pass what the node of a call's result has saved through the innermost hooks."""
    for t in out if out.__class__ is tuple else (out,):
        node = t._node
        if node is not None:
            break
    else:
        return
    if node.__class__ is not tape.Node:  # seen before, or a crossing, which saves nothing
        return
    pack, unpack = local.stack[-1]
    packed = []

    def keep(place, i, value, edge):
        kept = call_pack(pack, history(value, edge))
        packed.append((place, i, kept, unpack, value.aval))

    slots = list(enumerate(zip(node.saved, node.edges, strict=True)))
    # PyTorch saves what the first operand's gradient needs first: of a pair, the other one.
    for i, (value, edge) in reversed(slots) if node.op.pointwise and len(slots) == 2 else slots:
        if value.__class__ is Value:
            keep(node.saved, i, value, edge)
    if node.results is not None:
        node.results = list(node.results)
        for i, value in enumerate(node.results):
            edge = (node, i) if value.aval.dtype.category >= dt.FLOATING else None
            keep(node.results, i, value, edge)
    if packed:
        for place, i, *_ in packed:
            place[i] = None
        node.segment = None
        node.__class__ = HookedNode
        node.packed = packed


def history(value, edge):
    """The tensor that was saved: the leaf itself, or a handle with its place on the tape."""
    if edge is None:
        return dispatch.wrap(value)
    if edge.__class__ is tuple:
        return dispatch.history(value, edge)
    return edge if edge._value is value else dispatch.wrap(value)


def call_pack(pack, tensor):
    """What a pack hook makes of a tensor; raises if it changes it in place."""
    before = views.version_of(tensor)
    with no_grad():
        packed = pack(tensor)
    if views.version_of(tensor) != before:
        raise RuntimeError(
            "A saved tensor pack hook is modifying its input in place. Tensors provided as input "
            "to pack hook cannot be modified by in-place operations as this can lead to unexpected "
            "side-effects. Please open an issue if you need to perform in-place operations on the "
            "input to a pack hook."
        )
    return packed


def call_unpack(unpack, packed):
    """The tensor that an unpack hook gives back."""
    tensor = unpack(packed)
    if not isinstance(tensor, dispatch._Tensor):
        raise TypeError(
            "Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
            f"{type(tensor).__name__}"
        )
    return tensor


class HookedNode(tape.Node):
    """A node whose saved tensors a user's hooks hold."""

    packed: list

    def derive(self, grads, graph=None):
        """Gradients for ``targets``, from what the hooks give back."""
        if self.used:
            raise RuntimeError(tape.BACKWARD_TWICE)
        before, local.grads = local.grads, [g for g in grads if g is not None]
        try:
            for place, i, packed, unpack, a in self.packed:
                place[i] = value = self._fits(call_unpack(unpack, packed), a)
                if self.own is not None and place is self.saved and not i:
                    self.own = value  # what the call has overwritten, as the hooks have it
            if graph is not None:
                return self._derive_graph(grads, graph)
            operands = self.saved if self.results is None else [*self.saved, *self.results]
            return record(self.plan.vjp, self.plan.statics, [*operands, *grads])[0]
        finally:
            local.grads = before
            for place, i, *_ in self.packed:
                place[i] = None

    def _fits(self, tensor, a) -> Value:
        """The value of what an unpack hook gave back for a tensor of the aval ``a``."""
        value = dispatch.value_of(tensor)
        if value.aval.shape != a.shape:
            raise RuntimeError(
                f"{self.name()} saved a tensor of shape {list(a.shape)}, but the unpack hook gave "
                f"back one of shape {list(value.aval.shape)}"
            )
        if value.aval.dtype is not a.dtype:
            value = record(TABLE["to_dtype"], (a.dtype,), (value,))[0][0]
        return value

    def release(self):
        """Free what was saved; a second backward through here is an error."""
        super().release()
        self.packed = []


class Saved:
    """A tensor kept for later, as ``save_for_backward`` keeps it: by hooks, if there are any."""

    __slots__ = ("edge", "line", "of", "packed", "place", "tensor", "unpack", "value")

    def __init__(self, tensor, hooks=True):
        self.value, self.unpack, self.of = dispatch.value_of(tensor), None, None
        self.tensor, self.line, self.place = tensor, user_line(), None
        if hooks and local.stack:
            self.pack(*local.stack[-1])

    def renew(self) -> None:
        """Keep the tensor as it is now; changes in place are noticed from here on."""
        self.value = dispatch.value_of(self.tensor)
        if local.stack:
            self.pack(*local.stack[-1])

    def pack(self, pack, unpack, node=None) -> None:
        """Keep from here on what a pair of hooks makes of the tensor."""
        tensor = self.tensor if self.place is None else history(self.value, (node, self.place))
        self.unpack = unpack
        self.edge = (tensor._node, tensor._index) if tensor._node is not None else None
        if tensor._node is None and tensor._requires_grad:
            self.edge = tensor
        self.packed = call_pack(pack, tensor)
        self.of = self.tensor  # until it is known which result it is
        self.value = self.tensor = None

    def get(self, name: str, node=None):
        """The tensor; raises if it was overwritten in place since. ``place`` says which result of
        the node it is, if it is one: the node must not hold what holds the node."""
        if self.unpack is not None:
            value = dispatch.value_of(call_unpack(self.unpack, self.packed))
            edge = self.edge if self.place is None else (node, self.place)
            if edge is None or edge.__class__ is tuple or modes.grad:
                return dispatch.history(value, edge)
            out = dispatch.wrap(value)  # of a leaf, where nothing is computed on the tape
            out._requires_grad = True
            return edge if edge._value is value else out
        line = overwritten_at(self.value)
        if line is None and self.place is not None:
            return history(self.value, (node, self.place))
        if line is None:
            return self.tensor
        if modes.mutation:  # the value is as it was
            if self.place is not None:
                return history(self.value, (node, self.place))
            t = self.tensor
            return history(self.value, None if t._node is None else (t._node, t._index))
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace "
            f"operation: [torch.{self.value.aval.dtype.name} {list(self.value.aval.shape)}], saved "
            f"for {name} at {self.line}, overwritten at {line}."
        )


# ---- what a node shows -------------------------------------------------------------------------


class SavedTensor:
    """A slot of a node, as ``grad_fn._raw_saved_self`` gives it."""

    def __init__(self, node=None, place: str = "", i: int = 0):
        if node is None:
            raise RuntimeError("Trying to create a SavedTensor object from Python is forbidden.")
        self._node, self._place, self._i = node, place, i

    def _hooked(self):
        """(what a pack hook made, the unpack hook), or None."""
        node, i = self._node, self._i
        if self._place == "kept":
            kept = node.kept[i]
            return None if kept is None or kept.unpack is None else (kept.packed, kept.unpack)
        for where, at, kept, unpack, _ in getattr(node, "packed", ()):
            if where is getattr(node, self._place) and at == i:
                return kept, unpack
        return None

    @property
    def data(self):
        """What a pack hook made of the tensor, or the tensor."""
        found = self._hooked()
        return self.unpack() if found is None else found[0]

    @property
    def unpack_hook(self):
        """The hook that makes a tensor of it, or None."""
        found = self._hooked()
        return None if found is None else found[1]

    def unpack(self):
        """The tensor."""
        node, i = self._node, self._i
        if self._place == "kept":
            kept = node.kept[i]
            return None if kept is None else kept.get(node.name(), node)
        return _unpacked(node, self._place, i)

    def register_hooks(self, pack_hook, unpack_hook) -> None:
        """Pass what this slot has saved through a pair of functions."""
        node, i = self._node, self._i
        if not callable(pack_hook) or not callable(unpack_hook):
            raise TypeError(
                "register_hooks(): incompatible function arguments. It takes two functions"
            )
        place = getattr(node, self._place)
        if place is None or node.used:
            raise RuntimeError(
                "Calling register_hooks on a saved tensor after it has been freed. Saved "
                "intermediate values of the graph are freed when you call .backward() or "
                "autograd.grad(). Specify retain_graph=True if you need to backward through the "
                "graph a second time or if you need to access saved variables after calling "
                "backward."
            )
        if self._hooked() is not None:
            raise RuntimeError(
                "Calling register_hooks on a saved tensor whose hooks have already been set is "
                "forbidden."
            )
        value = place[i]
        if value is None:
            raise RuntimeError(
                "Calling register_hooks on a saved tensor whose value is None is forbidden."
            )
        if self._place == "kept":
            value.pack(pack_hook, unpack_hook, node)
            return
        edge = node.edges[i] if self._place == "saved" else (node, i)
        kept = call_pack(pack_hook, history(value, edge))
        if not isinstance(node, HookedNode):
            if node.results is not None:
                node.results = list(node.results)
            node.__class__, node.packed, node.segment = HookedNode, [], None
            place = getattr(node, self._place)
        place[i] = None
        node.packed.append((place, i, kept, unpack_hook, value.aval))


SavedTensor.__module__ = "torchlike.autograd"


def _unpacked(node, place: str, i: int):
    value = getattr(node, place)[i]
    for where, at, kept, unpack, _ in getattr(node, "packed", ()):
        if where is getattr(node, place) and at == i:
            return call_unpack(unpack, kept)
    if value.__class__ is not Value:
        return value
    if place == "saved":
        tape.check_versions(node)
    return history(value, node.edges[i] if place == "saved" else (node, i))


# Whose derivatives need to know how large their operand was.
_SIZED = frozenset(
    {"Expand", "Index", "Mean", "Repeat", "Select", "Slice", "Split", "SplitWithSizes", "Squeeze",
     "Sum", "UnsafeView", "View"}
)  # fmt: skip


def _option(kind: str, what: str, options: dict, aval):
    """An option of a call as PyTorch's node of that kind has it; None if it has none."""
    if what == "self_sym_sizes" and kind in _SIZED:
        return tuple(aval.shape)
    if what == "split_sizes" and kind == "SplitWithSizes":
        return options["sizes"]
    if what == "split_size" and kind == "Split":
        return options["sizes"][0]
    found = options.get(what)
    one_each = (kind == "Convolution" and what in ("stride", "padding", "dilation")) or (
        kind in ("Mean", "Sum") and what == "dim"
    )
    if one_each and found.__class__ is int:
        return (found,) * options.get("rank", 1)
    return found


def show_saved(node, name: str):
    """The value of ``_saved_x`` or the slot of ``_raw_saved_x``; raises ``AttributeError``."""
    raw, _, what = name.rpartition("saved_")
    if node.op is None:
        raise AttributeError(f"{node.name()!r} object has no attribute {name!r}")
    if node.saved is None:
        raise RuntimeError(tape.BACKWARD_TWICE)
    names = ["self" if p.name == "input" else p.name for p in node.op.inputs]
    if what == "result" and node.results is not None:
        place, i = "results", 0
    elif what in names and node.op.list_at is None:
        place, i = "saved", names.index(what)
    else:
        options = {p.name: v for p, v in zip(node.op.statics, node.call.statics, strict=True)}
        kind = node.name().rstrip("01").removesuffix("Backward")
        found = _option(kind, what, options, node.call.in_avals[0] if names else None)
        if found is not None or what in options:
            return found
        raise AttributeError(f"{node.name()!r} object has no attribute {name!r}")
    if raw != "_":
        return SavedTensor(node, place, i)
    return _unpacked(node, place, i)


shown._show_saved = show_saved
