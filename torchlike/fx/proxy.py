"""torch.fx.proxy: Proxy, what functions are called with while they are traced."""

from __future__ import annotations

import copy
import dataclasses
import dis
import enum
import inspect
import operator
import sys
import traceback
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from torchlike._core.devices import device
from torchlike._core.dtypes import dtype
from torchlike._core.errors import PACKAGE, NotSupported
from torchlike._tensor import overriding
from torchlike._tensor.layouts import layout, memory_format
from torchlike._tensor.tensor import Tensor
from torchlike.fx import _names
from torchlike.fx import traceback as fx_traceback
from torchlike.fx._codegen import magic_methods
from torchlike.fx.node import Node, Target, map_aggregate

__all__ = [
    "Attribute", "GraphAppendingTracer", "MetaProxy", "ParameterProxy", "Proxy", "Scope",
    "ScopeContextManager", "TraceError", "TracerBase", "assert_fn",
]  # fmt: skip

base_types = (
    str, int, float, bool, complex, dtype, Tensor, device, memory_format, layout, type(None),
    type(...), enum.Enum,
)  # fmt: skip
_reflected = (
    "add", "sub", "mul", "floordiv", "truediv", "div", "mod", "pow", "lshift", "rshift", "and_",
    "or_", "xor", "matmul",
)  # fmt: skip


class TraceError(ValueError):
    """A function did what cannot be traced: its way depends on values."""


# ---- while there are proxies, the public functions look at their arguments -----------------------


class _Watch:
    """Lives as long as one of the proxies; functions ask them to take over meanwhile."""

    def __init__(self):
        overriding.begin()

    def __del__(self, end=overriding.end):
        end()


_watched: weakref.WeakSet = weakref.WeakSet()


def _watching() -> _Watch:
    """What keeps the public functions looking for proxies; whoever needs that holds it."""
    for found in _watched:
        return found
    made = _Watch()
    _watched.add(made)
    return made


# ---- tracers -------------------------------------------------------------------------------------


class Scope:
    """The module whose forward is being traced."""

    def __init__(self, module_path: str, module_type: Any):
        self.module_path, self.module_type = module_path, module_type


class ScopeContextManager:
    """Context: another module is being traced."""

    def __init__(self, scope: Scope, current_scope: Scope):
        self._before = copy.copy(scope)
        scope.module_path = current_scope.module_path
        scope.module_type = current_scope.module_type
        self._scope = scope

    def __enter__(self) -> Scope:
        return self._scope

    def __exit__(self, *exc) -> None:
        self._scope.module_path = self._before.module_path
        self._scope.module_type = self._before.module_type


class TracerBase:
    """What makes nodes of calls; Tracer builds on it."""

    graph: Any
    record_stack_traces = False
    check_mutable_operations = False
    trace_asserts = False
    proxy_buffer_attributes = False
    traced_func_name = "forward"
    scope: Scope
    module_stack: OrderedDict
    node_name_to_scope: dict

    def create_node(
        self, kind: str, target: Target, args: tuple, kwargs: dict, name: str | None = None,
        type_expr: Any | None = None,
    ) -> Node:  # fmt: skip
        """Add a node to the graph, with what is known about its origin."""
        node = self.graph.create_node(kind, target, args, kwargs, name, type_expr)
        scope = getattr(self, "scope", None)
        if scope is not None:
            self.node_name_to_scope[node.name] = (scope.module_path, scope.module_type)
        if fx_traceback.has_preserved_node_meta():
            node.meta.update(fx_traceback.get_current_meta())
        if getattr(self, "module_stack", None):
            node.meta["nn_module_stack"] = copy.copy(self.module_stack)
        return node

    def proxy(self, node: Node) -> Proxy:
        """The Proxy for a node."""
        return Proxy(node, self)

    def create_proxy(
        self, kind: str, target: Target, args: tuple, kwargs: dict, name: str | None = None,
        type_expr: Any | None = None, proxy_factory_fn: Callable[[Node], Proxy] | None = None,
    ) -> Proxy:  # fmt: skip
        """Add a node for a call with proxies, and return the Proxy for its result."""
        args_, kwargs_ = self.create_arg(args), self.create_arg(kwargs)
        if not isinstance(args_, tuple):
            raise AssertionError(f"Expected args_ to be tuple, got {type(args_)}")
        if not isinstance(kwargs_, dict):
            raise AssertionError(f"Expected kwargs_ to be dict, got {type(kwargs_)}")
        node = self.create_node(kind, target, args_, kwargs_, name, type_expr)
        made = proxy_factory_fn(node) if proxy_factory_fn else self.proxy(node)
        if self.record_stack_traces and not node.stack_trace:
            node.stack_trace = self._user_stack()
        return made

    def _user_stack(self) -> str | None:
        frames = traceback.extract_stack()
        last = max((i for i, f in enumerate(frames) if f.name == "_trace"), default=-1)
        frames = [f for f in frames[last + 1 :] if not f.filename.startswith(PACKAGE)]
        return "".join(traceback.format_list(frames)).strip() or None

    def _find_user_frame(self) -> FrameType | None:
        frame = inspect.currentframe()
        while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
            frame = frame.f_back
        return frame

    def create_arg(self, a: Any) -> Any:
        """An argument as a node has it; raises ``NotImplementedError`` for what none can have."""
        if isinstance(a, Proxy):
            return a.node
        kind = type(a)
        if kind in (int, str, float, bool) or a is None:
            return a
        if hasattr(a, "__fx_create_arg__"):
            return a.__fx_create_arg__(self)
        if isinstance(a, (tuple, list)):
            if hasattr(a, "_fields"):
                return kind(*(self.create_arg(x) for x in a))
            parts = [self.create_arg(x) for x in a]
            return tuple(parts) if isinstance(a, tuple) else parts
        if isinstance(a, dict):
            return {self._checked_key(self.create_arg(k)): self.create_arg(v) for k, v in a.items()}
        if isinstance(a, slice):
            return slice(self.create_arg(a.start), self.create_arg(a.stop), self.create_arg(a.step))
        if isinstance(a, range):
            return range(self.create_arg(a.start), self.create_arg(a.stop), self.create_arg(a.step))
        if dataclasses.is_dataclass(a) and not isinstance(a, type):
            fields = {f.name: self.create_arg(getattr(a, f.name)) for f in dataclasses.fields(a)}
            return self.create_node("call_function", kind, (), fields)
        if isinstance(a, base_types) or hasattr(a, "_torchlike_overload"):
            return a
        raise NotImplementedError(f"argument of type: {kind}")

    @staticmethod
    def _checked_key(key: Any) -> Any:
        def check(x):
            if isinstance(x, Node):
                raise RuntimeError(
                    "Keys for dictionaries used as an argument cannot contain a Node. "
                    f"Got key: {key}"
                )
            return x

        map_aggregate(key, check)
        return key

    def to_bool(self, obj: Proxy) -> bool:
        """What a Proxy is in a condition; raises ``TraceError``: a subclass may know better."""
        raise TraceError("symbolically traced variables cannot be used as inputs to control flow")

    def iter(self, obj: Proxy) -> Iterator:
        """What a Proxy gives when it is iterated; raises ``TraceError``: a subclass may know."""
        raise TraceError(
            "Proxy object cannot be iterated. This can be attempted when the Proxy is used in a "
            "loop or as a *args or **kwargs function argument. See the torch.fx docs on "
            "pytorch.org for a more detailed explanation of what types of control flow can be "
            "traced, and check out the Proxy docstring for help troubleshooting Proxy iteration "
            "errors"
        )

    def keys(self, obj: Proxy) -> Any:
        """What ``keys()`` of a Proxy gives, as ``**`` calls it, too."""
        return Attribute(obj, "keys")()


class GraphAppendingTracer(TracerBase):
    """Adds to a graph that there is."""

    def __init__(self, graph):
        super().__init__()
        self.graph = graph
        self.scope = Scope("", None)
        self.module_stack = OrderedDict()
        self.node_name_to_scope = {}


def assert_fn(x: object) -> None:
    """``assert x``, as a graph has it."""
    assert x


def _instruction(frame: FrameType) -> tuple[str, int, list]:
    """The instruction that a frame is at, its argument, and the instructions from there."""
    code = list(dis.get_instructions(frame.f_code))
    at = next(i for i, inst in enumerate(code) if inst.offset == frame.f_lasti)
    return code[at].opname, code[at].arg or 0, code[at:]


# ---- proxies -------------------------------------------------------------------------------------


class Proxy:
    """Stands for a value while a function is traced: what is done with it becomes nodes
    (https://pytorch.org/docs/stable/fx.html#torch.fx.Proxy)."""

    def __init__(self, node: Node, tracer: TracerBase | None = None):
        self.tracer = tracer if tracer is not None else GraphAppendingTracer(node.graph)
        self.node = node
        self._watch = _watching()

    def __repr__(self) -> str:
        return f"Proxy({self.node.name})"

    def __getattr__(self, k: str) -> Attribute:
        # Not added to the graph yet: it may be the name of a method.
        return Attribute(self, k)

    def __getstate__(self):
        return self.__dict__

    def __deepcopy__(self, memo: dict) -> Proxy:
        # The general way would ask for attributes that every Proxy seems to have.
        return Proxy(copy.deepcopy(self.__dict__["node"], memo), self.__dict__["tracer"])

    def __setstate__(self, d: dict) -> None:
        self.__dict__ = d

    def __call__(self, *args, **kwargs) -> Proxy:
        return self.tracer.create_proxy("call_method", "__call__", (self, *args), kwargs)

    def __iter__(self) -> Iterator:
        frame = sys._getframe(1)
        name, count, _ = _instruction(frame)
        if name == "UNPACK_SEQUENCE":
            return (self[i] for i in range(count))
        return self.tracer.iter(self)

    def __abs__(self) -> Proxy:
        return self.tracer.create_proxy("call_function", operator.abs, (self,), {})

    def __bool__(self) -> bool:
        if self.tracer.trace_asserts:
            _, _, rest = _instruction(sys._getframe(1))
            jumps = rest[0].opname in ("POP_JUMP_IF_TRUE", "POP_JUMP_FORWARD_IF_TRUE", "TO_BOOL")
            if jumps and any(inst.opname == "LOAD_ASSERTION_ERROR" for inst in rest[1:3]):
                self.tracer.create_proxy("call_function", assert_fn, (self,), {})
                return True
        return self.tracer.to_bool(self)

    def keys(self) -> Any:
        """Its keys, as ``**`` asks for them."""
        return self.tracer.keys(self)

    def __len__(self) -> int:
        raise RuntimeError(
            "'len' is not supported in symbolic tracing by default. If you want this call to be "
            "recorded, please call torch.fx.wrap('len') at module scope"
        )

    @classmethod
    def __torch_function__(cls, orig_method, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tracers: dict = {}
        for a in (args, kwargs):
            map_aggregate(a, lambda x: tracers.setdefault(x.tracer) if isinstance(x, cls) else None)
        if len(tracers) > 1:
            raise RuntimeError(
                f"Found multiple different tracers {list(tracers)} while trying to trace "
                f"operations {orig_method}"
            )
        (tracer,) = tracers
        if _names.is_method(orig_method):
            method = {"__eq__": "eq", "__ne__": "ne"}.get(orig_method.__name__)
            return tracer.create_proxy("call_method", method or orig_method.__name__, args, kwargs)
        name = tracer.graph._target_to_str(_names.node_name(orig_method))
        return tracer.create_proxy("call_function", orig_method, args, kwargs, name=name)


class MetaProxy(Proxy):
    """A Proxy that also computes on tensors without values; there is no such tracing here."""

    def __init__(self, node: Node, tracer: TracerBase | None = None, fake_mode: Any = None):
        raise NotSupported("MetaProxy", "trace with Proxy, and find shapes by passes.shape_prop")


class Attribute(Proxy):
    """An attribute of a Proxy; a node of its own once it is used and not called."""

    def __init__(self, root: Proxy, attr: str):
        self.root, self.attr = root, attr
        self.tracer = root.tracer
        self._watch = root._watch
        self._node: Node | None = None

    @property
    def node(self) -> Node:
        """The node that reads the attribute; a graph has none where a method is called."""
        if self._node is None:
            self._node = self.tracer.create_proxy(
                "call_function", getattr, (self.root, self.attr), {}
            ).node
        return self._node

    def __call__(self, *args, **kwargs) -> Proxy:
        return self.tracer.create_proxy("call_method", self.attr, (self.root, *args), kwargs)


class ParameterProxy(Proxy):
    """A Proxy for a parameter, whose sizes are known."""

    def __init__(self, tracer: TracerBase, node: Node, name: str, param):
        super().__init__(node, tracer)
        if not isinstance(param, Tensor):
            raise AssertionError(f"Expected torch.nn.Parameter, got {type(param)}")
        self.param, self.name = param, name

    def __repr__(self) -> str:
        return f"ParameterProxy({self.name})"

    @property
    def shape(self):
        """The parameter's shape."""
        return self.param.shape

    def size(self):
        """The parameter's shape."""
        return self.param.size()

    def dim(self) -> int:
        """How many dimensions the parameter has."""
        return self.param.dim()

    @property
    def ndim(self) -> int:
        """How many dimensions the parameter has."""
        return self.param.ndim

    def numel(self) -> int:
        """How many elements the parameter has."""
        return self.param.numel()

    def nelement(self) -> int:
        """How many elements the parameter has."""
        return self.param.nelement()


# ---- operators -----------------------------------------------------------------------------------


def _operator(name: str) -> Callable:
    target = getattr(operator, name)

    def call(*args, **kwargs):
        return args[0].tracer.create_proxy("call_function", target, args, kwargs)

    call.__name__ = name
    return call


def _reflected_operator(name: str, own: str) -> Callable:
    target = getattr(operator, name)

    def call(self, rhs):
        return self.tracer.create_proxy("call_function", target, (rhs, self), {})

    call.__name__ = own
    return call


for _name in magic_methods:
    if hasattr(operator, _name):
        _own = f"__{_name.strip('_')}__"
        setattr(Proxy, _own, _operator(_name))
        if _name in _reflected:
            _own = f"__r{_name.strip('_')}__"
            setattr(Proxy, _own, _reflected_operator(_name, _own))
