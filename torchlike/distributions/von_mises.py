"""The von Mises distribution of angles."""

from __future__ import annotations

import math
from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.distribution import Distribution
from torchlike.distributions.utils import LOG_2PI, broadcast_all, lazy_property


class VonMises(Distribution):
    """Angles about ``loc``, of density proportional to exp(concentration * cos(x - loc))
    (https://pytorch.org/docs/stable/distributions.html#vonmises)."""

    arg_constraints: ClassVar = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    has_rsample = False

    def __init__(self, loc, concentration, validate_args=None):
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, torch.Size(), validate_args)

    def expand(self, batch_shape, _instance=None):
        try:
            return super().expand(batch_shape)
        except NotImplementedError:
            validate_args = self.__dict__.get("_validate_args")
            loc, concentration = (x.expand(batch_shape) for x in (self.loc, self.concentration))
            return type(self)(loc, concentration, validate_args=validate_args)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        # The scaled Bessel function: the plain one overflows from 89 on.
        log_i0 = torch.log(torch.special.i0e(self.concentration)) + self.concentration
        return self.concentration * torch.cos(value - self.loc) - LOG_2PI - log_i0

    @lazy_property
    def _loc(self):
        return self.loc.to(torch.float64)

    @lazy_property
    def _concentration(self):
        return self.concentration.to(torch.float64)

    @lazy_property
    def _proposal_r(self):
        kappa = self._concentration
        tau = 1 + (1 + 4 * kappa**2).sqrt()
        rho = (tau - (2 * tau).sqrt()) / (2 * kappa)
        # Below 1e-5 the differences above have no digits left.
        return torch.where(kappa < 1e-5, 1 / kappa + kappa, (1 + rho**2) / (2 * rho))

    def sample(self, sample_shape=NO_SHAPE):
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            drawn = self._by_rejection(shape) + math.pi + self._loc
            return (drawn % (2 * math.pi) - math.pi).to(self.loc.dtype)

    def _by_rejection(self, shape):
        """Angles about 0, by rejection from a wrapped Cauchy (Best and Fisher, 1979)."""
        device, r = self.loc.device, self._proposal_r
        x = torch.empty(shape, dtype=torch.float64, device=device)
        done = torch.zeros(shape, dtype=torch.bool_, device=device)
        while not done.all():
            u = torch.rand((3, *shape), dtype=torch.float64, device=device)
            u1, u2, u3 = u.unbind()
            z = torch.cos(math.pi * u1)
            f = (1 + r * z) / (r + z)
            c = self._concentration * (r - f)
            accept = (c * (2 - c) - u2 > 0) | ((c / u2).log() + 1 - c >= 0)
            x = torch.where(accept, (u3 - 0.5).sign() * f.acos(), x)
            done = done | accept
        return x

    @property
    def mean(self):
        """The circular mean."""
        return self.loc

    @property
    def mode(self):
        return self.loc

    @lazy_property
    def variance(self):
        """The circular variance."""
        kappa = self.concentration
        return 1 - torch.special.i1e(kappa) / torch.special.i0e(kappa)
