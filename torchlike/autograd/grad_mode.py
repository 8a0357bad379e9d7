"""torch.autograd.grad_mode: the contexts that set what the tape records and how it is walked."""

from __future__ import annotations

import functools

from torchlike._tensor.modes import enable_grad as enable_grad
from torchlike._tensor.modes import inference_mode as inference_mode
from torchlike._tensor.modes import no_grad as no_grad
from torchlike._tensor.modes import set_grad_enabled as set_grad_enabled

__all__ = [
    "enable_grad", "enforce_grad_layout_policy", "inference_mode", "is_multithreading_enabled",
    "no_grad", "set_grad_enabled", "set_multithreading_enabled",
]  # fmt: skip


class _Flag:
    """A switch that is set at once, for a ``with`` block or for a decorated function."""

    _on = True

    def __init__(self, mode: bool = True) -> None:
        self._before, self.mode = type(self)._on, bool(mode)
        type(self)._on = self.mode

    def __enter__(self) -> None:
        type(self)._on = self.mode

    def __exit__(self, *exc) -> None:
        type(self)._on = self._before

    def __call__(self, function):
        type(self)._on = self._before

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return wrapped

    def clone(self):
        """A fresh context of the same mode."""
        return type(self)(self.mode)


class set_multithreading_enabled(_Flag):
    """Whether backward may use threads: XLA's programs do as they will, our walk has one anyway."""

    def __init__(self, mode: bool) -> None:
        super().__init__(mode)


def is_multithreading_enabled() -> bool:
    """What ``set_multithreading_enabled`` has set."""
    return set_multithreading_enabled._on


class enforce_grad_layout_policy(_Flag):
    """Whether gradients get their parameters' strides: gradients here are dense, with no copies."""

    def __init__(self, enable: bool = True) -> None:
        super().__init__(enable)
