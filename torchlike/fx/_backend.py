"""Backends of one's own: functions that torch.compile gives the graph of what it compiles."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torchlike import nn
from torchlike._core.errors import NotSupported
from torchlike._tensor.modes import modes
from torchlike._tensor.tensor import Tensor
from torchlike.fx._pytree import tree_flatten, tree_unflatten
from torchlike.fx._symbolic_trace import Tracer, is_fx_tracing
from torchlike.fx.graph_module import GraphModule
from torchlike.fx.proxy import Proxy, TraceError
from torchlike.nn.parameter import Parameter

_CALLS = frozenset(("call_function", "call_method", "call_module"))


class _Capture(Tracer):
    """Traces a call whose tensors are placeholders; what else the code reads becomes the root's."""

    def __init__(self, names: list[str], module: nn.Module | None):
        super().__init__()
        self._inputs, self._module = names, module

    def create_args_for_root(self, root_fn, is_module, concrete_args=None):
        """One placeholder for each tensor."""
        if self._module is not None:
            self.root.add_module("L__self__", self._module)
        return root_fn, [self.create_proxy("placeholder", name, (), {}) for name in self._inputs]

    def create_arg(self, a):
        """As a Tracer's, and parameters of any module."""
        if isinstance(a, Parameter) and self._name_of(a, self.root.named_parameters) is None:
            setattr(self.root, self.get_fresh_qualname("_param"), a)
        return super().create_arg(a)

    def path_of_module(self, mod: nn.Module) -> str:
        """As a Tracer's, and modules that the root has not."""
        try:
            return super().path_of_module(mod)
        except NameError:
            name = self.get_fresh_qualname("_module")
            self.root.add_module(name, mod)
            return name


class Graphed:
    """A function whose graphs a backend has compiled.

    It is traced again at each call, and the backend is asked for each new graph and each new kind
    of inputs: what the code reads may change, and nothing is stale. Raises ``NotSupported`` where
    the way of the code depends on values.
    """

    def __init__(self, function: Callable, backend: Callable, options: dict):
        self.function, self.backend, self.options = function, backend, options
        self.compiled: dict = {}
        owner = getattr(function, "__self__", None)
        self._module = owner if isinstance(owner, nn.Module) else None
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __call__(self, *args, **kwargs):
        if is_fx_tracing():
            return self.function(*args, **kwargs)
        leaves, spec = tree_flatten((args, kwargs))
        places = [i for i, x in enumerate(leaves) if isinstance(x, Tensor)]
        tensors = [leaves[i] for i in places]
        names = self._names(args, kwargs)
        shape: list = []

        def call(*proxies):
            given = list(leaves)
            for i, proxy in zip(places, proxies, strict=True):
                given[i] = proxy
            args, kwargs = tree_unflatten(given, spec)
            found, out_spec = tree_flatten(self.function(*args, **kwargs))
            computed = [isinstance(x, (Proxy, Tensor)) for x in found]
            shape[:] = [None if c else x for x, c in zip(found, computed, strict=True)]
            shape.append((computed, out_spec))
            return tuple([x for x, c in zip(found, computed, strict=True) if c])

        tracer = _Capture([names[i] for i in places], self._module)
        try:
            graph = tracer.trace(call)
        except TraceError as error:
            raise NotSupported(
                f"one graph of {self.__name__}, for a backend of your own: {error}",
                "keep that out of the compiled function, or leave backend= out: XLA compiles",
            ) from error
        outs = iter(self._ask(GraphModule(tracer.root, graph), tensors)(*tensors))
        computed, out_spec = shape.pop()
        results = [next(outs) if c else x for x, c in zip(shape, computed, strict=True)]
        return tree_unflatten(results, out_spec)

    def _names(self, args: tuple, kwargs: dict) -> list[str]:
        """What the placeholders of the leaves of the arguments are called."""
        try:
            known = [*inspect.signature(self.function).parameters.values()]
        except (TypeError, ValueError):
            known = []
        plain = [p.name for p in known if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        rest = next((p.name for p in known if p.kind is p.VAR_POSITIONAL), "args")
        names = plain + [f"{rest}_{n}" for n in range(len(args) - len(plain))]
        out = []
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            count = len(tree_flatten(value)[0])
            out += [f"l_{name}_"] if count == 1 else [f"l_{name}_{n}_" for n in range(count)]
        return out

    def _ask(self, graph_module: GraphModule, tensors: list) -> Callable:
        """What the backend makes of a graph."""
        nodes = graph_module.graph.nodes
        if not any(node.op in _CALLS for node in nodes):
            return graph_module
        read = [(n.target, id(_of(graph_module, n.target))) for n in nodes
                if n.op in ("get_attr", "call_module")]  # fmt: skip
        called = [id(n.target) for n in nodes if n.op == "call_function"]
        kinds = [(tuple(x.shape), x.dtype, x.device, x.requires_grad) for x in tensors]
        key = graph_module.code, tuple(read), tuple(called), tuple(kinds), modes.grad
        if key not in self.compiled:
            made = self.backend(graph_module, tensors, **self.options)
            if not callable(made):
                raise TypeError(
                    f"the backend of torch.compile() has to return a function, not {type(made)}"
                )
            self.compiled[key] = made, graph_module  # whose parts keep their identity
        return self.compiled[key][0]


def _of(module: nn.Module, path: str):
    """The module, parameter or tensor that a dotted name leads to."""
    for name in path.split("."):
        module = getattr(module, name)
    return module
