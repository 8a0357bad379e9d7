"""The geometric distribution."""

from __future__ import annotations

from typing import ClassVar

from torchlike._tensor import gamma as draws
from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.chances import Chances, name_of_given
from torchlike.distributions.distribution import Distribution
from torchlike.distributions.utils import broadcast_all
from torchlike.distributions.validation import satisfied
from torchlike.nn.functional import binary_cross_entropy_with_logits


class Geometric(Chances, Distribution):
    """Failures before the first success of probability ``probs`` (log odds ``logits``)
    (https://pytorch.org/docs/stable/distributions.html#geometric)."""

    arg_constraints: ClassVar = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(self, probs=None, logits=None, validate_args=None):
        given = name_of_given(probs, logits)
        self._keep(given, *broadcast_all(probs if logits is None else logits))
        super().__init__(self._param.size(), validate_args=validate_args)
        if (
            self._validate_args
            and logits is None
            and not satisfied(constraints.positive, self.probs)
        ):
            value = self.probs
            raise ValueError(
                f"Expected parameter probs ({type(value).__name__} of shape {tuple(value.shape)}) "
                f"of distribution {self!r} to be positive but found invalid values:\n"
                f"{value[value <= 0]}"
            )

    def expand(self, batch_shape, _instance=None):
        names = self._names()
        return self._expanded(Geometric, batch_shape, _instance, *names, _given=self._given)

    @property
    def mean(self):
        return 1.0 / self.probs - 1.0

    @property
    def mode(self):
        return torch.zeros_like(self.probs)

    @property
    def variance(self):
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape=NO_SHAPE):
        shape, tiny = self._extended_shape(sample_shape), torch.finfo(self.probs.dtype).tiny
        with torch.no_grad():
            u = draws.uniform(shape, tiny, 1.0, self.probs.dtype, self.probs.device)
            return (u.log() / (-self.probs).log1p()).floor()

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        value, probs = broadcast_all(value, self.probs)
        # No failures at all: 0 * log(0) is 0.
        probs = torch.where((probs == 1) & (value == 0), 0.0, probs)
        return value * (-probs).log1p() + self.probs.log()

    def entropy(self):
        per_trial = binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")
        return per_trial / self.probs
