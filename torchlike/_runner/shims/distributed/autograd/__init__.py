"""torch.distributed.autograd: as in a build of PyTorch without it."""

from __future__ import annotations


def is_available() -> bool:
    """False: a program is one process."""
    return False
