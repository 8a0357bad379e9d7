"""torch.fx.experimental.proxy_tensor: graphs of ATen's operators, which are not here."""

from __future__ import annotations

from collections.abc import Callable

from torchlike._core.errors import NotSupported

__all__ = ["get_innermost_proxy_mode", "get_proxy_mode", "make_fx"]


def make_fx(f: Callable, *args, **kwargs) -> Callable:
    """Raises ``NotSupported``: calls are recorded as ops of this package, not as ATen's."""
    raise NotSupported(
        "make_fx, which records ATen operators",
        "torch.fx.symbolic_trace gives a graph of the function's own calls, jax.make_jaxpr one of "
        "what runs",
    )


def get_proxy_mode() -> None:
    """None: nothing is being recorded."""


def get_innermost_proxy_mode() -> None:
    """None: nothing is being recorded."""
