"""Conditions that a program states: ``torch._check`` and its kin, which raise where one fails."""

from __future__ import annotations

import builtins
from collections.abc import Callable

from torchlike._core.symbolic import SymBool
from torchlike._engine.captures import at_hand
from torchlike._engine.prefix import local
from torchlike._ops.table import TABLE
from torchlike._tensor.dispatch import apply
from torchlike._tensor.tensor import Tensor

_UNSAID = (
    "Expected cond to be True, but got False. (Could this error message be improved? If so, "
    "please report an enhancement request to PyTorch.)"
)


def _raise(error: type, failed: bool, message: Callable | None) -> None:
    if not failed:
        return
    if message is None:
        raise error(_UNSAID)
    if not callable(message):
        raise TypeError("message must be a callable")
    raise error(str(message()))


def _check_with(error_type: type, cond, message: Callable | None) -> None:
    """Raise ``error_type`` if ``cond``, a bool or a condition on open sizes, is false."""
    if isinstance(cond, Tensor):
        raise TypeError(
            "cond must be a bool, but got a Tensor. For tensor conditions, use "
            "torch._check_tensor_all() to assert that all elements are true."
        )
    if not isinstance(cond, bool | SymBool):
        raise TypeError(f"cond must be a bool, but got {type(cond)}")
    _raise(error_type, not cond, message)


def _check(cond, message: Callable | None = None) -> None:
    """Raise ``RuntimeError`` with ``message()`` if ``cond`` is false."""
    _check_with(RuntimeError, cond, message)


def _check_index(cond, message: Callable | None = None) -> None:
    """Raise ``IndexError`` if ``cond`` is false."""
    _check_with(IndexError, cond, message)


def _check_value(cond, message: Callable | None = None) -> None:
    """Raise ``ValueError`` if ``cond`` is false."""
    _check_with(ValueError, cond, message)


def _check_type(cond, message: Callable | None = None) -> None:
    """Raise ``TypeError`` if ``cond`` is false."""
    _check_with(TypeError, cond, message)


def _check_not_implemented(cond, message: Callable | None = None) -> None:
    """Raise ``NotImplementedError`` if ``cond`` is false."""
    _check_with(NotImplementedError, cond, message)


def _check_is_size(i, message: Callable | None = None, *, max=None) -> None:
    """Raise ``RuntimeError`` for a negative number, or one above ``max``."""
    _check(bool(i >= 0), message)
    if max is not None:
        _check(bool(i <= max), message)


def _check_tensor_all_with(error_type: type, cond, message: Callable | None = None) -> None:
    """Raise ``error_type`` if an element of a bool tensor is false."""
    if not isinstance(cond, Tensor):
        raise TypeError(f"cond must be a tensor, but got {type(cond)}")
    if cond.dtype.name != "bool":
        raise TypeError(f"cond tensor must have dtype torch.bool, but got {cond.dtype}")
    name = error_type.__name__
    recorded = local.capture is not None and at_hand(cond._value) is None
    if recorded and getattr(builtins, name, None) is error_type:
        text = _UNSAID if message is None else str(message())  # raised at the next look at a value
        apply(TABLE["require"], (cond,), (name, text))
        return
    _raise(error_type, not bool(cond.all()), message)


def _check_tensor_all(cond, message: Callable | None = None) -> None:
    """Raise ``RuntimeError`` if an element of a bool tensor is false."""
    _check_tensor_all_with(RuntimeError, cond, message)


def _assert_async(input: Tensor, assert_msg: str | None = None) -> None:
    """Raise ``RuntimeError`` if the one element of a tensor is zero."""
    if not bool(input):
        raise RuntimeError(assert_msg or "Expected Tensor with single nonzero value, but got zero")


def _assert(condition, message: str) -> None:
    """Raise ``AssertionError`` with ``message`` if a condition, a tensor's too, is false."""
    kind = condition.__class__
    if not isinstance(condition, Tensor) and hasattr(kind, "__torch_function__"):
        return kind.__torch_function__(_assert, (kind,), (condition, message))
    if not condition:
        raise AssertionError(message)
