"""Write the table of PyTorch's public names that the runner's stand-ins need: run it under PyTorch.

python tests/scripts/public_names.py > torchlike/_runner/names.txt
"""

import contextlib
import importlib
import io
import pkgutil
import types
import warnings

import torch

SKIPPED = ("torch.testing._internal", "torch.utils.tensorboard", "torch.distributed.elastic")


def modules():
    yield "torch"
    for info in pkgutil.walk_packages(torch.__path__, "torch.", onerror=lambda name: None):
        parts = info.name.split(".")
        if any(p.startswith("_") for p in parts) or info.name.startswith(SKIPPED):
            continue
        yield info.name


def names(module):
    listed = getattr(module, "__all__", None)
    if listed is not None and module is not torch:
        yield from listed
        return
    for name, value in vars(module).items():
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        home = getattr(value, "__module__", None) or module.__name__
        # A package shows what its modules define; from elsewhere it only borrows.
        below = hasattr(module, "__path__") and home.startswith((f"{module.__name__}.", "torch._C"))
        if module is torch or home == module.__name__ or below:
            yield name


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for name in sorted(modules()):
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # some say what they miss
                module = importlib.import_module(name)
        except Exception:
            print(f"{name}:")
        else:
            print(f"{name}: {' '.join(sorted(names(module)))}".rstrip())
