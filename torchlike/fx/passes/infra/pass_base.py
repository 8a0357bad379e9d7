"""torch.fx.passes.infra.pass_base: what passes have in common."""

from __future__ import annotations

import abc
from typing import NamedTuple

from torchlike.fx.graph_module import GraphModule

__all__ = ["PassBase", "PassResult"]


class PassResult(NamedTuple):
    """The module after a pass, and whether the pass changed it."""

    graph_module: GraphModule
    modified: bool


class PassBase(abc.ABC):
    """A change of a GraphModule: subclasses say what in ``call``."""

    def __call__(self, graph_module: GraphModule) -> PassResult | None:
        """The pass between its checks."""
        self.requires(graph_module)
        result = self.call(graph_module)
        self.ensures(graph_module)
        return result

    @abc.abstractmethod
    def call(self, graph_module: GraphModule) -> PassResult | None:
        """The change itself."""

    def requires(self, graph_module: GraphModule) -> None:  # noqa: B027
        """Raise what is wrong with a module before the pass."""

    def ensures(self, graph_module: GraphModule) -> None:  # noqa: B027
        """Raise what is wrong with a module after the pass."""
