"""torch.utils._triton: whether Triton's kernels can run; they cannot, on any machine."""

from __future__ import annotations


def has_triton_package() -> bool:
    """False: kernels of one's own are ``torch.library.custom_op`` over Pallas."""
    return False


def has_triton() -> bool:
    """False."""
    return False
