"""What a class or mode that takes over a function is handed.

PyTorch's functions are native ones, which hand over their arguments as they were given, or Python,
which hand over those without a default by position and all others by name.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from types import FunctionType

from torchlike._tensor import forms

# Of nn.functional, but the same native functions as in the top-level namespace.
TOP = (
    "adaptive_avg_pool1d", "avg_pool1d", "bilinear", "celu_", "channel_shuffle", "conv1d",
    "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "cosine_similarity", "hardshrink", "native_channel_shuffle", "pairwise_distance", "pdist",
    "pixel_shuffle", "pixel_unshuffle", "prelu", "relu_", "rrelu_", "selu_", "threshold_",
)  # fmt: skip
# Of nn.functional, native ones from torch._C._nn.
NATIVE = (
    "avg_pool2d", "avg_pool3d", "elu_", "gelu", "hardtanh_", "leaky_relu_", "linear", "logsigmoid",
    "one_hot", "scaled_dot_product_attention", "softplus", "softshrink",
)  # fmt: skip
# Of the top-level namespace, Python from torch.functional.
PYTHON = (
    "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_shapes",
    "broadcast_tensors", "cartesian_prod", "cdist", "chain_matmul", "einsum", "lu", "meshgrid",
    "norm", "split", "stft", "tensordot", "unique", "unique_consecutive", "unravel_index",
)  # fmt: skip
_FUNCTIONAL = "nn.functional"
# Python of nn.functional that is the same function as the native one at the top here.
SHARED = ("rms_norm",)
_METHODS = ("sigmoid", "tanh")  # of nn.functional, which call the method
_ONLY_INPUT = ("lu", "unique", "unique_consecutive")
_LEFT_OUT = {"l1_loss": ("weight",)}
_NAMED = {"unravel_index": ("shape",)}  # by name although they have no default


@functools.cache
def _table() -> dict:
    """{a function of ours that is Python in PyTorch: its name, or a method that it calls}."""
    functional = importlib.import_module(f"torchlike.{_FUNCTIONAL}")  # which stands above
    found: dict = {}
    for name in functional.__all__:
        f = getattr(functional, name)
        native = name in TOP or name in NATIVE
        if forms.FUNCTIONS.get(name) is f and name not in SHARED:
            native = True
        if isinstance(f, FunctionType) and not native:
            found[f] = forms.METHODS[name] if name in _METHODS else name
    for name in PYTHON:
        found[getattr(sys.modules["torchlike"], name)] = name
    return found


def is_python(function) -> bool:
    """Whether PyTorch has a function of ours in Python."""
    return function in _table()


def handed_over(function, plain, args: tuple, kwargs: dict) -> tuple:
    """The function, arguments and arguments by name that the class or mode is asked about."""
    name = _table().get(function) if isinstance(function, FunctionType) else None
    if name is None:
        return function, args, kwargs
    if not isinstance(name, str):
        return name, args, kwargs
    parameters = _parameters(function, plain)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters.values()):
        if isinstance(args[-1], (list, tuple)):  # one list for all of them
            return function, (*args[:-1], *args[-1]) if name == "einsum" else args, kwargs
        for p in parameters.values():
            if p.kind is p.KEYWORD_ONLY and p.name != "out":
                kwargs = {p.name: p.default, **kwargs}
        return function, args, kwargs
    bound = inspect.Signature(list(parameters.values())).bind(*args, **kwargs)
    bound.apply_defaults()
    by_place, by_name = [], {}
    for p in parameters.values():
        if p.name in _LEFT_OUT.get(name, ()):
            continue
        named = p.default is not p.empty or p.name in _NAMED.get(name, ())
        if named or (name in _ONLY_INPUT and by_place):
            by_name[p.name] = bound.arguments[p.name]
        else:
            by_place.append(bound.arguments[p.name])
    return function, tuple(by_place), by_name


@functools.cache
def _parameters(function, plain) -> dict:
    return dict(inspect.signature(plain).parameters)
