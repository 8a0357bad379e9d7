"""torch.signal: signal processing."""

from torchlike.signal import windows as windows

__all__ = ["windows"]
