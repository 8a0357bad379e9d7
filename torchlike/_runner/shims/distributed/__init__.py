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


def is_backend_available(backend: str) -> bool:
    """False: there is no backend of any name."""
    return False


def _no_backend() -> bool:
    """False: there is no backend."""
    return False


is_gloo_available = is_mpi_available = is_nccl_available = _no_backend
is_ucc_available = is_xccl_available = _no_backend
