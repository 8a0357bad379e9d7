"""Packages that look behind PyTorch's surface: what is put in its place when they are imported."""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable
from types import ModuleType

from torchlike._runner.objects import watch_for


def _safetensors(module: ModuleType) -> None:
    """Its reader makes tensors out of PyTorch's storages."""
    theirs = module.safe_open

    class safe_open:
        """A file whose tensors are read one by one, for PyTorch by torchlike."""

        def __new__(cls, filename, framework, device="cpu", **options):
            if framework in ("pt", "torch", "pytorch"):
                from torchlike.utils.safetensors import safe_open

                return safe_open(filename, framework, device, **options)
            return theirs(filename, framework, device, **options)

    module.safe_open = safe_open


def _safetensors_torch(module: ModuleType) -> None:
    """Its writer reads memory at a tensor's address."""
    from torchlike.utils import safetensors as ours

    def _to_ndarray(tensor):
        array = ours._host(tensor)
        return array, array

    def _tobytes(tensor, name):
        ours._check({name: tensor})
        return ours._host(tensor).tobytes()

    module._to_ndarray, module._tobytes = _to_ndarray, _tobytes
    module.safe_open = sys.modules["safetensors"].safe_open


def _monai_meta_obj(module: ModuleType) -> None:
    """Its subclass of Tensor copies all that an instance holds, which here is also its data."""
    from torchlike import Tensor

    MetaObj, theirs = module.MetaObj, module.MetaObj.copy_meta_from

    def copy_meta_from(self, input_objs, copy_attr=True, keys=None):
        one = isinstance(input_objs, MetaObj)
        first = input_objs if one else module.first(input_objs, default=self)
        if not isinstance(first, Tensor) and not isinstance(self, Tensor):
            return theirs(self, input_objs, copy_attr, keys)
        own = getattr(first, "__dict__", {})
        for name in list(own) if keys is None else keys:
            if name in own and name != "_value" and not hasattr(Tensor, name):
                self.__dict__[name] = MetaObj.copy_items(own[name]) if copy_attr else own[name]
        return self

    MetaObj.copy_meta_from = copy_meta_from


def _pytest_rewriting(module: ModuleType) -> None:
    """It reads and compiles test files itself: what is in them is looked at here."""
    theirs = module.AssertionRewritingHook.exec_module

    def exec_module(self, test):
        with open(test.__spec__.origin, "rb") as file:
            watch_for(file.read())
        theirs(self, test)

    module.AssertionRewritingHook.exec_module = exec_module


PATCHES: dict[str, Callable[[ModuleType], None]] = {
    "_pytest.assertion.rewrite": _pytest_rewriting,
    "monai.data.meta_obj": _monai_meta_obj,
    "safetensors": _safetensors,
    "safetensors.torch": _safetensors_torch,
}


class PatchingLoader:
    """A module's own loader, and then its patch."""

    def __init__(self, loader, patch: Callable[[ModuleType], None]):
        self._loader, self._patch = loader, patch

    def __getattr__(self, name: str):
        return getattr(self._loader, name)

    def create_module(self, spec):
        """What its own loader makes."""
        return self._loader.create_module(spec)

    def exec_module(self, module) -> None:
        """What its own loader does, and the patch."""
        self._loader.exec_module(module)
        self._patch(module)


def find_spec(name: str, path) -> importlib.machinery.ModuleSpec | None:
    """The spec of a package that gets a patch; None where it is not installed."""
    spec = importlib.machinery.PathFinder.find_spec(name, path)
    if spec is not None and spec.loader is not None:
        spec.loader = PatchingLoader(spec.loader, PATCHES[name])
    return spec


def patch_loaded() -> None:
    """Patch what is imported already."""
    for name, patch in PATCHES.items():
        if name in sys.modules:
            patch(sys.modules[name])
