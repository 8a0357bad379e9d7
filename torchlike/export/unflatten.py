"""torch.export.unflatten: the hierarchy of modules, which programs of StableHLO do not keep."""

from __future__ import annotations

from torchlike._core.errors import NotSupported

__all__ = ["FlatArgsAdapter", "UnflattenedModule", "unflatten"]

_INSTEAD = "ep.module() holds the state under its dotted names, and runs the whole program"


class FlatArgsAdapter:
    """How a program gets inputs of another structure: a base class to derive from."""

    def adapt(self, target_spec, input_spec, input_args, metadata=None, obj=None):
        """The leaves for ``target_spec``; a derived class says which."""
        raise NotImplementedError


class UnflattenedModule:
    """A program as the modules it was made of: raises ``NotSupported``."""

    def __init__(self, export_module, flat_args_adapter=None):
        raise NotSupported("the submodules of an exported program as modules", _INSTEAD)


def unflatten(module, flat_args_adapter=None):
    """Raises ``NotSupported``: the calls of submodules are not kept apart."""
    raise NotSupported("torch.export.unflatten", _INSTEAD)
