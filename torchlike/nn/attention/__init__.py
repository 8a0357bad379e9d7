"""torch.nn.attention: which kernels ``scaled_dot_product_attention`` may use.

Here XLA compiles one formulation for each device, so the choice changes no result; what PyTorch
refuses is refused.
"""

from __future__ import annotations

import logging as _logging
from contextlib import contextmanager as _contextmanager

from torchlike._core.errors import NotSupported as _NotSupported
from torchlike.backends.cuda import _sdp as _switches
from torchlike.nn.attention import bias as bias
from torchlike.nn.functional import attention as _functional
from torchlike.nn.functional.attention import SDPBackend as SDPBackend

__all__ = [
    "WARN_FOR_UNFUSED_KERNELS",
    "SDPBackend",
    "activate_flash_attention_impl",
    "current_flash_attention_impl",
    "list_flash_attention_impls",
    "register_flash_attention_impl",
    "restore_flash_attention_impl",
    "sdpa_kernel",
]

_BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION, "mem_efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH, "cudnn": SDPBackend.CUDNN_ATTENTION,
}  # fmt: skip

# PyTorch says with it why a fused kernel was not taken; here there is nothing to say.
WARN_FOR_UNFUSED_KERNELS = False


@_contextmanager
def sdpa_kernel(backends: list[SDPBackend] | SDPBackend, set_priority: bool = False):
    """Allow only these backends; ``RuntimeError`` at a call for which none of them is there
    (https://pytorch.org/docs/stable/generated/torch.nn.attention.sdpa_kernel.html)."""
    if not isinstance(backends, (list, SDPBackend)):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, got "
            f"{type(backends).__name__}"
        )
    chosen = [backends] if isinstance(backends, SDPBackend) else backends
    before, switches = _functional.allowed, dict(_switches)
    _functional.allowed = frozenset(chosen)
    for name, backend in _BACKENDS.items():
        _switches[name] = backend in chosen
    try:
        yield {}
    finally:
        _functional.allowed = before
        _switches.update(switches)


# ---- other implementations of flash attention --------------------------------------------------


def _absent(name: str):
    def register():
        raise _NotSupported(
            f"the flash attention implementation {name}", "XLA compiles attention: none is needed"
        )

    return register


_known = {name: _absent(name) for name in ("FA3", "FA4")}
_active: tuple[str, object] | None = None


def register_flash_attention_impl(impl: str, *, register_fn) -> None:
    """Make an implementation known: activating it calls ``register_fn``, which returns None or
    something with ``remove()``
    (https://pytorch.org/docs/stable/generated/torch.nn.attention.register_flash_attention_impl.html).
    """
    _known[impl] = register_fn


def activate_flash_attention_impl(impl: str) -> None:
    """Call what an implementation was registered with; ``ValueError`` if it was not
    (https://pytorch.org/docs/stable/generated/torch.nn.attention.activate_flash_attention_impl.html).
    """
    global _active
    if impl not in _known:
        raise ValueError(
            f"Unknown flash attention impl '{impl}'. Available implementations: "
            f"{list_flash_attention_impls()}"
        )
    restore_flash_attention_impl(_raise_warn=False)
    handle = _known[impl]()
    if handle is not None:
        _active = impl, handle


def list_flash_attention_impls() -> list[str]:
    """The names of the implementations known
    (https://pytorch.org/docs/stable/generated/torch.nn.attention.list_flash_attention_impls.html).
    """
    return sorted(_known)


def current_flash_attention_impl() -> str | None:
    """The name of the implementation that is active, or None
    (https://pytorch.org/docs/stable/generated/torch.nn.attention.current_flash_attention_impl.html).
    """
    return None if _active is None else _active[0]


def restore_flash_attention_impl(_raise_warn: bool = True) -> None:
    """Take off the implementation that is active
    (https://pytorch.org/docs/stable/generated/torch.nn.attention.restore_flash_attention_impl.html).
    """
    global _active
    if _active is not None:
        _active[1].remove()
        _active = None
    elif _raise_warn:
        _logging.getLogger(__name__).warning(
            "Trying to restore default FA2 impl when no custom impl was activated"
        )
