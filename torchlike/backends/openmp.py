"""torch.backends.openmp: OpenMP, which XLA does not use."""

__all__ = ["is_available"]


def is_available() -> bool:
    """False."""
    return False
