"""Switches of the library and of Python, which users set: parts of the state like their own."""

from __future__ import annotations

import sys
from collections.abc import Callable

from torchlike._tensor import flags, printing
from torchlike.compiler._parts import ATOMS, Entries, Part, Registrations, Rounding, Slots

_FLAGS = tuple(name for name in vars(flags._Flags) if name[:2] != "__")
_BACKENDS = "torchlike.backends."


def switches(reads: Callable[[str], bool]) -> list[Part]:
    """Those that code may look at or set which names what ``reads`` says; effects are noticed."""
    parts: list[Part] = []
    if reads("isinstance") or reads("issubclass"):
        parts.append(Registrations())
    kl = sys.modules.get("torchlike.distributions.kl.registry")
    if kl is not None and reads("kl_divergence"):
        parts.append(Entries(kl._REGISTRY, "the functions of register_kl"))
    if "decimal" in sys.modules and (reads("Decimal") or reads("decimal")):
        parts.append(Rounding())
    if _is_named(flags, reads):
        parts.append(Slots(flags._Flags, "torch", _FLAGS))
    if _is_named(printing, reads):
        parts.append(Entries(vars(printing._options), "the print options"))
    for name, module in list(sys.modules.items()):
        if name.startswith(_BACKENDS) and _is_named(module, reads):
            path = name.replace("torchlike.", "torch.", 1)
            for owner in (module, *_groups(module)):
                keys = [k for k in dir(owner) if k[0] != "_" and type(getattr(owner, k)) in ATOMS]
                parts.append(Slots(owner, path, tuple(keys)))
            if "_sdp" in vars(module):
                parts.append(Entries(module._sdp, path))
    return parts


def _is_named(module, reads) -> bool:
    return any(name[0] != "_" and reads(name) for name in vars(module))


def _groups(module) -> list:
    """Objects that hold some of a module's switches, as ``matmul``."""
    return [x for x in vars(module).values() if type(x).__module__ == module.__name__]
