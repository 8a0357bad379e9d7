"""What modules are given: the names of classes in messages, and the arguments of ``to``."""

from __future__ import annotations

import re

from torchlike._core import dtypes as dt
from torchlike._tensor.tensor import Tensor

_TO_KINDS = (("x", Tensor), ("t", (dt.dtype, type)), ("b", bool))
_TO = re.compile("([dn]([tn]b?)?|tb?|xb?)?")  # what ``to`` takes: see check_to
_TO_COPY = re.compile("([dn][tn]|t|x)bb")


def check_to(args) -> None:
    """Raise for arguments in none of the orders of ``to``: (device, dtype, non_blocking),
    (dtype, non_blocking), (tensor, non_blocking)."""
    kinds = ""
    for x in args:
        kinds += next((k for k, c in _TO_KINDS if isinstance(x, c)), "n" if x is None else "d")
    if _TO_COPY.fullmatch(kinds):
        raise RuntimeError(".to() does not accept copy argument")
    if not _TO.fullmatch(kinds):
        given = ", ".join("Tensor" if isinstance(x, Tensor) else typename(type(x)) for x in args)
        raise TypeError(f"to() received an invalid combination of arguments - got ({given})")


def typename(x) -> str:
    """The name of a value's class (or of a class) as PyTorch's messages give it."""
    if isinstance(x, Tensor):
        return x.type()
    named = x if hasattr(x, "__qualname__") else type(x)
    home = named.__module__ or ""
    if home.partition(".")[0] == "torchlike":
        home = "torch" + home[len("torchlike") :]
    return named.__qualname__ if home in ("", "builtins") else f"{home}.{named.__qualname__}"


def factory_kwargs(kwargs: dict | None) -> dict:
    """The arguments of a layer that are its parameters' too, given directly or in
    ``factory_kwargs`` (https://pytorch.org/docs/stable/generated/torch.nn.factory_kwargs.html)."""
    kwargs = kwargs or {}
    names = {"device", "dtype", "memory_format"}
    unknown = kwargs.keys() - names - {"factory_kwargs"}
    if unknown:
        raise TypeError(f"unexpected kwargs {unknown}")
    found = dict(kwargs.get("factory_kwargs", {}))
    for name in names & kwargs.keys():
        if name in found:
            raise TypeError(f"{name} specified twice, in **kwargs and in factory_kwargs")
        found[name] = kwargs[name]
    return found
