"""torch.autograd.graph: the tape as the user sees it, and hooks on what it saves."""

from __future__ import annotations

import abc
import contextlib
import functools
from collections.abc import Iterable, Sequence

from torchlike._core.errors import NotSupported
from torchlike._tensor import dispatch, saving, shown, tape
from torchlike._tensor.backward import GradientEdge as GradientEdge
from torchlike._tensor.backward import edge_of
from torchlike._tensor.function import BackwardCFunction
from torchlike._tensor.handles import RemovableHandle
from torchlike._tensor.modes import modes, no_grad
from torchlike._tensor.tensor import Tensor, copy_value

__all__ = [
    "GradientEdge", "Node", "allow_mutation_on_saved_tensors", "disable_saved_tensors_hooks",
    "get_gradient_edge", "increment_version", "region_activation_memory_budget",
    "register_multi_grad_hook", "save_on_cpu", "saved_tensors_hooks",
    "set_override_stale_capture_stream", "set_warn_on_accumulate_grad_stream_mismatch",
]  # fmt: skip

GradientEdge.__module__ = "torchlike.autograd.graph"


class Node(abc.ABC):
    """A step of the tape, as ``tensor.grad_fn`` and ``next_functions`` give it
    (https://pytorch.org/docs/stable/autograd.html#autograd-graph)."""

    @abc.abstractmethod
    def name(self) -> str:
        """PyTorch's name of the step."""

    @property
    @abc.abstractmethod
    def next_functions(self) -> tuple:
        """Pairs (node, index) that its gradients go to."""

    @abc.abstractmethod
    def metadata(self) -> dict:
        """A dict for notes."""

    @abc.abstractmethod
    def register_hook(self, fn):
        """Call ``fn(grad_inputs, grad_outputs)`` after it; returns a handle."""

    @abc.abstractmethod
    def register_prehook(self, fn):
        """Call ``fn(grad_outputs)`` before it; returns a handle."""


Node.register(tape.Node)
Node.register(tape.AccumulateGrad)
Node.register(BackwardCFunction)


def get_gradient_edge(tensor) -> GradientEdge:
    """The tensor's place on the tape: keep it instead of the tensor to ask for its gradient."""
    if not tensor.requires_grad:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not require "
            "gradients"
        )
    edge = edge_of(tensor)
    if edge.__class__ is tuple:
        return GradientEdge(tape.named(edge[0]), edge[1])
    return GradientEdge(shown.end_at(edge), 0)


def increment_version(tensor) -> None:
    """Count an in-place change that was made where autograd could not see it."""
    tensors = [tensor] if isinstance(tensor, Tensor) else tensor
    if not isinstance(tensors, Iterable) or isinstance(tensors, (str, bytes)):
        raise RuntimeError("increment_version expect a Iterable[Tensor] as input")
    tensors = list(tensors)
    if not all(isinstance(t, Tensor) for t in tensors):
        raise RuntimeError("increment_version expects each element of the iterable to be a tensor")
    with no_grad():
        for t in tensors:
            dispatch.rebind(t, dispatch.wrap(copy_value(dispatch.value_of(t))))


# ---- saved tensors -----------------------------------------------------------------------------


class saved_tensors_hooks:
    """Within: what is saved for backward is kept as ``pack_hook`` makes it, and made a tensor again
    by ``unpack_hook``
    (https://pytorch.org/docs/stable/autograd.html#torch.autograd.graph.saved_tensors_hooks)."""

    def __init__(self, pack_hook, unpack_hook) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> None:
        saving.push(self.pack_hook, self.unpack_hook)

    def __exit__(self, *args: object) -> None:
        saving.pop()


class save_on_cpu(saved_tensors_hooks):
    """Within: what is saved for backward lies in the host's memory until then
    (https://pytorch.org/docs/stable/autograd.html#torch.autograd.graph.save_on_cpu).

    ``pin_memory`` asks for what JAX's copies to the host do anyway.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def pack(tensor):
            return tensor.device, tensor if tensor.device.type == "cpu" else tensor.cpu()

        def unpack(packed):
            device, tensor = packed
            return tensor if tensor.device == device else tensor.to(device)

        super().__init__(pack, unpack)


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str):
    """Within: who adds hooks on saved tensors gets a ``RuntimeError`` with this message."""
    if saving.local.stack:
        raise RuntimeError(error_message)
    before, saving.local.disabled = saving.local.disabled, error_message
    try:
        yield
    finally:
        saving.local.disabled = before


class _AllowMutationOnSavedContext:
    """What ``allow_mutation_on_saved_tensors`` gives."""

    def clear(self) -> None:
        """Nothing is kept: saved values are immutable, so none needs a copy."""


@contextlib.contextmanager
def allow_mutation_on_saved_tensors():
    """Within: tensors saved for backward may be overwritten; gradients use what was saved
    (https://pytorch.org/docs/stable/autograd.html#torch.autograd.graph.allow_mutation_on_saved_tensors).

    Call ``backward`` within it, too.
    """
    if modes.mutation:
        raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
    modes.mutation = True
    try:
        yield _AllowMutationOnSavedContext()
    finally:
        modes.mutation = False


# ---- hooks on several tensors ------------------------------------------------------------------


class _MultiHandle(RemovableHandle):
    """Removes the hooks on several tensors."""

    def __init__(self, handles):
        self.handles = tuple(handles)

    def remove(self) -> None:
        """Take all hooks off."""
        for handle in self.handles:
            handle.remove()

    def __enter__(self):
        return self

    def __exit__(self, *exc) -> None:
        self.remove()


def _expected(tensors) -> int:
    """How many of the tensors get a gradient in the backward that is running."""
    outputs, wanted, _ = modes.walk
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    outputs = [outputs] if isinstance(outputs, GradientEdge) else outputs
    roots = [(edge_of(t), None) for t in outputs]
    edges = [edge_of(t) for t in tensors]
    if wanted is None:
        return sum(bool(_reaches(roots, edge)) for edge in edges)
    reach = tape._reaching(roots, wanted)
    return sum(
        bool(_reaches(roots, edge)) and (edge in wanted or edge[0] in reach)
        if edge.__class__ is tuple
        else any(edge is w for w in wanted) and _reaches(roots, edge)
        for edge in edges
    )  # fmt: skip


def _reaches(roots, edge) -> bool:
    if edge.__class__ is not tuple and any(root is edge for root, _ in roots):
        return True
    found = tape._reaching(roots, [edge])
    nodes = {root[0] for root, _ in roots if root.__class__ is tuple}
    return bool(found) or (edge.__class__ is tuple and edge[0] in nodes)


def register_multi_grad_hook(tensors: Sequence, fn, *, mode: str = "all"):
    """Call ``fn`` once in a backward: with the gradients of all tensors (None for those that get
    none) when they are complete, or with the first that is (``mode="any"``)
    (https://pytorch.org/docs/stable/autograd.html#torch.autograd.graph.register_multi_grad_hook)."""
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    if mode == "any":
        tensors = [t for t in tensors if t.requires_grad]
    elif not all(t.requires_grad for t in tensors):
        raise AssertionError("Expected gradient function to be set")
    key = object()  # under it each walk notes what has come, on whatever thread it runs

    def hook(i, grad):
        notes = modes.walk[2]
        if key not in notes:
            expected = _expected(tensors) if mode == "all" else 1
            notes[key] = [0, expected, [None] * len(tensors)]
        noted = notes[key]
        noted[0] += 1
        noted[2][i] = grad
        if noted[0] == noted[1]:
            fn(noted[2] if mode == "all" else grad)

    return _MultiHandle(t.register_hook(functools.partial(hook, i)) for i, t in enumerate(tensors))


# ---- streams and compilers ---------------------------------------------------------------------


class _Streams:
    warn, override = True, False


def set_warn_on_accumulate_grad_stream_mismatch(enabled: bool) -> None:
    """Set whether streams that differ are warned of: there is one stream here."""
    _Streams.warn = bool(enabled)


def set_override_stale_capture_stream(enabled: bool) -> None:
    """Set whether a stream of an old capture is replaced: there is one stream here."""
    _Streams.override = bool(enabled)


def region_activation_memory_budget(budget: float):
    """Not supported: XLA takes no budget."""
    raise NotSupported(
        "autograd.graph.region_activation_memory_budget",
        "wrap the region in torch.utils.checkpoint.checkpoint",
    )
