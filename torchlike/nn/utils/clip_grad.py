"""Gradient clipping."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable

from torchlike._ops import clipping as _clipping  # noqa: F401  (registers its ops)
from torchlike._ops.table import TABLE
from torchlike._tensor.creation import tensor
from torchlike._tensor.dispatch import apply, rebind
from torchlike._tensor.modes import no_grad
from torchlike._tensor.tensor import Tensor

__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
]


def _rewrite(tensors, op_name, *operands, limit):
    """Replace many tensors by the results of one op."""
    out = apply(TABLE[op_name], (*tensors, *operands), (float(limit),))
    for t, new in zip(tensors, out if isinstance(out, tuple) else (out,), strict=True):
        rebind(t, new)


def _gradients(parameters):
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in parameters if p.grad is not None]


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0,
    error_if_nonfinite: bool = False, foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """The norm of all tensors as if they were one vector."""
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return tensor(0.0)
    device = tensors[0].device
    total = apply(TABLE["total_norm"], [t.to(device) for t in tensors], (norm_type,))
    if error_if_nonfinite and not abs(total.item()) < float("inf"):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, "
            "so it cannot be clipped. To disable this error and scale the gradients by the "
            "non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor,
    foreach: bool | None = None,
) -> None:  # fmt: skip
    """Scale gradients in place so that a total norm becomes ``max_norm`` at most."""
    by_device: dict = {}
    for g in _gradients(parameters):
        by_device.setdefault(g.device, []).append(g)
    for device, grads in by_device.items():
        _rewrite(grads, "clip_to_norm", total_norm.to(device), limit=max_norm)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0,
    error_if_nonfinite: bool = False, foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """Scale gradients in place to a total norm of ``max_norm`` at most; returns the norm before
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html)."""
    if isinstance(parameters, types.GeneratorType):
        parameters = list(parameters)
        if not parameters:
            warnings.warn(
                "`parameters` is an empty generator, no gradient clipping will occur.",
                stacklevel=2,
            )
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    total = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


def clip_grad_norm(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Deprecated name of ``clip_grad_norm_``."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of "
        "`torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@no_grad()
def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Clamp every element of the gradients in place to [-clip_value, clip_value]
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_value_.html)."""
    by_device: dict = {}
    for g in _gradients(parameters):
        by_device.setdefault(g.device, []).append(g)
    for grads in by_device.values():
        _rewrite(grads, "clip_to_value", limit=clip_value)
