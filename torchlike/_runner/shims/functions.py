"""Private functions of ``torch`` that programs call: checks, and ops on lists of tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torchlike as torch
from torchlike._core.errors import NotSupported

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


def _assert(condition, message) -> None:
    """``assert condition, message`` that optimized Python keeps."""
    if not condition:
        raise AssertionError(message)


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


# ---- one op on each tensor of a list -----------------------------------------------------------

_UNARY = (
    "abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1", "floor",
    "frac", "lgamma", "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt",
    "sigmoid", "sign", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
_OTHERS = (
    "add", "sub", "mul", "div", "pow", "clamp_max", "clamp_min", "maximum", "minimum", "addcdiv",
    "addcmul", "lerp",
)  # fmt: skip
_CALLED = {"maximum": "clamp_min", "minimum": "clamp_max"}  # with numbers


def _check_list(name: str, tensors) -> None:
    """Raise PyTorch's errors for what is no list of tensors, or an empty one."""
    if not isinstance(tensors, (list, tuple)):
        raise TypeError(
            f"_foreach_{name}(): argument 'self' (position 1) must be tuple of Tensors, not "
            f"{type(tensors).__name__}"
        )
    if not tensors:
        raise RuntimeError("Tensor list must have at least one tensor.")
    for i, t in enumerate(tensors):
        if not isinstance(t, torch.Tensor):
            raise TypeError(
                f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}"
            )


def _each(method: str, first, args, kwargs) -> list:
    """``first[i].method(...)`` for each i; an argument that is a list gives its i-th entry."""
    lists = [a for a in (*args, *kwargs.values()) if isinstance(a, (list, tuple))]
    for other in lists:
        if len(other) != len(first):
            raise RuntimeError(
                "Tensor lists must have the same number of tensors, got "
                f"{len(first)} and {len(other)}"
            )

    def pick(a, i):
        return a[i] if isinstance(a, (list, tuple)) else a

    out = []
    for i, tensor in enumerate(first):
        mine = [pick(a, i) for a in args]
        named = {k: pick(v, i) for k, v in kwargs.items()}
        called = method
        if mine and not isinstance(mine[0], torch.Tensor):
            called = _CALLED.get(method.rstrip("_"), method.rstrip("_"))
            called += "_" if method.endswith("_") else ""
        out.append(getattr(tensor, called)(*mine, **named))
    return out


def _on_lists(name: str, inplace: bool):
    method = name + "_" * inplace

    @functools.wraps(_each)
    def function(self, *args, **kwargs):
        if "scalars" in kwargs:  # one number a tensor
            kwargs["value"] = list(kwargs.pop("scalars"))
        if name in ("addcdiv", "addcmul") and len(args) == 3:
            *args, kwargs["value"] = args
            if isinstance(kwargs["value"], torch.Tensor):
                kwargs["value"] = kwargs["value"].tolist()
        if "other" in kwargs:
            args = (kwargs.pop("other"), *args)
        if method == "pow" and isinstance(self, (int, float, complex)):  # a number to the powers
            _check_list(method, *args)
            return tuple(torch.pow(self, t) for t in args[0])
        _check_list(method, self)
        out = _each(method, self, args, kwargs)
        return self if inplace else tuple(out)

    function.__name__ = function.__qualname__ = f"_foreach_{method}"
    function.__doc__ = f"``{name}`` of each tensor of a list{', in place' * inplace}."
    return function


for _name in (*_UNARY, *_OTHERS):
    globals()[f"_foreach_{_name}"] = _on_lists(_name, False)
    globals()[f"_foreach_{_name}_"] = _on_lists(_name, True)


def _foreach_clone(self) -> tuple:
    """A clone of each tensor of a list."""
    _check_list("clone", self)
    return tuple(t.clone() for t in self)


def _foreach_zero_(self):
    """Fill each tensor of a list with zeros."""
    _check_list("zero_", self)
    for t in self:
        t.zero_()
    return self


def _foreach_copy_(self, src, non_blocking: bool = False):
    """Copy the tensors of one list into those of another."""
    _check_list("copy_", self)
    _each("copy_", self, (src,), {})
    return self


def _foreach_norm(self, ord=2, dtype=None) -> tuple:
    """The norm of each tensor of a list, as a whole."""
    _check_list("norm", self)
    return tuple(torch.linalg.vector_norm(t, ord, dtype=dtype) for t in self)


def _foreach_powsum(self, ord=2, dtype=None) -> tuple:
    """The sum of the powers of each tensor's absolute elements."""
    _check_list("powsum", self)
    return tuple((t if dtype is None else t.to(dtype)).abs().pow(ord).sum() for t in self)


def _foreach_mm(self, mat2) -> tuple:
    """The matrix products of the tensors of two lists."""
    _check_list("mm", self)
    return tuple(_each("mm", self, (mat2,), {}))


def _foreach_max(self) -> tuple:
    """The largest element of each tensor of a list."""
    _check_list("max", self)
    return tuple(t.max() for t in self)


# ---- kernels of accelerators -------------------------------------------------------------------


def _scaled_mm(*args, **kwargs):
    """Raises ``NotSupported``."""
    raise NotSupported("torch._scaled_mm", "multiply in bfloat16 with torch.mm")
