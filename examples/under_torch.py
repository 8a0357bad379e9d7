"""Run an unchanged torchlike script under PyTorch: python under_torch.py iris.py --epochs 5.

Each `torchlike` module that the script imports is PyTorch's module of the same name. The other
direction, a PyTorch script on torchlike, is `python -m torchlike train.py`.
"""

import importlib
import importlib.abc
import importlib.util
import runpy
import sys
from pathlib import Path


class TorchAsTorchlike(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers `import torchlike.x` with the module `torch.x`."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torchlike":
            return importlib.util.spec_from_loader(name, self)
        return None

    def create_module(self, spec):
        self.module = importlib.import_module("torch" + spec.name.removeprefix("torchlike"))
        self.spec = self.module.__spec__
        return self.module

    def exec_module(self, module):
        module.__spec__ = self.spec  # the import system had put the alias's there


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: python under_torch.py SCRIPT [ARGUMENT ...]")
    sys.meta_path.insert(0, TorchAsTorchlike())
    script = sys.argv[1]
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(script).resolve().parent)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
