"""Transforms of vectors and matrices: onto simplexes, Cholesky factors and covariances."""

from __future__ import annotations

import math

from torchlike.distributions import constraints
from torchlike.distributions._torch import torch
from torchlike.distributions.transforms.base import Transform
from torchlike.distributions.transforms.pointwise import _clipped_sigmoid, _Plain
from torchlike.distributions.utils import tril_matrix_to_vec, vec_to_tril_matrix
from torchlike.nn.functional import pad, softmax, softplus

__all__ = [
    "CorrCholeskyTransform", "LowerCholeskyTransform", "PositiveDefiniteTransform",
    "SoftmaxTransform", "StickBreakingTransform",
]  # fmt: skip


class CorrCholeskyTransform(Transform):
    """A vector of D * (D - 1) / 2 numbers to the Cholesky factor of a D x D correlation matrix
    (https://pytorch.org/docs/stable/distributions.html#module-torch.distributions.transforms).

    By row, tanh of the numbers are partial correlations: each takes its share of what is left of
    the row's length 1.
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x):
        x = torch.tanh(x)
        eps = torch.finfo(x.dtype).eps
        x = x.clamp(min=-1 + eps, max=1 - eps)
        r = vec_to_tril_matrix(x, diag=-1)
        # What is left of a row before its j-th element: the product of sqrt(1 - r ** 2) up to it.
        left = (1 - r**2).sqrt().cumprod(-1)
        r = r + torch.eye(r.shape[-1], dtype=r.dtype, device=r.device)
        return r * pad(left[..., :-1], [1, 0], value=1)

    def _inverse(self, y):
        squares = 1 - torch.cumsum(y * y, dim=-1)
        left = tril_matrix_to_vec(pad(squares[..., :-1], [1, 0], value=1), diag=-1).sqrt()
        t = tril_matrix_to_vec(y, diag=-1) / left
        return (t.log1p() - t.neg().log1p()) / 2  # atanh, stable near 1

    def log_abs_det_jacobian(self, x, y, intermediates=None):
        # Each element is the partial correlation times what was left of its row.
        squares = 1 - (y * y).cumsum(dim=-1)
        left = tril_matrix_to_vec(squares, diag=-2)
        of_rows = 0.5 * left.log().sum(-1)
        of_tanh = -2 * (x + softplus(-2 * x) - math.log(2.0)).sum(dim=-1)
        return of_rows + of_tanh

    def forward_shape(self, shape):
        if len(shape) < 1:
            raise ValueError("Too few dimensions on input")
        n = shape[-1]
        d = round((0.25 + 2 * n) ** 0.5 + 0.5)
        if d * (d - 1) // 2 != n:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return torch.Size(tuple(shape[:-1]) + (d, d))

    def inverse_shape(self, shape):
        if len(shape) < 2:
            raise ValueError("Too few dimensions on input")
        if shape[-2] != shape[-1]:
            raise ValueError("Input is not square")
        d = shape[-1]
        return torch.Size(tuple(shape[:-2]) + (d * (d - 1) // 2,))


def _need_vector(shape):
    if len(shape) < 1:
        raise ValueError("Too few dimensions on input")


class SoftmaxTransform(_Plain):
    """y = softmax(x) over the last dimension, with log(y) as the inverse
    (https://pytorch.org/docs/stable/distributions.html#module-torch.distributions.transforms)."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def _call(self, x):
        return softmax(x, -1)

    def _inverse(self, y):
        return y.log()

    def forward_shape(self, shape):
        _need_vector(shape)
        return shape

    def inverse_shape(self, shape):
        _need_vector(shape)
        return shape


class StickBreakingTransform(_Plain):
    """A vector of D - 1 numbers to a point of the simplex of D, by breaking a stick
    (https://pytorch.org/docs/stable/distributions.html#module-torch.distributions.transforms)."""

    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    def _offset(self, x):
        """Logarithms of how many pieces remain: D - 1 ... 1."""
        n = x.shape[-1]
        return torch.arange(n, 0, -1, dtype=x.dtype, device=x.device).log()

    def _call(self, x):
        z = _clipped_sigmoid(x - self._offset(x))
        return pad(z, [0, 1], value=1) * pad((1 - z).cumprod(-1), [1, 0], value=1)

    def _inverse(self, y):
        head = y[..., :-1]
        left = (1 - head.cumsum(-1)).clamp(min=torch.finfo(y.dtype).tiny)
        return head.log() - left.log() + self._offset(head)

    def log_abs_det_jacobian(self, x, y):
        x = x - self._offset(x)
        return (-x + -softplus(-x) + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape):
        _need_vector(shape)
        return torch.Size(tuple(shape[:-1]) + (shape[-1] + 1,))

    def inverse_shape(self, shape):
        _need_vector(shape)
        return torch.Size(tuple(shape[:-1]) + (shape[-1] - 1,))


class LowerCholeskyTransform(_Plain):
    """A matrix to a lower triangular one whose diagonal is exp of its diagonal
    (https://pytorch.org/docs/stable/distributions.html#module-torch.distributions.transforms)."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def _call(self, x):
        return x.tril(-1) + x.diagonal(dim1=-2, dim2=-1).exp().diag_embed()

    def _inverse(self, y):
        return y.tril(-1) + y.diagonal(dim1=-2, dim2=-1).log().diag_embed()


class PositiveDefiniteTransform(_Plain):
    """A matrix to a positive definite one, by way of its Cholesky factor
    (https://pytorch.org/docs/stable/distributions.html#module-torch.distributions.transforms)."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def _call(self, x):
        x = LowerCholeskyTransform()(x)
        return x @ x.mT

    def _inverse(self, y):
        return LowerCholeskyTransform().inv(torch.linalg.cholesky(y))
