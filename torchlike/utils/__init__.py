"""torch.utils: what stands around tensors and modules."""

from torchlike._core.later import later as _later

__getattr__, __dir__ = _later("torchlike.utils", ("checkpoint", "data", "dlpack"))

__all__ = ["data"]
