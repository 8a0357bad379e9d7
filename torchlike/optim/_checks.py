"""Checks of the options that the optimizers share."""

from __future__ import annotations

from torchlike._tensor.tensor import Tensor


def check_rate(lr, low: str = "Invalid learning rate: {}") -> None:
    """Raise PyTorch's ``ValueError`` for a learning rate that is negative or no single number."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0:
        raise ValueError(low.format(lr))


def check_betas(betas) -> None:
    """Raise PyTorch's ``ValueError`` for decay rates outside [0, 1)."""
    for i, beta in enumerate((betas[0], betas[1])):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


def check_range(what: str, value, low: float) -> None:
    """Raise PyTorch's ``ValueError`` for an option below its range."""
    if not low <= value:
        raise ValueError(f"Invalid {what}: {value}")


def check_fused(fused, differentiable, foreach) -> None:
    """Raise PyTorch's ``RuntimeError`` for options that exclude each other there."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
