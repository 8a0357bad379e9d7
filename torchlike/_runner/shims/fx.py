"""torch.fx: what libraries say to its tracer when they are imported."""

from __future__ import annotations


def wrap(fn_or_name):
    """What was given: it tells PyTorch's symbolic tracer, which torchlike has not, not to look in.

    Raises ``RuntimeError`` for anything but a function or a name.
    """
    if not callable(fn_or_name) and not isinstance(fn_or_name, str):
        raise RuntimeError(
            "Unsupported type for global function! Must be either a callable or string name"
        )
    return fn_or_name
