"""The LKJ distribution of Cholesky factors of correlation matrices."""

from __future__ import annotations

import math
from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.beta import Beta
from torchlike.distributions.distribution import Distribution
from torchlike.distributions.utils import broadcast_all


class LKJCholesky(Distribution):
    """Cholesky factors (dim, dim) of correlation matrices, nearer the identity the larger the
    ``concentration`` (https://pytorch.org/docs/stable/distributions.html#lkjcholesky)."""

    arg_constraints: ClassVar = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim, concentration=1.0, validate_args=None):
        if dim < 2:
            raise ValueError(
                f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}."
            )
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        # The onion method: the squared length of each row's part before the diagonal is beta.
        like = {"dtype": self.concentration.dtype, "device": self.concentration.device}
        marginal = self.concentration + 0.5 * (self.dim - 2)
        offset = torch.cat([torch.zeros((1,), **like), torch.arange(self.dim - 1, **like)])
        self._beta = Beta(offset + 0.5, marginal.unsqueeze(-1) - 0.5 * offset)
        shapes = self.concentration.size(), torch.Size((dim, dim))
        super().__init__(*shapes, validate_args)

    def expand(self, batch_shape, _instance=None):
        batch_shape = torch.Size(batch_shape)
        beta = self._beta.expand(batch_shape + (self.dim,))
        return self._expanded(
            LKJCholesky, batch_shape, _instance, "concentration", dim=self.dim, _beta=beta
        )

    def sample(self, sample_shape=NO_SHAPE):
        with torch.no_grad():
            y = self._beta.sample(sample_shape).unsqueeze(-1)
            shape = self._extended_shape(sample_shape)
            normals = torch.randn(shape, dtype=y.dtype, device=y.device).tril(-1)
            length = normals.norm(dim=-1, keepdim=True)
            # The first row has no part before the diagonal.
            directions = torch.where(length == 0, 0.0, normals / length)
            w = torch.sqrt(y) * directions
            rest = torch.clamp(1 - torch.sum(w**2, dim=-1), min=torch.finfo(w.dtype).tiny)
            return w + torch.diag_embed(rest.sqrt())

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        rows = torch.arange(2, self.dim + 1, device=self.concentration.device)
        powers = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - rows
        unnormalized = torch.sum(powers * diagonal.log(), dim=-1)
        n = self.dim - 1
        alpha = self.concentration + 0.5 * n
        normalizer = torch.mvlgamma(alpha - 0.5, n) - torch.lgamma(alpha) * n
        return unnormalized - (0.5 * n * math.log(math.pi) + normalizer)
