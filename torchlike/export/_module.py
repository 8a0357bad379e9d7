"""The modules that run exported programs: they hold the state, and no source is needed."""

from __future__ import annotations

import sys

from torchlike._core.errors import NotSupported
from torchlike.export._state import Held, State
from torchlike.nn.modules.module import Module


class GraphModule(Module):
    """What ``ExportedProgram.module()`` gives: a module with the program's state, and its call.

    ``train()`` and ``eval()`` raise ``NotImplementedError``, as PyTorch's do: the program is that
    of the mode in which it was exported.
    """

    def __init__(self, runner, state: State, training: bool = True):
        super().__init__()
        state.put_into(self)
        self.__dict__["_runner"] = runner
        self.__dict__["_held"] = Held(self, runner.state)
        self.training = training

    def forward(self, *args, **kwargs):
        """The program; raises ``AssertionError`` for inputs that it was not exported for."""
        return self._runner(self._held.tensors(), args, kwargs)

    def train(self, mode: bool = True):
        """Raises ``NotImplementedError``."""
        raise NotImplementedError("Calling train() is not supported yet.")

    def eval(self):
        """Raises ``NotImplementedError``."""
        raise NotImplementedError("Calling eval() is not supported yet.")

    @property
    def graph(self):
        """The program as StableHLO, to be printed; it has no nodes of torch.fx."""
        return Graph(self._runner.program)

    @property
    def code(self) -> str:
        """The program as StableHLO: there is no Python code."""
        return str(self.graph)

    def print_readable(self, print_output: bool = True, **kwargs) -> str:
        """Print the program as StableHLO and return the text."""
        text = str(self.graph)
        if print_output:
            sys.stdout.write(text + "\n")
        return text

    def __deepcopy__(self, memo):
        import copy

        out = object.__new__(type(self))
        memo[id(self)] = out
        for key, value in self.__dict__.items():
            if key not in ("_runner", "_held"):
                out.__dict__[key] = copy.deepcopy(value, memo)
        out.__dict__["_runner"] = self._runner
        out.__dict__["_held"] = Held(out, self._runner.state)
        return out

    def __reduce_ex__(self, protocol):
        raise NotSupported("pickling the module of an exported program", "use torch.export.save")


class Graph:
    """An exported program as text: ``str(graph)`` is its StableHLO."""

    def __init__(self, program):
        self._program = program

    def __str__(self):
        exported = self._program.forward.exported
        if exported is None:
            import jax

            exported = self._program.forward.on(jax.export.default_export_platform())
        return exported.mlir_module()

    def __repr__(self):
        return "<StableHLO of an exported program; str(graph) is its text>"

    @property
    def nodes(self):
        """Raises ``NotSupported``: there are no nodes of torch.fx."""
        raise NotSupported("the torch.fx nodes of an exported program", "str(graph) is StableHLO")

    def print_tabular(self):
        """Print the program as StableHLO."""
        sys.stdout.write(str(self) + "\n")

    def lint(self):
        """Nothing: XLA verifies the program."""
