"""What the families share: broadcasting, probabilities and logits, lazy attributes."""

from __future__ import annotations

import math
from functools import reduce, update_wrapper
from numbers import Number

from torchlike._tensor.shapes import common_shape
from torchlike.distributions._torch import torch
from torchlike.nn import functional as F

EULER = 0.57721566490153286060
LOG_2PI = math.log(2 * math.pi)

__all__ = [
    "broadcast_all", "clamp_probs", "euler_constant", "lazy_property", "logits_to_probs",
    "probs_to_logits", "tril_matrix_to_vec", "vec_to_tril_matrix",
]  # fmt: skip

euler_constant = EULER


def broadcast_all(*values):
    """Tensors and numbers as tensors of one shape; numbers take the first tensor's dtype
    (``torch.distributions.utils.broadcast_all``)."""
    first = None
    for x in values:
        if isinstance(x, torch.Tensor):
            first = x if first is None else first
        elif not isinstance(x, Number):
            raise ValueError(
                "Input arguments must all be instances of Number, torch.Tensor or objects "
                "implementing __torch_function__."
            )
    dtype = torch.get_default_dtype() if first is None else first.dtype
    device = None if first is None else first.device
    tensors = [
        x if isinstance(x, torch.Tensor) else torch.tensor(x, dtype=dtype, device=device)
        for x in values
    ]
    shape = reduce(common_shape, [t.shape for t in tensors])
    return tuple(t if t.shape == shape else t.expand(shape) for t in tensors)


def _standard_normal(shape, dtype, device):
    """Standard normal numbers."""
    return torch.randn(shape, dtype=dtype, device=device)


def _sum_rightmost(value, dim: int):
    """The sum over the last ``dim`` dimensions."""
    if dim == 0:
        return value
    return value.reshape(value.shape[: value.dim() - dim] + (-1,)).sum(-1)


def logits_to_probs(logits, is_binary: bool = False):
    """Probabilities of logits: sigmoid for two outcomes, softmax over the last dimension for more
    (``torch.distributions.utils.logits_to_probs``)."""
    return torch.sigmoid(logits) if is_binary else F.softmax(logits, dim=-1)


def clamp_probs(probs):
    """Probabilities moved off 0 and 1 by the dtype's eps
    (``torch.distributions.utils.clamp_probs``)."""
    eps = torch.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs, is_binary: bool = False):
    """Logits of probabilities, clamped first: log odds for two outcomes, logarithms for more
    (``torch.distributions.utils.probs_to_logits``)."""
    clamped = clamp_probs(probs)
    if is_binary:
        return torch.log(clamped) - torch.log1p(-clamped)
    return torch.log(clamped)


class lazy_property:
    """A property computed, with gradients, at its first use and then kept on the instance
    (``torch.distributions.utils.lazy_property``)."""

    def __init__(self, wrapped):
        self.wrapped = wrapped
        update_wrapper(self, wrapped)

    def __get__(self, instance, obj_type=None):
        if instance is None:
            return self
        with torch.enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


def tril_matrix_to_vec(mat, diag: int = 0):
    """The elements on and below a diagonal, (..., D, D) to (..., n), row by row
    (``torch.distributions.utils.tril_matrix_to_vec``)."""
    n = mat.shape[-1]
    if diag < -n or diag >= n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    rows, columns = torch.tril_indices(n, n, diag, device=mat.device)
    return mat[..., rows, columns]


def vec_to_tril_matrix(vec, diag: int = 0):
    """The inverse of ``tril_matrix_to_vec``, (..., n) to (..., D, D), zeros above the diagonal
    (``torch.distributions.utils.vec_to_tril_matrix``)."""
    count = vec.shape[-1]
    root = math.sqrt((1 + 2 * diag) ** 2 + 8 * count + 4 * abs(diag) * (diag + 1))
    exact = (-(1 + 2 * diag) + root) / 2
    n = round(exact)
    if n - exact > torch.finfo(vec.dtype).eps:
        raise ValueError(
            f"The size of last dimension is {count} which cannot be expressed as the lower "
            "triangular part of a square D x D matrix."
        )
    rows, columns = torch.tril_indices(n, n, diag, device=vec.device)
    if rows.numel() != count:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape [{count}] cannot be broadcast to indexing "
            f"result of shape [{rows.numel()}]"
        )
    shape = tuple(vec.shape[:-1])
    at = (rows * n + columns).expand(vec.shape)
    return vec.new_zeros((*shape, n * n)).scatter(-1, at, vec).reshape((*shape, n, n))


def _nan_where(condition, value):
    """``value`` with nan where the condition holds."""
    return torch.where(condition, torch.full_like(value, math.nan), value)
