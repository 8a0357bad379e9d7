"""torch.utils.serialization: the settings of ``save`` and ``load`` in one place."""

from torchlike.utils.serialization import config as config

__all__ = ["config"]
