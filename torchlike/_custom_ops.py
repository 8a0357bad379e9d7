"""Operators of the user's own: kernels, a schema, derivatives and a rule for vmap under a name."""

from __future__ import annotations

import ast
import collections.abc
import enum
import inspect
import re
import threading
import types
import typing
from contextlib import contextmanager

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._custom_results import as_it_is
from torchlike._tensor.autocast import is_autocast_enabled
from torchlike._tensor.function import Function
from torchlike._tensor.modes import modes, no_grad
from torchlike._tensor.tensor import Tensor
from torchlike.amp.autocast_mode import _cast, autocast
from torchlike.func import trees
from torchlike.func.rules import is_batch, over_level

_registry: dict[str, CustomOpDef] = {}  # by "namespace::name"

Tag = enum.Enum(
    "Tag",
    "core cudagraph_unsafe data_dependent_output dynamic_output_shape flexible_layout generated "
    "inplace inplace_view maybe_aliasing_or_mutating needs_contiguous_strides needs_exact_strides "
    "needs_fixed_stride_order nondeterministic_bitwise nondeterministic_seeded out out_variant "
    "pointwise pt2_compliant_tag reduction view_copy",
    start=0,
    module="torchlike",
)
Tag.__doc__ = (
    "What an operator says of itself (https://pytorch.org/docs/stable/torch.html#operator-tags)."
)


class _Watchers(threading.local):
    around = None  # what is called as (definition, args, kwargs, the call) in place of a call


watchers = _Watchers()


class Namespace:
    """The operators of one namespace, as attributes."""

    def __init__(self, name: str):
        self.__dict__["_name"] = name

    def __dir__(self):
        head = f"{self._name}::"
        return [*super().__dir__(), *(n.removeprefix(head) for n in _registry if head in n)]

    def __getattr__(self, name: str):
        found = _registry.get(f"{self._name}::{name}")
        if found is None:
            raise AttributeError(f"'_OpNamespace' '{self._name}' object has no attribute '{name}'")
        return found._opoverload._packet

    def __repr__(self):
        return f"<module 'torch.ops.{self._name}'>"


def namespace(name: str) -> Namespace:
    """The operators of one namespace."""
    return Namespace(name)


class OpOverload:
    """An operator as ``torch.ops.ns.name.default``, or as ``torch.ops.ns.name`` (the packet)."""

    def __init__(self, definition, shown: str):
        self._definition, self._shown = definition, shown
        self._packet = self.default = self

    def __call__(self, *args, **kwargs):
        return self._definition(*args, **kwargs)

    @property
    def overloadpacket(self) -> OpOverload:
        """The operator as ``torch.ops.ns.name``."""
        return self._packet

    @property
    def namespace(self) -> str:
        """The part of its name before "::"."""
        return self._definition._qualname.split("::")[0]

    @property
    def __name__(self) -> str:
        name = self._definition._name
        return name if self is self._packet else f"{name}.default"

    def name(self) -> str:
        """Its name with the namespace."""
        return self._definition._qualname

    def overloads(self) -> list[str]:
        """["default"]: there is no other."""
        return ["default"]

    @property
    def _schema(self) -> str:
        d = self._definition
        return f"{d._qualname}{d._schema}"

    def __repr__(self):
        return self._shown


class CustomOpDef:
    """An operator that ``torch.library.custom_op`` made; calling it runs the kernel of the
    tensors' device (https://pytorch.org/docs/stable/library.html)."""

    def __init__(self, qualname: str, signature: inspect.Signature, schema: str, mutates=()):
        self._qualname, self._signature, self._schema = qualname, signature, schema
        self._name = qualname.split("::")[1]
        self._mutates = mutates
        self._types = argument_types(schema)
        self._kernels: dict = {}  # by the kind of device; None is every other
        self._composite = False  # whether the kernel is differentiated call by call
        self.own_results = False  # whether no result may show an argument's memory
        self._fake = self._backward = self._setup = self._vmap = None
        self.by_schema = False  # whether ``define`` has made it, and not ``custom_op``
        self.returns_changed = False  # whether a tag says that results are changed arguments
        self._casts: dict = {}  # by the kind of device: what autocast makes of its arguments
        self._opoverload = OpOverload(self, f"{qualname.replace('::', '.')}.default")
        packet = OpOverload(self, qualname.replace("::", "."))
        packet.default, self._opoverload._packet = self._opoverload, packet
        _registry[qualname] = self

    def __repr__(self):
        return f"<CustomOpDef({self._qualname})>"

    # ---- what is registered --------------------------------------------------------------------

    def register_kernel(self, device_types, fn=None, /):
        """Register what runs for tensors of these kinds of devices; a decorator without ``fn``."""

        def register(fn):
            kinds = [device_types] if isinstance(device_types, str) else device_types
            self._composite = COMPOSITE in (kinds or ())
            for kind in kinds or [None]:
                kind = None if kind == COMPOSITE else kind
                self._kernels[None if kind in (None, "default") else kind.lower()] = fn
            return fn

        return register if fn is None else register(fn)

    def register_fake(self, fn=None, /):
        """Register what gives results of the right shape for tensors without data."""

        def register(fn):
            self._fake = fn
            return fn

        return register if fn is None else register(fn)

    def register_autograd(self, backward, /, *, setup_context=None) -> None:
        """Register ``backward(ctx, *grads)``, and what fills ``ctx`` after a call; raises
        ``RuntimeError`` for an operator that changes its arguments."""
        if self._mutates:
            raise RuntimeError(
                f"Cannot register autograd formula for non-functional operator {self} with schema "
                f"{self._qualname}{self._schema}. Please create a functional operator and register "
                "an autograd formula for that."
            )
        self._backward, self._setup = backward, setup_context

    def register_vmap(self, func=None, /):
        """Register ``func(info, in_dims, *args) -> (results, out_dims)``, called under vmap."""

        def register(func):
            self._vmap = func
            return func

        return register if func is None else register(func)

    @contextmanager
    def set_kernel_enabled(self, device_type: str, enabled: bool = True):
        """Within: the kernel for a kind of device is used, or the one for every device."""
        off, self._kernels = self._kernels, dict(self._kernels)
        if not enabled:
            self._kernels[device_type] = self._kernels.get(None, self._init_fn)
        try:
            yield
        finally:
            self._kernels = off

    # ---- calls ---------------------------------------------------------------------------------

    def _bind(self, args, kwargs):
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            text = str(error).replace(
                "missing a required argument:", "is missing value for argument"
            )
            raise RuntimeError(
                f"{self._qualname}() {text}. Declaration: {self._qualname}{self._schema}"
            ) from None
        bound.apply_defaults()
        for name, kind in self._types.items():
            x = bound.arguments[name]
            if not _fits(kind, x):
                raise RuntimeError(
                    f"{self._qualname}() Expected a value of type '{_shown_type(kind)}' for "
                    f"argument '{name}' but instead found type '{type(x).__name__}'.\n"
                    f"Declaration: {self._qualname}{self._schema}"
                )
        return bound.args, bound.kwargs

    def register_autocast(self, device_type: str, cast_inputs):
        """Within autocast for this kind of device, call with its floating arguments cast."""
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if device_type not in ("cpu", "cuda"):
            raise ValueError(f"Unknown device type: {device_type}")
        self._casts[device_type] = cast_inputs

    def __call__(self, *args, **kwargs):
        for kind, dtype in self._casts.items():
            if is_autocast_enabled(kind):
                with autocast(kind, enabled=False):
                    args, kwargs = _cast(args, kind, dtype), _cast(kwargs, kind, dtype)
                    return self._without_autocast(*args, **kwargs)
        return self._without_autocast(*args, **kwargs)

    def _without_autocast(self, *args, **kwargs):
        args, kwargs = self._bind(args, kwargs)
        if watchers.around is not None:
            return watchers.around(self, args, kwargs, lambda: self._called(args, kwargs))
        return self._called(args, kwargs)

    def _called(self, args, kwargs):
        leaves = [x for x in trees.flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        ruled = self._vmap is not None and modes.levels
        if ruled and any(is_batch(x, modes.levels[-1]) for x in leaves):
            return over_level(self._vmap, args, kwargs)
        if self._composite or not (modes.grad and any(x.requires_grad for x in leaves)):
            return self._run(args, kwargs, leaves)
        if self._backward is not None:
            return self._on_tape(args, kwargs)
        if not self._mutates:
            if self.by_schema:
                return as_it_is(self._qualname, self._run(args, kwargs, leaves), leaves)
            return self._without_backward(args, kwargs)
        with no_grad():  # autograd does not see what it changes
            return self._run(args, kwargs, leaves)

    def _run(self, args, kwargs, leaves):
        kind = next((x.device.type for x in leaves), devices.get_default_device().type)
        if kind == "meta":
            fake = self._fake or self._kernels.get("meta")
            if fake is None:
                raise NotImplementedError(
                    f"{self._qualname}: attempted to run this operator with Meta tensors, but "
                    "there was no fake impl registered for it: use register_fake"
                )
            return fake(*args, **kwargs)
        kernel = self._kernels.get(kind, self._kernels.get(None))
        if kernel is None:
            raise NotImplementedError(
                f"Could not run '{self._qualname}' with arguments from the '{kind.upper()}' "
                "backend: no kernel is registered for it"
            )
        out = kernel(*args, **kwargs)
        self._check_results(out)
        given = {id(x) for x in leaves} - self._changed(args, kwargs)
        given |= {id(x._base) for x in leaves if id(x) in given and x._base is not None}
        if self.own_results and any(
            id(x) in given or id(getattr(x, "_base", None)) in given for x in trees.flatten(out)[0]
        ):
            raise RuntimeError(
                f"{self._name} (with implementation in {inspect.getmodule(kernel)}): The output of "
                "this custom operator (1) must not also be an input to this custom operator and "
                "(2) may not alias any inputs to this custom operator or other returns. Please "
                "clone() it."
            )
        return out

    def _check_results(self, out) -> None:
        wanted = self._schema.rpartition("->")[2].strip()
        if wanted == "Tensor" and not isinstance(out, Tensor):
            raise RuntimeError(f"Unable to cast {out} to Tensor")
        if wanted == "()" and out is not None:
            raise RuntimeError(
                f"Expected PythonKernelHolder for {self._qualname} to return None but it returned "
                "something else instead."
            )
        if "," in wanted and not isinstance(out, (tuple, list)):
            raise TypeError(
                f"Object of type '{type(out).__name__}' is not an instance of 'sequence'"
            )

    def _changed(self, args, kwargs) -> set:
        """The ids of the arguments that the operator changes in place, if it may return them."""
        if not self.returns_changed:
            return set()
        named = self._signature.bind(*args, **kwargs).arguments
        return {id(named[name]) for name in self._mutates if name in named}

    def _on_tape(self, args, kwargs):
        return self._through_function(args, kwargs, self._backward)

    def _without_backward(self, args, kwargs):
        def backward(ctx, *grads):
            raise RuntimeError(
                f"Trying to backward through {self._opoverload} but no autograd formula was "
                "registered. Please use register_autograd to add one."
            )

        return self._through_function(args, kwargs, backward)

    def _through_function(self, args, kwargs, user_backward):
        """Run as an autograd.Function of the leaves of the arguments."""
        flat, spec = trees.flatten(args)
        named = {}
        setup = self._setup if user_backward is self._backward else None
        op = self

        def run(*given):
            with no_grad():
                structured = trees.unflatten(given, spec)
                leaves = [x for x in given if isinstance(x, Tensor)]
                out = op._run(structured, kwargs, leaves)
            result, named["spec"] = trees.flatten(out)
            return tuple(result)

        def forward(*given):
            return run(*given)

        def setup_context(ctx, inputs, output):
            if setup is None:
                return
            structured = trees.unflatten(inputs, spec)
            result = trees.unflatten(output, named["spec"])
            if kwargs:
                setup(ctx, structured, kwargs, result)
            else:
                setup(ctx, structured, result)

        def backward(ctx, *grads):
            grads = trees.unflatten(grads, named["spec"])
            grads = grads if isinstance(grads, tuple) else (grads,)
            ctx.needs_input_grad = trees.unflatten(ctx.needs_input_grad, spec)
            found = user_backward(ctx, *grads)
            found = found if isinstance(found, tuple) else (found,)
            if len(found) < len(spec.parts):
                raise RuntimeError(
                    f"function {name}Backward returned an incorrect number of gradients (expected "
                    f"{len(spec.parts)}, got {len(found)})"
                )
            for i, g in enumerate(found[len(spec.parts) :], len(spec.parts) + 1):
                if g is not None:
                    raise RuntimeError(
                        f"function {name}Backward returned a gradient different than None at "
                        f"position {i}, but the corresponding forward input was not a Variable"
                    )
            out: list = []
            for g, part in zip(found, spec.parts, strict=False):
                some = g is not None and part.kind is not None
                out += trees.flatten(g)[0] if some else [g] * part.num_leaves
            return tuple(out) + (None,) * (len(flat) - len(out))

        name = f"GeneratedBackwardFor_{self._qualname.replace('::', '_')}_default"
        parts = {"forward": forward, "setup_context": setup_context, "backward": backward}
        kind = type(name, (Function,), {k: staticmethod(f) for k, f in parts.items()})
        out = kind.apply(*flat)
        return trees.unflatten(out, named["spec"])


def find(op) -> CustomOpDef:
    """The definition of an operator given as itself, its overload or its name."""
    if isinstance(op, CustomOpDef):
        return op
    if isinstance(op, OpOverload):
        return op._definition
    if not isinstance(op, str):
        raise ValueError(f"expected an operator or its name, but got {type(op)}")
    found = _registry.get(op.removesuffix(".default"))
    if found is None:
        raise RuntimeError(f"operator {op} does not exist")
    return found


# ---- schemas -----------------------------------------------------------------------------------

_SIMPLE = {
    Tensor: "Tensor", int: "SymInt", float: "float", bool: "bool", str: "str",
    dt.dtype: "ScalarType", devices.device: "Device",
}  # fmt: skip
_NUMBER = (int | float | bool, typing.Union[int, float, bool])  # noqa: UP007
_SEQUENCES = (list, collections.abc.Sequence)


def type_name(annotation) -> str | None:
    """What a schema calls a type; None for one that it has not."""
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    if annotation in _NUMBER:
        return "Scalar"
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType) and type(None) in inner and len(inner) == 2:
        name = type_name(next(t for t in inner if t is not type(None)))
        return name and f"{name}?"
    if origin in _SEQUENCES and len(inner) == 1:
        name = type_name(inner[0])
        return name and f"{name}[]"
    return None


def infer(function, mutates_args=()) -> tuple[inspect.Signature, str]:
    """(signature, schema) of a function with annotations; raises ``ValueError`` without."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError as error:
        raise ValueError(
            f"infer_schema(func): Unsupported type annotation {error.name}. It is not a type. "
            f"({error})"
        ) from None
    unknown = set(() if mutates_args == "unknown" else mutates_args) - set(signature.parameters)
    if unknown:
        raise ValueError(
            f"infer_schema(func): {unknown} in mutates_args were not found in the custom op's "
            "signature. mutates_args should contain the names of all args that the custom op "
            "mutates, or just the string 'unknown' if you don't know."
        )
    parts, starred = [], False
    for p in signature.parameters.values():
        if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise ValueError(
                "infer_schema(func): We do not support positional-only args, varargs, or "
                f"varkwargs. Got func with signature {inspect.signature(function)})"
            )
        if p.annotation is p.empty:
            raise ValueError(
                f"infer_schema(func): Parameter {p.name} must have a type annotation. Got func "
                f"with signature {inspect.signature(function)})"
            )
        name = type_name(p.annotation)
        if name is None:
            raise ValueError(
                f"infer_schema(func): Parameter {p.name} has unsupported type {p.annotation}. Got "
                f"func with signature {inspect.signature(function)})"
            )
        if p.kind is p.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        if mutates_args == "unknown" or p.name in mutates_args:
            if not name.startswith("Tensor"):
                raise ValueError(
                    f"infer_schema(func): Parameter {p.name} is in mutable_args but only Tensors "
                    "or collections of Tensors can be mutated"
                )
            name = f"Tensor(a{len(parts)}!){name[6:]}"
        if p.default is p.empty:
            parts.append(f"{name} {p.name}")
        else:
            shown = f'"{p.default}"' if isinstance(p.default, str) else repr(p.default)
            shown = shown.removeprefix("torch.")  # of a dtype
            parts.append(f"{name} {p.name}={shown}")
    return signature, f"({', '.join(parts)}) -> {_results(signature)}"


def _results(signature) -> str:
    found = signature.return_annotation
    if found is signature.empty:
        raise ValueError(
            f"infer_schema(func): No return type annotation was provided in signature {signature}"
        )
    if found is None or found is type(None):
        return "()"
    if typing.get_origin(found) is tuple:
        return "(" + ", ".join(str(type_name(t)) for t in typing.get_args(found)) + ")"
    name = type_name(found)
    if name is None:
        raise ValueError(f"infer_schema(func): Return has unsupported type {found}")
    return name


COMPOSITE = "compositeimplicitautograd"
_SHOWN = {"SymInt": "int", "Scalar": "number", "ScalarType": "int"}


def argument_types(schema: str) -> dict:
    """{argument: what the schema calls its type}."""
    left = schema.rpartition("->")[0].strip()
    heads = (part.partition("=")[0].strip() for part in _split(left[1:-1]) if part != "*")
    pairs = (head.rpartition(" ") for head in heads)
    return {name: re.sub(r"\([^)]*\)", "", kind).strip() for kind, _, name in pairs}


def _fits(kind: str, x) -> bool:
    """Whether an argument is of a schema's type; of types that are rare, any is."""
    if kind.endswith("?"):
        return x is None or _fits(kind[:-1], x)
    if kind.endswith("]"):
        inner, _, size = kind[:-1].rpartition("[")
        if not isinstance(x, (list, tuple)):
            return bool(size) and _fits(inner, x)
        return all(_fits(inner, y) for y in x)
    if kind == "Tensor":
        return x is None or isinstance(x, Tensor)
    if x is None or isinstance(x, (list, tuple, dict)):
        return kind not in ("int", "SymInt", "float", "bool", "str", "Scalar")
    if kind == "str":
        return isinstance(x, str)
    if kind in ("int", "SymInt"):
        return isinstance(x, Tensor) or not isinstance(x, (str, float, complex))
    if kind == "float":
        return not isinstance(x, (str, complex))
    if kind == "bool":
        return not isinstance(x, (str, float, complex))
    return kind != "Scalar" or not isinstance(x, str)


def _shown_type(kind: str) -> str:
    if kind.endswith("?"):
        return f"Optional[{_shown_type(kind[:-1])}]"
    if kind.endswith("]"):
        return f"List[{_shown_type(kind.rpartition('[')[0])}]"
    return _SHOWN.get(kind, kind)


def parse(schema: str) -> inspect.Signature:
    """The signature that a schema like ``(Tensor x, int n=2) -> Tensor`` describes."""
    left, arrow, _ = schema.partition("->")
    left = left.strip()
    if not arrow or not (left.startswith("(") and left.endswith(")")):
        raise RuntimeError(f"cannot read the schema {schema!r}")
    kind, params = inspect.Parameter.POSITIONAL_OR_KEYWORD, []
    for part in _split(left[1:-1]):
        if part == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
            continue
        head, equals, default = part.partition("=")
        type_text, _, name = head.strip().rpartition(" ")
        annotation = Tensor if type_text.split("(")[0].strip() == "Tensor" else object
        if type_text.endswith(("?", "]")):
            annotation = object
        value = inspect.Parameter.empty
        if equals:
            value = ast.literal_eval({"true": "True", "false": "False"}.get(default, default))
        params.append(inspect.Parameter(name, kind, default=value, annotation=annotation))
    return inspect.Signature(params)


def _split(text: str) -> list[str]:
    """The parts between commas outside of brackets."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += c in "([{"
        depth -= c in ")]}"
        if c == "," and not depth:
            parts.append(text[start:i].strip())
            start = i + 1
    parts.append(text[start:].strip())
    return [p for p in parts if p]
