"""torchvision.models.feature_extraction: what nodes of a network give, by name.

A node's name is the path of the module that it is in, and behind it what is called there; where the
same comes again in one module, the second is ``name_1``.
"""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from itertools import chain

from torchlike import nn
from torchlike.fx import Graph, GraphModule, Tracer
from torchlike.fx.graph_module import _copy_attr

__all__ = ["create_feature_extractor", "get_graph_node_names"]


class LeafModuleAwareTracer(Tracer):
    """A tracer that does not look into modules of the classes ``leaf_modules``."""

    def __init__(self, *args, leaf_modules=(), **kwargs):
        self.leaf_modules = leaf_modules
        super().__init__(*args, **kwargs)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, tuple(self.leaf_modules)):
            return True
        return super().is_leaf_module(m, module_qualified_name)


class NodePathTracer(LeafModuleAwareTracer):
    """A tracer that notes for each node the path of the module that it is in."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.current_module_qualname = ""
        self.node_to_qualname: OrderedDict = OrderedDict()
        self._last: dict[str, int] = {}  # how often each name was given

    def call_module(self, m, forward, args, kwargs):
        before, path = self.current_module_qualname, self.path_of_module(m)
        self.current_module_qualname = path
        try:
            if self.is_leaf_module(m, path):
                return self.create_proxy("call_module", path, args, kwargs)
            return forward(*args, **kwargs)
        finally:
            self.current_module_qualname = before

    def create_proxy(self, kind, target, args, kwargs, name=None, type_expr=None, *_, **__):
        proxy = super().create_proxy(kind, target, args, kwargs, name, type_expr)
        self.node_to_qualname[proxy.node] = self._name_of_node(proxy.node)
        return proxy

    def _name_of_node(self, node) -> str:
        name = self.current_module_qualname
        if node.op != "call_module":
            name = f"{name}.{node}" if name else str(node)
        again = re.match(r"(.+)_[0-9]+$", name)
        name = again[1] if again else name  # counted within a module, not in the whole graph
        count = self._last[name] = self._last.get(name, -1) + 1
        return f"{name}_{count}" if count else name


def _is_subsequence(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(name in rest for name in part)


def _warn_of_differences(train: NodePathTracer, evaluation: NodePathTracer) -> None:
    ours, theirs = list(train.node_to_qualname.values()), list(evaluation.node_to_qualname.values())
    if ours == theirs:
        return
    for part, whole, text in (
        (theirs, ours, ("eval", "train")),
        (ours, theirs, ("train", "eval")),
    ):
        if _is_subsequence(part, whole):
            found = (
                f"NOTE: The nodes obtained by tracing the model in {text[0]} mode are a "
                f"subsequence of those obtained in {text[1]} mode. "
            )
            break
    else:
        found = (
            "The nodes obtained by tracing the model in train mode are different to those obtained "
            "in eval mode. "
        )
    warnings.warn(
        found + "When choosing nodes for feature extraction, you may need to specify output nodes "
        "for train and eval mode separately.",
        stacklevel=3,
    )


def get_graph_node_names(
    model: nn.Module, tracer_kwargs=None, suppress_diff_warning: bool = False, concrete_args=None
) -> tuple[list[str], list[str]]:
    """The names of the nodes in training and in evaluation, in their order."""
    training, tracers = model.training, []
    for mode in (True, False):
        tracers.append(NodePathTracer(**(tracer_kwargs or {})))
        tracers[-1].trace(model.train(mode), concrete_args=concrete_args)
    if not suppress_diff_warning:
        _warn_of_differences(*tracers)
    model.train(training)
    return tuple(list(tracer.node_to_qualname.values()) for tracer in tracers)


class DualGraphModule(GraphModule):
    """A module with one graph for training and one for evaluation."""

    def __init__(
        self,
        root: nn.Module,
        train_graph: Graph,
        eval_graph: Graph,
        class_name: str = "GraphModule",
    ):
        nn.Module.__init__(self)
        self.__class__.__name__ = class_name
        self.train_graph, self.eval_graph = train_graph, eval_graph
        for node in chain(train_graph.nodes, eval_graph.nodes):
            if node.op in ("get_attr", "call_module"):
                _copy_attr(root, self, node.target)
        self._begin(train_graph)
        self.train()
        self.graph = train_graph

    def train(self, mode: bool = True):
        if mode and not self.training:
            self.graph = self.train_graph
        elif not mode and self.training:
            self.graph = self.eval_graph
        return super().train(mode)


def _graph(model: nn.Module, tracer: NodePathTracer, nodes: dict[str, str], concrete_args) -> Graph:
    """The network's graph that gives these nodes, and nothing that they do not need."""
    graph = tracer.trace(model, concrete_args=concrete_args)
    known = list(tracer.node_to_qualname.values())
    for name in nodes:
        if not any(re.match(rf"^{name}(\.|$)", node) for node in known):
            raise ValueError(
                f"node: '{name}' is not present in model. Hint: use `get_graph_node_names` to make "
                "sure the `return_nodes` you specified are present. It may even be that you need "
                "to specify `train_return_nodes` and `eval_return_nodes` separately."
            )
    graph.erase_node(graph.output_node())
    wanted, found = dict(nodes), []
    for node in reversed(graph.nodes):
        path = tracer.node_to_qualname.get(node, "").split(".")
        for name in wanted:  # the last node in a module stands for the whole of it
            if ".".join(path[: name.count(".") + 1]) == name:
                found.append((wanted.pop(name), node))
                break
    with graph.inserting_after(next(iter(reversed(graph.nodes)))):
        graph.output(dict(reversed(found)))
    graph.owning_module = GraphModule(tracer.root, graph)
    graph.eliminate_dead_code()
    return graph


def _named(nodes) -> dict[str, str]:
    if isinstance(nodes, dict):
        return {str(name): str(new) for name, new in nodes.items()}
    return {str(name): str(name) for name in nodes}


def create_feature_extractor(
    model: nn.Module, return_nodes=None, train_return_nodes=None, eval_return_nodes=None,
    tracer_kwargs=None, suppress_diff_warning: bool = False, concrete_args=None,
):  # fmt: skip
    """A module that gives what the nodes in ``return_nodes`` give, by their new names
    (https://pytorch.org/vision/stable/generated/torchvision.models.feature_extraction.create_feature_extractor.html).

    Raises ``ValueError`` for names that the model has not.
    """
    if all(nodes is None for nodes in (return_nodes, train_return_nodes, eval_return_nodes)):
        raise ValueError(
            "Either `return_nodes` or `train_return_nodes` and `eval_return_nodes` together, "
            "should be specified"
        )
    if (train_return_nodes is None) != (eval_return_nodes is None):
        raise ValueError("If any of `train_return_nodes` and `eval_return_nodes` are specified, "
                         "then both should be specified")  # fmt: skip
    if (return_nodes is None) == (train_return_nodes is None):
        raise ValueError("If `train_return_nodes` and `eval_return_nodes` are specified, then both "
                         "should be specified")  # fmt: skip
    if return_nodes is not None:
        train_return_nodes = eval_return_nodes = return_nodes
    training, tracers, graphs = model.training, [], []
    for mode, nodes in ((True, train_return_nodes), (False, eval_return_nodes)):
        tracers.append(NodePathTracer(**(tracer_kwargs or {})))
        model.train(mode)
        graphs.append(_graph(model, tracers[-1], _named(nodes), concrete_args))
    if not suppress_diff_warning:
        _warn_of_differences(*tracers)
    made = DualGraphModule(model, *graphs, class_name=type(model).__name__)
    model.train(training)
    return made.train(training)
