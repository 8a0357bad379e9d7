"""torch.jit: marks that only TorchScript's compiler reads, and its tracer's inner door."""

from typing import Final as Final

from torchlike._core.errors import NotSupported


def _overload(func):
    """``func`` itself: the types of its arguments choose nothing at run time."""
    return func


def _overload_method(func):
    """``func`` itself."""
    return func


def _get_trace_graph(*args, **kwargs):
    """Raises ``NotSupported``: nothing is traced into TorchScript's graphs."""
    raise NotSupported(
        "torch.jit._get_trace_graph", "torch.export.export records a call as a program"
    )
