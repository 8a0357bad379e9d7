"""torch.library: operators of your own (https://pytorch.org/docs/stable/library.html).

An operator is a name, a Python function of tensors, and what else is registered for it: a kernel
for a kind of device, a derivative, a rule for vmap, one for tensors without data.
"""

from __future__ import annotations

from collections.abc import Callable

from torchlike import _custom_ops as _c
from torchlike._core.errors import NotSupported
from torchlike._custom_ops import CustomOpDef as CustomOpDef
from torchlike._custom_ops import Tag as Tag

__all__ = [
    "CustomOpDef", "Library", "custom_op", "define", "get_ctx", "impl", "impl_abstract",
    "infer_schema", "opcheck", "register_autocast", "register_autograd", "register_fake",
    "register_kernel", "register_torch_dispatch", "register_vmap", "triton_op", "wrap_triton",
]  # fmt: skip
CustomOpDef.__module__ = "torchlike.library"


def _check_name(name: str) -> None:
    if name.count("::") != 1 or not all(name.split("::")):
        raise ValueError(f"expected a name like 'namespace::name', but got {name!r}")


def custom_op(
    name: str, fn: Callable | None = None, /, *, mutates_args, device_types=None,
    schema: str | None = None, tags=None,
):  # fmt: skip
    """An operator from a function; a decorator without ``fn``
    (https://pytorch.org/docs/stable/library.html#torch.library.custom_op).

    name          "namespace::name": it is also ``torch.ops.namespace.name``
    mutates_args  names of the arguments that it changes in place, or "unknown"
    device_types  the kinds of devices it is for; None: all
    schema        instead of the function's annotations

    Raises ``ValueError`` for a function whose annotations are missing or have no schema.
    """
    _check_name(name)

    def make(fn):
        if schema is None:
            signature, text = _c.infer(fn, mutates_args)
        else:
            signature, text = _c.parse(schema), schema
        op = CustomOpDef(name, signature, text, tuple(mutates_args))
        op._init_fn, op.own_results = fn, True
        op.returns_changed = any(tag in (Tag.inplace, Tag.out) for tag in _tuple(tags))
        op.__doc__, op.__wrapped__ = fn.__doc__, fn
        op.register_kernel(device_types, fn)
        return op

    return make if fn is None else make(fn)


def _tuple(tags) -> tuple:
    return () if tags is None else (tags,) if isinstance(tags, Tag) else tuple(tags)


def infer_schema(
    prototype_function: Callable, /, *, mutates_args, op_name: str | None = None, tags=()
) -> str:
    """The schema that a function's annotations say; raises ``ValueError`` where they say none."""
    text = _c.infer(prototype_function, mutates_args)[1]
    return text if op_name is None else f"{op_name}{text}"


def define(qualname, schema, *, lib=None, tags=()):
    """Name an operator, whose kernels ``impl`` registers; in the older spelling
    ``define(library, "name(Tensor x) -> Tensor")`` it is a decorator for its kernel."""
    if isinstance(qualname, Library):
        return impl(f"{qualname.ns}::{qualname.define(schema)}", "default")
    if not isinstance(qualname, str):
        raise ValueError(f"define(qualname, schema): expected qualname to be instance of str, got "
                         f"{type(qualname)}")  # fmt: skip
    _check_name(qualname)
    if not schema.lstrip().startswith("("):
        raise ValueError(
            'define(qualname, schema, ...): expected schema to look like e.g. "(Tensor x) -> '
            f'Tensor" but got "{schema}"'
        )
    if qualname in _c._registry:
        raise RuntimeError(
            f"Tried to register an operator ({qualname}{schema}) with the same name and overload "
            "name multiple times."
        )
    CustomOpDef(qualname, _c.parse(schema), schema, _mutated(schema)).by_schema = True
    return None


def _mutated(schema: str) -> tuple:
    return ("?",) if "!)" in schema else ()


def impl(qualname, types, func: Callable | str | None = None, *, lib=None):
    """Register what runs for these kinds of devices; a decorator without ``func``. The older
    spelling ``impl(library, "name", "CPU")`` is a decorator."""
    if isinstance(qualname, Library):

        def register(fn):
            qualname.impl(types, fn, func or "")
            return fn

        return register
    return _c.find(qualname).register_kernel(_kinds(types), func)


def _kinds(types):
    every = ("default", "compositeexplicitautograd", "")
    types = (types,) if isinstance(types, str) else types
    return [None if t.lower() in every else t.lower() for t in types]


def register_kernel(op, device_types, func: Callable | None = None, /, *, lib=None):
    """Register what runs for these kinds of devices; a decorator without ``func``."""
    return _c.find(op).register_kernel(device_types, func)


def register_fake(op, func: Callable | None = None, /, *, lib=None, _stacklevel=1,
                  allow_override=False):  # fmt: skip
    """Register what gives results of the right shape for tensors on "meta"."""
    return _c.find(op).register_fake(func)


def impl_abstract(qualname, func=None, *, lib=None, _stacklevel=1):
    """Former name of ``register_fake``."""
    return register_fake(qualname, func)


def register_autograd(op, backward: Callable, /, *, setup_context=None, lib=None) -> None:
    """Register ``backward(ctx, *grads)``, and what fills ``ctx`` after a call."""
    _c.find(op).register_autograd(backward, setup_context=setup_context)


def register_autocast(op, device_type: str, cast_inputs, /, *, lib=None) -> None:
    """Within autocast for this kind of device, call with the floating arguments of this kind cast
    (https://pytorch.org/docs/stable/library.html#torch.library.register_autocast)."""
    _c.find(op).register_autocast(device_type, cast_inputs)


def register_vmap(op, func: Callable | None = None, /, *, lib=None):
    """Register ``func(info, in_dims, *args) -> (results, out_dims)``, called under vmap."""
    return _c.find(op).register_vmap(func)


def opcheck(op, args, kwargs=None, *, test_utils=(), raise_exception: bool = True, atol=None,
            rtol=None) -> dict:  # fmt: skip
    """Call an operator on the example, and its registration for "meta"; raises what they raise."""
    from torchlike._tensor.tensor import Tensor
    from torchlike.func import trees

    asked = (test_utils,) if isinstance(test_utils, str) else tuple(test_utils)
    if not set(asked) <= set(_CHECKS):
        raise ValueError(
            f"opcheck(op, ..., test_utils={asked}), expected test_utils to be subset of {_CHECKS} "
            "but it was not"
        )
    found = _c.find(op)
    out = trees.flatten(found(*args, **(kwargs or {})))[0]
    results = {"test_schema": "SUCCESS"}
    if found._fake is not None:
        meta = trees.map_tree(lambda x: x.to("meta") if isinstance(x, Tensor) else x, tuple(args))
        fake = trees.flatten(found(*meta, **(kwargs or {})))[0]
        results["test_faketensor"] = "SUCCESS"
        for a, b in zip(out, fake, strict=True):
            if isinstance(a, Tensor) and (a.shape != b.shape or a.dtype is not b.dtype):
                results["test_faketensor"] = error = RuntimeError(
                    f"{found}: the fake registration gives {b.dtype} {tuple(b.shape)}, the kernel "
                    f"{a.dtype} {tuple(a.shape)}"
                )
                if raise_exception:
                    raise error
    return {name: result for name, result in results.items() if not asked or name in asked}


_CHECKS = (
    "test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_static",
    "test_aot_dispatch_dynamic",
)  # fmt: skip


class Library:
    """A namespace to define operators in (https://pytorch.org/docs/stable/library.html#torch.library.Library).

    kind is "DEF" for a new namespace, "FRAGMENT" for more of one, "IMPL" for kernels only.
    """

    def __init__(self, ns: str, kind: str, dispatch_key: str = ""):
        if kind not in ("IMPL", "DEF", "FRAGMENT"):
            raise ValueError(f"Unsupported kind: {kind}")
        if ns in ("aten", "prim") and kind != "IMPL":
            raise ValueError(f"{ns} is a reserved namespace. Please try creating a library with "
                             "another name.")  # fmt: skip
        if ns == "aten":
            raise NotSupported(
                "other kernels for PyTorch's own operators", "define one of your own"
            )
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key

    def __repr__(self) -> str:
        return f"Library(kind={self.kind}, ns={self.ns}, dispatch_key={self.dispatch_key})>"

    def define(self, schema: str, alias_analysis: str = "", *, tags=()) -> str:
        """Name an operator, e.g. ``"mul2(Tensor x) -> Tensor"``; returns its name."""
        name, bracket, rest = schema.partition("(")
        define(f"{self.ns}::{name.strip()}", bracket + rest)
        return name.strip()

    def impl(self, op_name, fn, dispatch_key: str = "", *, with_keyset=False,
             allow_override=False) -> None:  # fmt: skip
        """Register what runs for a kind of device."""
        if not callable(fn):
            raise TypeError(
                f"Input function is required to be a callable but found type {type(fn)}"
            )
        name = op_name if isinstance(op_name, str) else _c.find(op_name)._qualname
        name = name if "::" in name else f"{self.ns}::{name}"
        key = dispatch_key or self.dispatch_key
        if key.startswith("Autograd"):
            raise NotSupported(f"a kernel for {key}", "use torch.library.register_autograd")
        impl(name, "cpu" if key == "CPU" else key.lower() or _c.COMPOSITE, fn)


class _scoped_library:
    """A ``with`` block with a Library, whose operators are forgotten at its end."""

    def __init__(self, ns: str, kind: str, dispatch_key: str = ""):
        self._library = Library(ns, kind, dispatch_key)

    def __enter__(self) -> Library:
        self._before = dict(_c._registry)
        return self._library

    def __exit__(self, *exc):
        _c._registry.clear()
        _c._registry.update(self._before)


# ---- not supported -----------------------------------------------------------------------------


def register_torch_dispatch(op, torch_dispatch_class, func=None, /, *, lib=None,
                            allow_override=False) -> None:  # fmt: skip
    """Raises ``NotSupported``: there is no dispatch below the operators."""
    raise NotSupported("library.register_torch_dispatch", "JAX traces the operator itself")


def triton_op(name: str, fn=None, /, *, mutates_args, schema=None):
    """Raises ``NotSupported``: Triton kernels are not called here."""
    raise NotSupported("library.triton_op", "write the kernel in Pallas, and use custom_op")


def wrap_triton(triton_kernel, /):
    """Raises ``NotSupported``: Triton kernels are not called here."""
    raise NotSupported("library.wrap_triton", "write the kernel in Pallas, and use custom_op")


def get_ctx():
    """Raises ``NotSupported``: shapes that depend on data are found by running."""
    raise NotSupported("library.get_ctx", "return a tensor of the true shape")
