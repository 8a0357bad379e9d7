"""torch.ao: quantization and pruning tools, of which there is nothing but the names."""

from torchlike import quantization as quantization

__all__ = []
