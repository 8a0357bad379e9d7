"""torch._jit_internal: marks for TorchScript's compiler, which torchlike has not."""

from typing import Final as Final

from torchlike.jit import export as export
from torchlike.jit import ignore as ignore
from torchlike.jit import unused as unused


def _overload(fn):
    """The function itself."""
    return fn


def _overload_method(fn):
    """The function itself."""
    return fn


def _copy_to_script_wrapper(fn):
    """The function itself."""
    return fn


def is_scripting() -> bool:
    """False: nothing is compiled by TorchScript."""
    return False
