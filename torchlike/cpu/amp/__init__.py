"""torch.cpu.amp: the deprecated spellings of torch.amp for the CPU."""

from torchlike.cpu.amp.autocast_mode import autocast as autocast
from torchlike.cpu.amp.grad_scaler import GradScaler as GradScaler

__all__ = ["GradScaler", "autocast"]
