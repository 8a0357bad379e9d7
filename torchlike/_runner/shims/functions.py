"""Private functions of ``torch`` that programs call: checks, and names of kernels."""

from __future__ import annotations

from collections.abc import Callable

import torchlike as torch
from torchlike._core.errors import NotSupported
from torchlike._tensor.checks import _assert as _assert

__all__: list[str] = []

# ---- checks ------------------------------------------------------------------------------------


def _check_with(error_type: type, cond, message: Callable[[], object] | None = None) -> None:
    """Raise ``error_type`` unless the condition holds, with what the message's function returns."""
    if not isinstance(cond, (bool, torch.SymBool)):
        raise TypeError(f"cond must be a bool, but got {type(cond)}")
    if cond:
        return
    if message is None:
        raise error_type("Expected cond to be True, but got False.")
    if not callable(message):
        raise TypeError("message must be a callable")
    raise error_type(str(message()))


def _check(cond, message=None) -> None:
    """Raise ``RuntimeError`` unless the condition holds."""
    _check_with(RuntimeError, cond, message)


def _check_index(cond, message=None) -> None:
    """Raise ``IndexError`` unless the condition holds."""
    _check_with(IndexError, cond, message)


def _check_value(cond, message=None) -> None:
    """Raise ``ValueError`` unless the condition holds."""
    _check_with(ValueError, cond, message)


def _check_type(cond, message=None) -> None:
    """Raise ``TypeError`` unless the condition holds."""
    _check_with(TypeError, cond, message)


def _check_not_implemented(cond, message=None) -> None:
    """Raise ``NotImplementedError`` unless the condition holds."""
    _check_with(NotImplementedError, cond, message)


def _check_is_size(i, message=None, *, max=None) -> None:
    """Raise ``RuntimeError`` unless the number is a size, and no larger than ``max``."""
    _check(i >= 0, message)
    if max is not None:
        _check(i <= max, message)


def _check_tensor_all_with(error_type: type, cond, message=None) -> None:
    """Raise ``error_type`` unless all elements of a bool tensor are true."""
    if not isinstance(cond, torch.Tensor):
        raise TypeError(f"cond must be a tensor, but got {type(cond)}")
    if cond.dtype is not torch.bool:
        raise TypeError(f"cond tensor must have dtype torch.bool, but got {cond.dtype}")
    _check_with(error_type, bool(cond.all()), message)


def _check_tensor_all(cond, message=None) -> None:
    """Raise ``RuntimeError`` unless all elements of a bool tensor are true."""
    _check_tensor_all_with(RuntimeError, cond, message)


def _assert_async(tensor, assert_msg: str = "Expected Tensor with single nonzero value") -> None:
    """Raise ``RuntimeError`` unless a tensor of one element is not zero; it waits for it."""
    if not bool(tensor):
        raise RuntimeError(assert_msg)


def _shape_as_tensor(tensor):
    """The shape as an int64 tensor."""
    return torch.tensor(tuple(tensor.shape), dtype=torch.int64)


def _softmax(input, dim: int, half_to_float: bool = False):
    """``softmax``, in float32 for half precision if asked."""
    return torch.softmax(input, dim, dtype=torch.float32 if half_to_float else None)


def _log_softmax(input, dim: int, half_to_float: bool = False):
    """``log_softmax``, in float32 for half precision if asked."""
    return torch.log_softmax(input, dim, dtype=torch.float32 if half_to_float else None)


def _softmax_backward_data(grad_output, output, dim: int, input_dtype):
    """The gradient of softmax's input, from the gradient of its output and the output."""
    weighted = grad_output * output
    return (weighted - output * weighted.sum(dim, keepdim=True)).to(input_dtype)


def _log_softmax_backward_data(grad_output, output, dim: int, input_dtype):
    """The gradient of log_softmax's input, from the gradient of its output and the output."""
    return (grad_output - output.exp() * grad_output.sum(dim, keepdim=True)).to(input_dtype)


def _weight_norm(v, g, dim: int = 0):
    """``v`` with the lengths ``g`` for its slices along ``dim``; -1 is the whole of it."""
    others = [i for i in range(v.ndim) if i != dim]
    return v * (g / torch.linalg.vector_norm(v, dim=others or None, keepdim=dim != -1))


def _dim_arange(like, dim: int):
    """The indices along a dimension of a tensor."""
    return torch.arange(like.shape[dim], device=like.device)


def _euclidean_dist(x1, x2):
    """The distances between the rows of two matrices."""
    return torch.cdist(x1, x2, compute_mode="use_mm_for_euclid_dist")


def _unique2(input, sorted=True, return_inverse=False, return_counts=False):
    """The unique elements, the inverse and the counts; an empty tensor for what is not asked."""
    found, inverse, counts = torch.unique(input, sorted, return_inverse=True, return_counts=True)
    none = input.new_empty(0, dtype=torch.int64)
    return found, inverse if return_inverse else none, counts if return_counts else none


def _is_functional_tensor(t) -> bool:
    """False: there are no such tensors here."""
    return False


# ---- kernels of accelerators -------------------------------------------------------------------


def _scaled_mm(*args, **kwargs):
    """Raises ``NotSupported``."""
    raise NotSupported("torch._scaled_mm", "multiply in bfloat16 with torch.mm")
