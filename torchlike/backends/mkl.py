"""torch.backends.mkl: Intel's library of linear algebra, which XLA does not use."""

__all__ = ["is_available"]


def is_available() -> bool:
    """False."""
    return False
