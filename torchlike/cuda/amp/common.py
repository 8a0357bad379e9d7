"""torch.cuda.amp.common: whether autocast could work here."""

from torchlike._core.devices import device_count as _device_count

__all__ = ["amp_definitely_not_available"]


def amp_definitely_not_available() -> bool:
    """Whether there is no GPU."""
    return not _device_count("cuda")
