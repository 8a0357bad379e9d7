"""torch.distributed: as in a build of PyTorch without it."""

from __future__ import annotations


def is_available() -> bool:
    """False: a program is one process."""
    return False


def is_initialized() -> bool:
    """False: there is no process group."""
    return False


def is_torchelastic_launched() -> bool:
    """False: no launcher started this process."""
    return False
