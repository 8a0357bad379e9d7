"""torch.utils: what stands around tensors and modules; so far data loading."""

from torchlike.utils import checkpoint as checkpoint
from torchlike.utils import data as data
from torchlike.utils import dlpack as dlpack

__all__ = ["data"]
