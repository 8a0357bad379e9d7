"""torch.utils: what stands around tensors and modules."""

from torchlike._core.later import later as _later

__getattr__, __dir__ = _later(
    "torchlike.utils",
    (
        "benchmark", "checkpoint", "data", "dlpack", "flop_counter", "hooks", "model_zoo",
        "safetensors", "tensorboard",
    ),
)  # fmt: skip

__all__ = ["data"]
