"""The public names of PyTorch's namespaces, and which of them this library has."""

from __future__ import annotations

import importlib
import inspect
import re
import types
from typing import NamedTuple

import torch

from . import calls
from .bridge import OURS
from .missing import MISSING, NOT_ASKED
from .specs import MissingName, resolve

NAMESPACES = (
    "torch",
    "torch.Tensor",
    "torch.Tensor operators",
    "torch.nn",
    "torch.nn.functional",
    "torch.nn.init",
    "torch.nn.utils",
    "torch.optim",
    "torch.optim.lr_scheduler",
    "torch.utils.data",
    "torch.autograd",
    "torch.func",
    "torch.linalg",
    "torch.fft",
    "torch.special",
    "torch.distributions",
    "torch.random",
    "torch.cuda",
    "torch.jit",
    "torch.onnx",
    "torch.export",
    "torch.amp",
    "torch.ao.quantization",
    "torch.quantization",
    "torch.distributed",
    "torch.sparse",
    "torch.nested",
    "torch.signal",
    "torch.signal.windows",
    "torch.compiler",
    "torch.nn.utils.rnn",
    "torch.nn.utils.parametrizations",
    "torch.nn.utils.parametrize",
    "torch.nn.utils.prune",
    "torch.nn.attention",
    "torch.nn.parallel",
    "torch.optim.swa_utils",
    "torch.autograd.functional",
    "torch.autograd.forward_ad",
    "torch.autograd.graph",
    "torch.distributions.constraints",
    "torch.distributions.transforms",
    "torch.distributions.kl",
    "torch.masked",
    "torch.testing",
    "torch.utils.checkpoint",
    "torch.utils.dlpack",
    "torch.hub",
    "torch.fx",
    "torch.overrides",
    "torch.profiler",
)

# Names in public use that a namespace does not have in its __all__.
ALSO = {
    "torch": """
        BFloat16Tensor HalfTensor broadcast_shapes channels_last channels_last_3d
        contiguous_format preserve_format strided sparse_coo sparse_csr sparse_csc
        sparse_bsr sparse_bsc jagged from_dlpack to_dlpack pca_lowrank svd_lowrank lu
        segment_reduce set_default_dtype set_grad_enabled unique while_loop
        per_channel_affine per_channel_symmetric per_tensor_affine per_tensor_symmetric
        per_channel_affine_float_qparams accelerator amp ao autograd backends compiler
        cpu cuda distributed distributions export fft func functional fx hub jit library
        linalg masked multiprocessing nested nn onnx optim overrides profiler
        quantization random return_types signal sparse special storage testing types
        utils version mps xpu
    """,
    "torch.fft": """
        hfft2 hfftn ihfft2 ihfftn
    """,
    "torch.autograd": """
        forward_ad functional graph profiler
    """,
    "torch.nn": """
        attention functional init modules parallel parameter utils
    """,
    "torch.nn.utils": """
        rnn parametrize parametrizations prune stateless
    """,
    "torch.sparse": """
        sampled_addmm spdiags spsolve
    """,
    "torch.distributions": """
        constraints transforms kl
    """,
    "torch.jit": """
        is_scripting is_tracing optimized_execution TracerWarning
    """,
    "torch.signal": """
        windows
    """,
}

# torch.cuda is only asked for what programs use that run on any device.
CUDA = """
    is_available device_count current_device set_device device synchronize get_device_name
    get_device_capability get_device_properties empty_cache memory_allocated
    max_memory_allocated memory_reserved max_memory_reserved reset_peak_memory_stats
    memory_summary memory_stats mem_get_info manual_seed manual_seed_all seed seed_all
    initial_seed get_rng_state set_rng_state get_rng_state_all set_rng_state_all Stream
    Event stream current_stream default_stream is_initialized init is_bf16_supported
    OutOfMemoryError ipc_collect amp
"""

# Part of every Python class, or of how PyTorch is made.

NOT_OPERATORS = """
    __annotations__ __array_priority__ __class__ __cuda_array_interface__ __delattr__
    __dict__ __dir__ __div__ __dlpack_c_exchange_api__ __doc__ __getattribute__ __getstate__
    __idiv__ __init__ __init_subclass__ __long__ __module__ __new__ __nonzero__ __rdiv__
    __reduce__ __setattr__ __sizeof__ __slotnames__ __str__ __subclasshook__ __torch_dispatch__
    __weakref__
"""


def is_own(thing) -> bool:
    """Whether PyTorch defines it, rather than importing it from elsewhere."""
    module = getattr(thing, "__module__", None)
    if isinstance(thing, types.ModuleType):
        return False
    if not isinstance(module, str):
        return True  # values: dtypes, constants, builtins
    return module.startswith("torch") or module == "builtins"


def not_asked(space: str) -> dict[str, str]:
    """name -> reason, of the names of a namespace that are left out."""
    groups = NOT_ASKED.get(space, {})
    return {name: reason for reason, names in groups.items() for name in names.split()}


def public(space: str) -> list[str]:
    """The names of a namespace of PyTorch that are asked for, sorted."""
    left_out = not_asked(space)
    return [n for n in all_public(space) if n not in left_out]


def all_public(space: str) -> list[str]:
    """The public names of a namespace of PyTorch, sorted."""
    if space == "torch.Tensor":
        names = [n for n in dir(torch.Tensor) if not n.startswith("_")]
    elif space == "torch.Tensor operators":
        own = set(dir(torch.Tensor)) - set(NOT_OPERATORS.split())
        names = [n for n in own if n.startswith("__")]
        names = [n for n in names if getattr(torch.Tensor, n) is not getattr(object, n, None)]
    elif space == "torch.cuda":
        names = CUDA.split()
    else:
        names = module_names(space)
    return sorted(names)


def module_names(space: str) -> set[str]:
    """The public names of a module of PyTorch."""
    module = importlib.import_module(space)
    also = ALSO.get(space, "").split()
    for name in also:
        resolve(module, name)  # some submodules are only there once imported
    listed = getattr(module, "__all__", None)
    if listed is not None:
        names = {n for n in listed if not n.startswith("_") and hasattr(module, n)}
    else:
        names = {n for n in dir(module) if not n.startswith("_") and is_own(getattr(module, n))}
        names = {n for n in names if not (n.isupper() and kind(getattr(module, n)) == "value")}
    names |= set(also)
    modules = {n for n in names if isinstance(getattr(module, n), types.ModuleType)}
    return names - (modules - set(also))


def kind(thing) -> str:
    """``module``, ``class``, ``callable`` or ``value``."""
    if isinstance(thing, types.ModuleType):
        return "module"
    if inspect.isclass(thing):
        return "class"
    return "callable" if callable(thing) else "value"


def same_kind(theirs, ours, in_class: bool) -> bool:
    """Whether ours can stand where theirs does."""
    a, b = kind(theirs), kind(ours)
    if a == "module":
        return True  # any object with names does as well
    if in_class and a == "value":
        return b != "class"  # property, slot, ...: how it is made does not matter
    if a == "class":
        return b == "class" or (b == "callable" and theirs is torch.Generator)
    if a == "callable":
        return b in ("callable", "class")
    return b != "module" and (ours is None) == (theirs is None)


def signature(thing):
    """[(name, kind, default)] of a Python signature; None where there is none to compare."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (ValueError, TypeError):
        return None
    found = []
    for p in parameters:
        if p.name.startswith("_"):
            continue
        default = "<required>" if p.default is p.empty else repr(p.default)
        default = re.sub(r"<[^>]* at 0x[0-9a-f]+>", "<object>", default)
        default = re.sub(r"\b[A-Za-z_][\w.]*\.(?=\w)", "", default)
        default = re.sub(r"<(class|function|built-in function) '?([\w.]+)'?>", r"\2", default)
        found.append((p.name, p.kind.name, default))
    if {k for _, k, _ in found} <= {"VAR_POSITIONAL", "VAR_KEYWORD"}:
        return None  # a wrapper: says nothing
    return found


class Surface(NamedTuple):
    """What a namespace has: names asked for, missing ones, other kinds, other signatures."""

    names: list
    missing: list
    other_kind: list
    signatures: int
    other_signature: list


def surface(space: str) -> Surface:
    """Compare a namespace with PyTorch's."""
    names = public(space)
    in_class = space.startswith("torch.Tensor")
    real = torch.Tensor if in_class else importlib.import_module(space)
    missing, other_kind, other_signature, signatures = [], [], [], 0
    for name in names:
        try:
            ours = find(space, name)
        except MissingName:
            missing.append(name)
            continue
        theirs = getattr(real, name)
        if ours is PRESENT:
            continue
        if not same_kind(theirs, ours, in_class):
            other_kind.append(name)
        elif callable(theirs) and (wanted := signature(theirs)) is not None:
            signatures += 1
            if signature(ours) != wanted:
                other_signature.append(name)
    return Surface(names, missing, other_kind, signatures, other_signature)


PRESENT = object()


def find(space: str, name: str):
    """Our object of a name, or PRESENT where only instances have it."""
    if space.startswith("torch.Tensor"):
        ours = getattr(OURS.Tensor, name, None)
        if ours is None and calls.has_method(OURS, name):
            return PRESENT
        # `object` has __eq__, __repr__ and so on: only own ones count
        if ours is None or (name.startswith("__") and ours is getattr(object, name, None)):
            raise MissingName(name)
        return ours
    return OURS.get(f"{space}.{name}".removeprefix("torch."))


def reason(space: str, name: str) -> str | None:
    """Why a name is missing, or None if no reason is given."""
    for why, names in MISSING.get(space, {}).items():
        if names == "*" or name in names.split():
            return why
    return None
