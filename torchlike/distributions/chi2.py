"""The chi-squared distribution."""

from __future__ import annotations

from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions.gamma import Gamma


class Chi2(Gamma):
    """The chi-squared distribution of ``df`` degrees of freedom
    (https://pytorch.org/docs/stable/distributions.html#chi2)."""

    arg_constraints: ClassVar = {"df": constraints.positive}

    def __init__(self, df, validate_args=None):
        super().__init__(0.5 * df, 0.5, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        return super().expand(batch_shape, self._get_checked_instance(Chi2, _instance))

    @property
    def df(self):
        """The degrees of freedom."""
        return self.concentration * 2
