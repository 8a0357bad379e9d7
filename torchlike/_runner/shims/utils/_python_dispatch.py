"""torch.utils._python_dispatch: tensors around other tensors, of which there are none here."""

from __future__ import annotations

from torchlike._core.errors import NotSupported


class TorchDispatchMode:
    """Raises ``NotSupported``: ``torch.overrides.TorchFunctionMode`` sees the public calls."""

    def __init__(self, *args, **kwargs):
        raise NotSupported("TorchDispatchMode", "use torch.overrides.TorchFunctionMode")


def is_traceable_wrapper_subclass(t) -> bool:
    """False: no tensor is made of others."""
    return False


def is_traceable_wrapper_subclass_type(t: type) -> bool:
    """False: no class of tensors is made of others."""
    return False


def is_in_torch_dispatch_mode(include_infra_modes: bool = True) -> bool:
    """False: there are no such modes."""
    return False
