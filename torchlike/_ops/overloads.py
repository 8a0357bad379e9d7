"""Which of PyTorch's overloads a call stands for: its number ends the name of the call's node."""

from __future__ import annotations


def is_tensor(aval) -> bool:
    """Whether an operand is a tensor, no Python number and not left out."""
    return hasattr(aval, "shape")


def by_operand(name: str, operand: str, tensor: int, number: int):
    """A ``grad_name`` that goes by whether an operand is a tensor."""
    return lambda c: f"{name}Backward{tensor if is_tensor(getattr(c, operand)) else number}"


def by_sides(name: str):
    """A ``grad_name`` for two operands of which either may be a number: ``input`` and ``other``."""
    numbers = {(True, True): 0, (False, True): 1, (True, False): 2}
    return lambda c: f"{name}Backward{numbers[is_tensor(c.input), is_tensor(c.other)]}"


def by_dim(name: str):
    """A ``grad_name`` for a reduction: of everything, or over given dimensions."""
    return lambda c: f"{name}Backward{int(c.dim is not None or c.keepdim)}"
