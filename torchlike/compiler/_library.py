"""Switches of the library and of Python, which users set: parts of the state like their own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from operator import attrgetter

from torchlike._tensor import flags, printing
from torchlike._tensor.autocast import state as autocast
from torchlike.compiler._parts import (
    ATOMS,
    Entries,
    Items,
    Part,
    Registrations,
    Rounding,
    Slots,
    Threads,
)

_FLAGS = tuple(name for name in vars(flags._Flags) if name[:2] != "__")
_BACKENDS = "torchlike.backends."

# Modules whose functions read or set switches, however a program got hold of them: what keeps
# these, from the module, and by which names; a container keeps them as a whole.
_KEPT: dict[str, tuple] = {
    "torchlike.__future__": (("_conversion", ("overwrite", "swap")),),
    "torchlike._serialization.options": (("current.__dict__", None),),
    "torchlike._tensor.flags": (("_Flags", _FLAGS), ("errors", ("always",))),
    "torchlike._tensor.printing": (("_options.__dict__", None),),
    "torchlike.autograd.grad_mode": (
        ("set_multithreading_enabled", ("_on",)), ("enforce_grad_layout_policy", ("_on",)),
    ),
    "torchlike.distributions.constraint_registry": (
        ("biject_to._registry", None), ("transform_to._registry", None),
    ),
    "torchlike.distributions.distribution": (("Distribution", ("_validate_args",)),),
    "torchlike.distributions.kl.registry": (("_REGISTRY", None),),
    "torchlike.func.trees": (("NODES", None),),
    "torchlike.hub": (("", ("_chosen",)),),
    "torchlike.multiprocessing": (("_strategy", None),),
    "torchlike.nn.attention": (("", ("_active",)), ("_known", None)),
    "torchlike.nn.functional.attention": (("", ("allowed",)),),
    "torchlike.nn.utils.parametrize": (("", ("_depth",)),),
    "torchlike.serialization": (("_safe_globals", None),),
    "torchlike.sparse.checks": (("creation.check", None),),
    "torchlike.utils.checkpoint": (("_Settings", ("early_stop", "debug")),),
}  # fmt: skip


def keeps_switches(module: str) -> bool:
    """Whether the functions of a module of the library may read or set switches."""
    return module in _KEPT or module.startswith(_BACKENDS) or module == autocast.__module__


def switches(reads: Callable[[str], bool], ran: Collection[str] = ()) -> list[Part]:
    """Those that code may look at or set which names what ``reads`` says, or has run functions of
    the modules ``ran``; effects are noticed."""
    parts: list[Part] = []
    if autocast.__module__ in ran:
        parts.append(Threads("autocast", lambda: (autocast.enabled, autocast.dtypes)))
    for name in sorted(_KEPT.keys() & ran):
        module, path = sys.modules[name], name.replace("torchlike.", "torch.", 1)
        for where, names in _KEPT[name]:
            owner = attrgetter(where)(module) if where else module
            if names is not None:
                parts.append(Slots(owner, path, names))
            else:
                parts.append((Entries if isinstance(owner, dict) else Items)(owner, path))
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
        if name.startswith(_BACKENDS) and (name in ran or _is_named(module, reads)):
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
