"""torch.backends.mkldnn: oneDNN, which XLA calls itself where it pays."""

__all__ = ["is_available"]

enabled = True
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """False."""
    return False
