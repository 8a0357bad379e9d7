"""The mark of what PyTorch promises to keep."""

from __future__ import annotations

from collections.abc import Callable


def compatibility(is_backward_compatible: bool) -> Callable:
    """Decorator: notes on a function or class whether it is to stay as it is; nothing else."""

    def mark(fn):
        fn._backward_compatible = is_backward_compatible
        return fn

    return mark
