"""torch.utils: what stands around tensors and modules."""

from torchlike._core.later import later as _later
from torchlike._tensor.attributes import swap_tensors as swap_tensors

__getattr__, __dir__ = _later(
    "torchlike.utils",
    (
        "benchmark", "checkpoint", "data", "dlpack", "flop_counter", "hooks", "model_zoo",
        "module_tracker", "safetensors", "serialization", "tensorboard",
    ),
)  # fmt: skip

__all__ = ["data", "swap_tensors"]
