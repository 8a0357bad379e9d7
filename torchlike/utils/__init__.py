"""torch.utils: what stands around tensors and modules; so far data loading."""

from torchlike.utils import data as data

__all__ = ["data"]
