"""Tracing: a function is called with proxies, and what it does becomes a Graph."""

from __future__ import annotations

import builtins
import copy
import functools
import inspect
import math
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

from torchlike import nn
from torchlike._core.errors import PACKAGE
from torchlike._tensor.tensor import Tensor
from torchlike.fx import _names, _pytree, _wrapped
from torchlike.fx._compatibility import compatibility as compatibility
from torchlike.fx._wrapped import wrap as wrap
from torchlike.fx.graph import Graph, _PyTreeCodeGen, _PyTreeInfo
from torchlike.fx.graph_module import GraphModule
from torchlike.fx.node import map_aggregate
from torchlike.fx.proxy import (
    ParameterProxy,
    Proxy,
    Scope,
    ScopeContextManager,
    TracerBase,
    _watching,
)
from torchlike.nn.parameter import Parameter

_VARARGS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
_wrapped_fns_to_patch, _wrapped_methods_to_patch = _wrapped.functions, _wrapped.methods
_proxyable_classes: dict[type, None] = {}
_tracing = [False]
_orig_module_call, _orig_module_getattr = nn.Module.__call__, nn.Module.__getattr__
_constants = (str, int, float, bool, complex)


def is_fx_tracing() -> bool:
    """Whether a function is being traced."""
    return _tracing[0]


is_fx_symbolic_tracing = is_fx_tracing


class ProxyableClassMeta(type):
    """Metaclass: objects of the class, made of proxies in a traced function, become nodes."""

    def __init__(cls, name: str, bases: tuple, attrs: dict):
        _proxyable_classes.setdefault(cls)
        super().__init__(name, bases, attrs)

    def __call__(cls, *args, **kwargs):
        instance = cls.__new__(cls)
        found = _find_proxy(args, kwargs)
        if found is not None:
            return found.tracer.create_proxy("call_function", cls, args, kwargs)
        cls.__init__(instance, *args, **kwargs)
        return instance


class ScriptObject:
    """What a compiled program's objects are; there are none here."""


class PHBase:
    """In ``concrete_args``: this argument is traced after all."""

    def __repr__(self) -> str:
        return "PH"


class PHWithMeta(PHBase):
    """A placeholder whose attributes its node gets."""

    def __init__(self, ph_key: str | None = None):
        super().__init__()
        self.ph_key = ph_key


PH = PHBase()
ProxyableClassMeta.__module__ = "torchlike.fx"


def _find_proxy(*objects) -> Proxy | None:
    """The first Proxy among nested arguments."""
    found = None

    def look(x):
        nonlocal found
        if found is None and isinstance(x, Proxy):
            found = x

    map_aggregate(objects, look)
    return found


# ---- what is exchanged while a function is traced ------------------------------------------------


def _create_wrapped_func(function: Callable) -> Callable:
    """A function whose calls with proxies become nodes."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        found = _find_proxy(args, kwargs)
        if found is None:
            return function(*args, **kwargs)
        made = found.tracer.create_proxy("call_function", function, args, kwargs)
        made.node.meta["is_wrapped"] = True
        return made

    return wrapped


def _create_wrapped_method(cls: type, name: str) -> Callable:
    """A method whose calls with proxies become nodes."""
    method = getattr(cls, name)

    @functools.wraps(method)
    def wrapped(*args, **kwargs):
        found = _find_proxy(args, kwargs)
        if found is None:
            return method(*args, **kwargs)
        return found.tracer.create_proxy("call_method", name, args, kwargs)

    return wrapped


class _Patcher:
    """Exchanges names of modules and methods of classes, and puts them back."""

    _absent = object()

    def __init__(self):
        self._done: list[tuple] = []
        self._visited: set[int] = set()

    def patch(self, names: dict, name: str, new: Callable, deduplicate: bool = True) -> None:
        """Exchange a global name."""
        if deduplicate and any(place is names and key == name for place, key, _ in self._done):
            return
        self._done.append((names, name, names.get(name, self._absent)))
        names[name] = new

    def patch_method(self, cls: type, name: str, new: Callable, deduplicate: bool = True) -> None:
        """Exchange a method."""
        if deduplicate and any(place is cls and key == name for place, key, _ in self._done):
            return
        self._done.append((cls, name, vars(cls).get(name, self._absent)))
        setattr(cls, name, new)

    def visit_once(self, thing: object) -> bool:
        """Whether it is the first visit."""
        first = id(thing) not in self._visited
        self._visited.add(id(thing))
        return first

    def __enter__(self) -> _Patcher:
        return self

    def __exit__(self, *exc) -> None:
        while self._done:
            place, name, before = self._done.pop()
            if before is not self._absent:
                if isinstance(place, dict):
                    place[name] = before
                else:
                    setattr(place, name, before)
            elif isinstance(place, dict):
                del place[name]
            else:
                delattr(place, name)
        self._visited.clear()


def _patch_wrapped_functions(patcher: _Patcher) -> None:
    for (_, name), names in list(_wrapped_fns_to_patch.items()):
        function = names[name] if name in names else getattr(builtins, name)
        patcher.patch(names, name, _create_wrapped_func(function))
    for cls, name in _wrapped_methods_to_patch:
        patcher.patch_method(cls, name, _create_wrapped_method(cls, name))


def _autowrap_check(patcher: _Patcher, names: dict, functions: set[int]) -> None:
    """Wrap the functions of a module's names that are traced without being asked for."""
    if patcher.visit_once(names):
        for name, value in list(names.items()):
            if not name.startswith("_") and callable(value) and id(value) in functions:
                patcher.patch(names, name, _create_wrapped_func(value))


# ---- the tracer ----------------------------------------------------------------------------------


def _assert_is_none(value: object, msg: str) -> None:
    """Raise ``AssertionError`` unless an argument is None, as it was when the graph was made."""
    if value is not None:
        raise AssertionError(msg)


def _patch_function(function: FunctionType, count: int) -> FunctionType:
    """The function with ``*args`` and ``**kwargs`` as plain parameters, which may be proxies."""
    code = function.__code__.replace(
        co_argcount=count, co_posonlyargcount=0, co_kwonlyargcount=0,
        co_flags=function.__code__.co_flags & ~_VARARGS,
    )  # fmt: skip
    return FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )


class Tracer(TracerBase):
    """Makes Graphs of functions and modules; subclasses say what is looked into
    (https://pytorch.org/docs/stable/fx.html#torch.fx.Tracer)."""

    def __init__(
        self, autowrap_modules: tuple[ModuleType, ...] = (math,),
        autowrap_functions: tuple[Callable, ...] = (), param_shapes_constant: bool = False,
    ):  # fmt: skip
        super().__init__()
        self._autowrap_function_ids = {
            id(value)
            for module in autowrap_modules
            for name, value in vars(module).items()
            if not name.startswith("_") and callable(value)
        } | {id(f) for f in autowrap_functions}
        self._autowrap_search = list(autowrap_modules)
        self.param_shapes_constant = param_shapes_constant
        self.submodule_paths: dict | None = None
        self.root_module_name = ""
        self.scope = Scope("", None)
        self.module_stack = OrderedDict()
        self.num_calls: dict[str, int] = {}
        self.node_name_to_scope: dict = {}
        self._qualname_counter: dict[str, int] = defaultdict(int)
        self._names_of: dict[int, str] = {}  # of parameters and buffers, while tracing

    def get_fresh_qualname(self, prefix: str) -> str:
        """A name that the root has not: ``prefix`` and a number."""
        i = self._qualname_counter[prefix]
        while hasattr(self.root, f"{prefix}{i}"):
            i += 1
        self._qualname_counter[prefix] = i + 1
        return f"{prefix}{i}"

    def _name_of(self, tensor, members: Callable) -> str | None:
        """The name of a parameter or buffer of the root."""
        name = self._names_of.get(id(tensor))
        if name is None:
            name = next((n for n, p in members() if p is tensor), None)
            if name is not None:
                self._names_of[id(tensor)] = name
        return name

    def create_arg(self, a: Any) -> Any:
        """An argument as a node has it: tensors and modules become nodes that read them.

        Raises ``NameError`` for a parameter that is not the root's.
        """
        if isinstance(a, Tensor):
            if isinstance(a, Parameter):
                name = self._name_of(a, self.root.named_parameters)
                if name is None:
                    raise NameError("parameter is not a member of this module")
                return self.create_node("get_attr", name, (), {})
            name = self._name_of(a, self.root.named_buffers) or self.tensor_attrs.get(a)
            if name is None:
                name = self.get_fresh_qualname("_tensor_constant")
                self.tensor_attrs[a] = name
                setattr(self.root, name, a)
            return self.create_node("get_attr", name, (), {})
        if isinstance(a, nn.Module):
            for name, module in self.root.named_modules():
                if module is a:
                    return self.create_node("get_attr", name, (), {})
        if isinstance(a, tuple) and hasattr(a, "_fields"):
            args = tuple(self.create_arg(x) for x in a)
            return self.create_node("call_function", a.__class__, args, {})
        if type(a) in _proxyable_classes:
            name = self.get_fresh_qualname(f"_{a.__class__.__name__}_constant_")
            setattr(self.root, name, a)
            return self.create_node("get_attr", name, (), {})
        return super().create_arg(a)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module's call is a node of its own: so for those of ``torch.nn``."""
        ours = m.__module__.startswith(("torch.nn", "torch.ao.nn", "torchlike.nn"))
        return ours and not isinstance(m, nn.Sequential)

    def path_of_module(self, mod: nn.Module) -> str:
        """The dotted name of a module; raises ``NameError`` for one that is not the root's."""
        if self.submodule_paths:
            path = self.submodule_paths.get(mod)
            if path is None:
                raise NameError("module is not installed as a submodule")
            return path
        for name, module in self.root.named_modules():
            if module is mod:
                return name
        raise NameError("module is not installed as a submodule")

    def call_module(self, m: nn.Module, forward: Callable, args: tuple, kwargs: dict) -> Any:
        """What the call of a module becomes: a node for a leaf, else what its forward does."""
        path = self.path_of_module(m)
        with ScopeContextManager(self.scope, Scope(path, type(m))):
            calls = self.num_calls.get(path, 0)
            key = f"{path}@{calls}" if calls else path
            self.module_stack[key] = (path, type(m))
            self.num_calls[path] = calls + 1
            try:
                if self.is_leaf_module(m, path):
                    return self.create_proxy("call_module", path, args, kwargs)
                return forward(*args, **kwargs)
            finally:
                self.module_stack.popitem(last=True)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """What an attribute of a module is in traced code: parameters are proxies."""
        if isinstance(attr_val, Parameter):
            found = self._member(attr_val, self.root.named_parameters, parameter_proxy_cache)
        elif self.proxy_buffer_attributes and isinstance(attr_val, Tensor):
            found = self._member(attr_val, self.root.named_buffers, parameter_proxy_cache)
        else:
            return attr_val
        return attr_val if found is None else found

    def _member(self, value, members: Callable, cache: dict):
        name = self._name_of(value, members)
        if name is None:
            return None
        if name not in cache:
            given = {}
            if self.param_shapes_constant:
                given["proxy_factory_fn"] = lambda node: ParameterProxy(self, node, name, value)
            cache[name] = self.create_proxy("get_attr", name, (), {}, **given)
        return cache[name]

    # ---- arguments ----

    def create_args_for_root(
        self, root_fn: Callable, is_module: bool, concrete_args: dict | tuple | None = None
    ) -> tuple[Callable, list]:
        """The function that is to be called, and its arguments: proxies, or what is given.

        Raises ``RuntimeError`` for a method without a ``self``, or another number of
        ``concrete_args`` than there are arguments.
        """
        seen = inspect.unwrap(root_fn)
        code = seen.__code__
        total = code.co_argcount + code.co_kwonlyargcount
        names, args = list(code.co_varnames), []
        if is_module:
            if total == 0:
                raise RuntimeError("``self`` argument cannot be part of *args expansion!")
            args.append(self.root)
        own = names[len(args) : total]
        if isinstance(concrete_args, tuple):
            if len(own) != len(concrete_args):
                raise RuntimeError(
                    f"Tracing expected {len(own)} arguments but got {len(concrete_args)} concrete "
                    "arguments"
                )
            concrete_args = dict(zip(own, concrete_args, strict=True))
        signature = inspect.signature(seen)
        args += [self._proxy_placeholder(name, concrete_args, signature, seen) for name in own]
        if code.co_kwonlyargcount > 0 or code.co_flags & _VARARGS:
            rest = names[total:]
            for flag, stars in ((inspect.CO_VARARGS, "*"), (inspect.CO_VARKEYWORDS, "**")):
                if code.co_flags & flag:
                    name = stars + rest.pop(0)
                    args.append(self._proxy_placeholder(name, concrete_args, signature, seen))
            root_fn = _patch_function(root_fn, len(args))
        leaves, in_spec = _pytree.tree_flatten(tuple(args))
        if all(part.is_leaf() for part in in_spec.parts):
            return root_fn, args
        codegen = _PyTreeCodeGen(_PyTreeInfo(names[:total], in_spec, None))
        self.graph._codegen = codegen

        def flatten_fn(*args):
            result = root_fn(*_pytree.tree_unflatten(args, in_spec))
            found, out_spec = _pytree.tree_flatten(result)
            codegen.pytree_info = codegen.pytree_info._replace(out_spec=out_spec)
            return found

        return flatten_fn, leaves

    def _proxy_placeholder(self, name: str, concrete_args, signature, function) -> Any:
        default = () if name.startswith("*") else _default(signature, name)
        if concrete_args is None or name not in concrete_args:
            kind = function.__annotations__.get(name)
            return self.create_proxy("placeholder", name, default, {}, type_expr=kind)
        count = 0

        def replace(x):
            nonlocal count
            count += 1
            out = self.create_proxy("placeholder", f"{name}_{count}", default, {})
            if isinstance(x, PHBase):
                if x is not PH:
                    for key, value in vars(x).items():
                        if not callable(value):
                            setattr(out.node, key, value)
                return out
            text = f"{name} has been specialized to have value {x} but got another value"
            if isinstance(x, _constants):
                _names.torch._assert(out == x, text)
            elif x is None:
                self.create_proxy("call_function", _assert_is_none, (out, text), {})
            else:
                warnings.warn(
                    f"Was not able to add assertion to guarantee correct input {name} to "
                    "specialized function. It is up to the user to make sure that your inputs "
                    "match the inputs you specialized the function with.",
                    stacklevel=2,
                )
            return x

        return _pytree.tree_map(replace, concrete_args[name])

    # ---- tracing ----

    def trace(self, root: nn.Module | Callable, concrete_args: dict | None = None) -> Graph:
        """The Graph of a module's forward or of a function; raises ``TraceError`` where its way
        depends on values, ``AssertionError`` for what is no Python function."""
        before, _tracing[0] = _tracing[0], True
        held = _watching()
        try:
            return self._trace(root, concrete_args)
        finally:
            _tracing[0] = before
            self.submodule_paths = None
            self._names_of.clear()
            del held

    def _trace(self, root, concrete_args) -> Graph:
        is_module = isinstance(root, nn.Module)
        if is_module:
            self.root_module_name = root._get_name()
            self.root = root
            if not hasattr(type(root), self.traced_func_name):
                raise AssertionError(
                    f"traced_func_name={self.traced_func_name} doesn't exist in "
                    f"{type(root).__name__}"
                )
            function = getattr(type(root), self.traced_func_name)
            self.submodule_paths = {mod: name for name, mod in root.named_modules()}
        else:
            self.root = nn.Module()
            function = root
        self.graph = Graph(tracer_cls=type(self))
        self.tensor_attrs: dict = {}
        if is_module:
            self._collect_tensors(root, [])
        if not isinstance(function, FunctionType) or _names.is_native(function):
            kind = type(len if _names.is_native(function) else function)
            raise AssertionError(f"Expected FunctionType, got {kind}")
        names = function.__globals__
        called, args = self.create_args_for_root(function, is_module, concrete_args)
        cache: dict[str, Any] = {}
        with self._exchanged(names, cache):
            result = self.create_arg(called(*args))
            kind = called.__annotations__.get("return")
            self.create_node("output", "output", (result,), {}, type_expr=kind)
        return self.graph

    def _collect_tensors(self, module: nn.Module, path: list[str]) -> None:
        """Note the tensors that are plain attributes."""
        for name, value in vars(module).items():
            if isinstance(value, Tensor):
                self.tensor_attrs[value] = ".".join([*path, name])
        for name, child in module.named_children():
            self._collect_tensors(child, [*path, name])

    @contextmanager
    def _exchanged(self, names: dict, cache: dict) -> Iterator[None]:
        """Within: modules and wrapped functions tell this tracer of their calls."""
        read, call = nn.Module.__getattr__, nn.Module.__call__

        @functools.wraps(read)
        def getattr_(module, attr):
            return self.getattr(attr, read(module, attr), cache)

        @functools.wraps(call)
        def call_(module, *args, **kwargs):
            def forward(*args, **kwargs):
                return call(module, *args, **kwargs)

            own = getattr(getattr(module, "forward", module), "__globals__", {})
            if not own.get("__file__", "").startswith(PACKAGE):
                _autowrap_check(patcher, own, self._autowrap_function_ids)
            return self.call_module(module, forward, args, kwargs)

        with _Patcher() as patcher:
            patcher.patch_method(nn.Module, "__getattr__", getattr_, deduplicate=False)
            patcher.patch_method(nn.Module, "__call__", call_, deduplicate=False)
            _patch_wrapped_functions(patcher)
            _autowrap_check(patcher, names, self._autowrap_function_ids)
            for module in self._autowrap_search:
                _autowrap_check(patcher, vars(module), self._autowrap_function_ids)
            yield

    def __deepcopy__(self, memo: dict) -> Tracer:
        made = Tracer.__new__(type(self))
        for key, value in vars(self).items():
            if key in ("_autowrap_search",):
                made.__dict__[key] = copy.copy(value)
            else:
                made.__dict__[key] = copy.deepcopy(value, memo)
        return made


Tracer.__module__ = "torchlike.fx"


def _default(signature: inspect.Signature, name: str) -> tuple:
    default = signature.parameters[name].default
    return () if default is inspect.Parameter.empty else (default,)


def symbolic_trace(root: nn.Module | Callable, concrete_args: dict | None = None) -> GraphModule:
    """A GraphModule that does what a module or function does; raises as ``Tracer.trace``
    (https://pytorch.org/docs/stable/fx.html#torch.fx.symbolic_trace)."""
    tracer = Tracer()
    graph = tracer.trace(root, concrete_args)
    name = root.__class__.__name__ if isinstance(root, nn.Module) else root.__name__
    return GraphModule(tracer.root, graph, name)
