"""torch.distributions.kl: Kullback-Leibler divergences."""

from torchlike.distributions.kl import cross as cross
from torchlike.distributions.kl import gaussian as gaussian
from torchlike.distributions.kl import same as same
from torchlike.distributions.kl.registry import _REGISTRY as _KL_REGISTRY  # noqa: F401
from torchlike.distributions.kl.registry import kl_divergence as kl_divergence
from torchlike.distributions.kl.registry import register_kl as register_kl

__all__ = ["kl_divergence", "register_kl"]
