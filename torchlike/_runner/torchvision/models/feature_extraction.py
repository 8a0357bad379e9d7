"""torchvision.models.feature_extraction: what the modules inside a network give.

torchvision takes a network apart by ``torch.fx``. Here it is run whole, and hooks keep what is
asked for; what nobody asks for is not computed, as all of it is recorded before it runs.
"""

from __future__ import annotations

import re
from collections import OrderedDict

from torchlike import nn
from torchlike._core.errors import NotSupported

_AGAIN = re.compile(r"_(\d+)$")


def _place(model: nn.Module, node: str) -> tuple[str, int]:
    """The module that a node's name means, and which of its calls (``relu_1`` is the second)."""
    names = dict(model.named_modules())
    names.pop("")
    if node in names:  # a network's name stands for all that happens in it, a layer's for one call
        return node, -1 if any(names[node].children()) else 0
    again = _AGAIN.search(node)
    if again and node[: again.start()] in names:
        return node[: again.start()], int(again[1])
    parent = node.rpartition(".")[0]
    if "." in node and parent not in names:
        raise ValueError(
            f"node: '{node}' is not present in model. Hint: use `get_graph_node_names` to make "
            "sure the `return_nodes` you specified are present."
        )
    raise NotSupported(
        f"create_feature_extractor(return_nodes={node!r})",
        "name a module: there is none of this name, and what functions and operators give has none",
    )


class FeatureExtractor(nn.Module):
    """A network that gives {name: what a module gave}; its parameters are the network's own."""

    def __init__(self, model: nn.Module, train_nodes: dict[str, str], eval_nodes: dict[str, str]):
        super().__init__()
        for name, child in model.named_children():
            self.add_module(name, child)
        for name, parameter in model.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in model.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self.__dict__["_model"] = model  # no child: its state has this one's names already
        self._nodes = {
            mode: [(*_place(model, node), name) for node, name in nodes.items()]
            for mode, nodes in ((True, train_nodes), (False, eval_nodes))
        }
        self.train(model.training)

    def train(self, mode: bool = True):
        super().train(mode)
        if "_model" in self.__dict__:
            self._model.training = mode
        return self

    def forward(self, *args, **kwargs):
        nodes, calls, found = self._nodes[self.training], {}, {}

        def keep(path: str):
            def hook(module, inputs, output):
                at = calls[path] = calls.get(path, -1) + 1
                for place, call, name in nodes:
                    if place == path and call in (at, -1):
                        found.pop(name, None)
                        found[name] = output

            return hook

        modules = dict(self._model.named_modules())
        hooks = [
            modules[path].register_forward_hook(keep(path))
            for path in dict.fromkeys(path for path, _, _ in nodes)
        ]
        try:
            self._model(*args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()
        if len(found) < len(nodes):
            missing = [name for _, _, name in nodes if name not in found]
            raise ValueError(f"nodes that the model never came to: {missing}")
        return OrderedDict(found)


def _named(nodes) -> dict[str, str]:
    return dict(nodes) if isinstance(nodes, dict) else {str(name): str(name) for name in nodes}


def create_feature_extractor(
    model: nn.Module, return_nodes=None, train_return_nodes=None, eval_return_nodes=None,
    tracer_kwargs=None, suppress_diff_warning: bool = False, concrete_args=None,
):  # fmt: skip
    """A module that gives what the modules named in ``return_nodes`` give, by their new names.

    Raises ``ValueError`` for names that the model has not, ``NotSupported`` for nodes that are no
    modules.
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
    return FeatureExtractor(model, _named(train_return_nodes), _named(eval_return_nodes))
