"""torch.utils.hooks: handles of hooks (https://pytorch.org/docs/stable/generated/torch.utils.hooks.RemovableHandle.html)."""

from __future__ import annotations

import warnings

from torchlike._tensor.handles import RemovableHandle

__all__ = ["RemovableHandle", "unserializable_hook", "warn_if_has_hooks"]


def unserializable_hook(f):
    """Mark a hook of a tensor, of which ``warn_if_has_hooks`` says nothing."""
    f.__torch_unserializable__ = True
    return f


def warn_if_has_hooks(tensor) -> None:
    """Warn of each hook of a tensor that a file would not hold."""
    for hook in (tensor._hooks or {}).values():
        if not hasattr(hook, "__torch_unserializable__"):
            warnings.warn(
                f"backward hook {hook!r} on tensor will not be serialized.  If this is expected, "
                "you can decorate the function with @torch.utils.hooks.unserializable_hook to "
                "suppress this warning",
                stacklevel=2,
            )
