"""torch.backends.mha: whether modules of attention may take a shorter way in eval mode."""

__all__ = ["get_fastpath_enabled", "set_fastpath_enabled"]

_enabled = [True]


def get_fastpath_enabled() -> bool:
    """What ``set_fastpath_enabled`` was given; there is one way, and it is compiled."""
    return _enabled[0]


def set_fastpath_enabled(value: bool) -> None:
    """Keep the flag."""
    _enabled[0] = bool(value)
