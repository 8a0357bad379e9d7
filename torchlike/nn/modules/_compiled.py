"""Compiled modules: torch.compile of a module, and Module.compile."""

from __future__ import annotations

from torchlike.compiler._compile import Compiled, wrappers
from torchlike.nn.modules.module import Module

_OWN = frozenset(("_orig_mod", "_call", "_plain", "_is_full_backward_hook"))


class OptimizedModule(Module):
    """A module whose calls are compiled; all else is the original's, which stands in it as
    ``_orig_mod`` (https://pytorch.org/docs/stable/generated/torch.compile.html)."""

    def __init__(self, mod: Module, call=None):
        super().__init__()
        state = self.__dict__
        del state["training"]
        state["_call"] = call or Compiled(mod.__call__, name=type(mod).__name__)
        state["_modules"]["_orig_mod"] = mod

    def __call__(self, *args, **kwargs):
        if "_hooked" in self.__dict__:  # hooks of its own, around the original's
            return super().__call__(*args, **kwargs)
        return self._call(*args, **kwargs)

    def forward(self, *args, **kwargs):
        """The same as a call."""
        return self._call(*args, **kwargs)

    def __getattr__(self, name: str):
        if name == "_orig_mod":
            return self.__dict__["_modules"]["_orig_mod"]
        return getattr(self._orig_mod, name)

    def __setattr__(self, name: str, value) -> None:
        if name in _OWN:
            super().__setattr__(name, value)
        else:
            setattr(self._orig_mod, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._orig_mod, name)

    def __dir__(self):
        return dir(self._orig_mod)

    def __len__(self) -> int:
        return len(self._orig_mod)

    def __iter__(self):
        return iter(self._orig_mod)

    def __getitem__(self, key):
        return self._orig_mod[key]

    def __reduce__(self):
        compiled = self._call
        options = {
            "fullgraph": compiled.fullgraph, "dynamic": compiled.dynamic, "name": compiled.name,
            "limit": compiled.limit, "eager": compiled.eager, "backend": compiled.backend,
        }  # fmt: skip
        return _compiled, (self._orig_mod, options)

    def __deepcopy__(self, memo):
        import copy

        make, (mod, options) = self.__reduce__()
        return make(copy.deepcopy(mod, memo), options)


def _compiled(module: Module, options: dict) -> OptimizedModule:
    options = {"name": type(module).__name__, **options}
    return OptimizedModule(module, Compiled(module.__call__, **options))


def _wrap(module: Module, disable: bool, options: dict):
    if isinstance(module, OptimizedModule):
        module = module._orig_mod
    if disable:
        return module
    return _compiled(module, options)


wrappers.append((Module, _wrap))
