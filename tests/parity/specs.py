"""Values without a library: a sample frozen to NumPy data, so that two libraries can be asked."""

from __future__ import annotations

import dataclasses
import importlib
import types

import numpy as np
import torch


class MissingName(Exception):
    """The library has no such public name."""

    def __init__(self, name):
        super().__init__(name)
        self.name = name


class TargetError(Exception):
    """A library raised; `stage` says where."""

    def __init__(self, stage, exc):
        self.stage = stage
        self.exc = exc
        super().__init__(f"{stage}: {describe_exc(exc)}")


class Unconvertible(Exception):
    """A sample holds something that cannot be moved to another library."""


def describe_exc(exc, limit=240):
    """Type and text of an exception, on one line."""
    text = " ".join(str(exc).split())
    if len(text) > limit:
        text = text[:limit] + "..."
    return f"{type(exc).__name__}: {text}"


def resolve(root, dotted):
    """root.a.b.c, importing submodules where they are not attributes yet."""
    obj = root
    path = []
    for part in dotted.split("."):
        path.append(part)
        try:
            obj = getattr(obj, part)
        except AttributeError:
            modname = getattr(root, "__name__", None)
            nxt = None
            if modname and isinstance(obj, types.ModuleType) and "__path__" in vars(obj):
                try:
                    nxt = importlib.import_module(f"{modname}.{'.'.join(path)}")
                except Exception:
                    nxt = None
            if nxt is None:
                raise MissingName(dotted) from None
            obj = nxt
        except MissingName:
            raise
        except Exception:  # some names say in another way that they are not there
            raise MissingName(dotted) from None
    return obj


# namespaces searched to find the public path of a torch function or class
_PUBLIC_NAMESPACES = ("nn.functional", "nn", "", "linalg", "special", "fft", "optim")


def public_path(obj):
    """Public dotted path of a torch function/class ('nn.functional.gelu')."""
    name = getattr(obj, "__name__", None)
    if not name:
        return None
    for ns in _PUBLIC_NAMESPACES:
        try:
            holder = resolve(torch, ns) if ns else torch
        except MissingName:
            continue
        if getattr(holder, name, None) is obj:
            return f"{ns}.{name}" if ns else name
    return None


class TSpec:
    """A tensor: numpy data, dtype name, requires_grad, layout."""

    __slots__ = ("key", "data", "dtype", "requires_grad", "layout", "param", "shape")

    def __init__(self, key, data, dtype, requires_grad, layout="strided", param=False, shape=None):
        self.key = key
        self.data = data
        self.dtype = dtype
        self.requires_grad = requires_grad
        self.layout = layout
        self.param = param
        self.shape = shape

    def __repr__(self):
        return f"T({self.dtype}{list(self.shape)}{'*' if self.requires_grad else ''})"


class Named:
    """torch.float32, torch.strided, torch.channels_last, a torch function, ..."""

    __slots__ = ("kind", "name")

    def __init__(self, kind, name):
        self.kind = kind
        self.name = name

    def __repr__(self):
        return f"{self.kind}:{self.name}"


class GenSpec:
    """A generator, by its seed."""

    __slots__ = ("seed",)

    def __init__(self, seed):
        self.seed = seed


class DataclassSpec:
    __slots__ = ("path", "fields")

    def __init__(self, path, fields):
        self.path = path
        self.fields = fields

    def __repr__(self):
        return f"{self.path}({self.fields})"


class ModuleSpec:
    """An nn.Module used as an argument: class path, constructor, state."""

    __slots__ = ("path", "args", "kwargs", "state", "training")

    def __init__(self, path, args, kwargs, state, training):
        self.path, self.args, self.kwargs = path, args, kwargs
        self.state, self.training = state, training

    def __repr__(self):
        return f"{self.path}(...)"


class SizeSpec:
    __slots__ = ("dims",)

    def __init__(self, dims):
        self.dims = dims

    def __repr__(self):
        return f"Size{self.dims}"


def dtype_name(dt):
    """float32, of either library's dtype."""
    return str(dt).rsplit(".", 1)[-1]


# dtypes numpy cannot hold; moved through a wider one that holds every value
VIA = {
    "bfloat16": "float32",
    "complex32": "complex64",
    "float8_e4m3fn": "float32",
    "float8_e5m2": "float32",
    "float8_e4m3fnuz": "float32",
    "float8_e5m2fnuz": "float32",
}


def _module_ctor(m):
    """Constructor arguments of the few module instances that PyTorch's
    databases pass as arguments."""
    cls = type(m).__name__
    if cls == "PairwiseDistance":
        return (), dict(p=m.norm, eps=m.eps, keepdim=m.keepdim)
    if cls == "TransformerEncoderLayer":
        act = m.activation
        return (), dict(
            d_model=m.self_attn.embed_dim,
            nhead=m.self_attn.num_heads,
            dim_feedforward=m.linear1.out_features,
            dropout=m.dropout.p,
            activation=act,
            layer_norm_eps=m.norm1.eps,
            batch_first=m.self_attn.batch_first,
            norm_first=m.norm_first,
            bias=m.linear1.bias is not None,
        )
    raise Unconvertible(f"module argument {cls}")


def _np(t):
    t = t.detach()
    name = dtype_name(t.dtype)
    if name in VIA:
        t = t.to(getattr(torch, VIA[name]))
    return np.array(t.resolve_conj().resolve_neg().cpu().numpy(), copy=True)


class Freezer:
    """Freezes one sample; the same tensor object always gives the same spec."""

    def __init__(self):
        self.memo = {}
        self.keep = []

    def __call__(self, x):
        if x is None or isinstance(x, (bool, int, float, complex, str, bytes)):
            return x
        if x is Ellipsis or isinstance(x, (np.ndarray, np.generic)):
            return x
        if isinstance(x, torch.Tensor):
            return self.tensor(x)
        if isinstance(x, torch.Size):
            return SizeSpec(tuple(x))
        if isinstance(x, torch.dtype):
            return Named("dtype", dtype_name(x))
        if isinstance(x, torch.device):
            return Named("device", x.type)
        if isinstance(x, torch.memory_format):
            return Named("memory_format", str(x).rsplit(".", 1)[-1])
        if isinstance(x, torch.layout):
            return Named("layout", str(x).rsplit(".", 1)[-1])
        if isinstance(x, torch.Generator):
            return GenSpec(x.initial_seed())
        if isinstance(x, slice):
            return slice(self(x.start), self(x.stop), self(x.step))
        if isinstance(x, list):
            return [self(y) for y in x]
        if isinstance(x, tuple):
            vals = tuple(self(y) for y in x)
            return type(x)(*vals) if hasattr(x, "_fields") else vals
        if isinstance(x, dict):
            return {k: self(v) for k, v in x.items()}
        if isinstance(x, torch.nn.Module):
            args, kwargs = _module_ctor(x)
            path = public_path(type(x))
            if path is None:
                raise Unconvertible(f"module argument {type(x).__name__}")
            state = [(k, self.tensor(v)) for k, v in x.state_dict().items()]
            return ModuleSpec(path, self(args), self(kwargs), state, x.training)
        if dataclasses.is_dataclass(x):
            path = public_path(type(x))
            if path is None:
                raise Unconvertible(f"dataclass {type(x).__name__}")
            return DataclassSpec(
                path, {f.name: self(getattr(x, f.name)) for f in dataclasses.fields(x)}
            )
        if callable(x):
            path = public_path(x)
            if path is not None:
                return Named("callable", path)
        raise Unconvertible(f"{type(x).__module__}.{type(x).__name__}")

    def tensor(self, t):
        key = id(t)
        if key in self.memo:
            return self.memo[key]
        self.keep.append(t)  # so that ids stay unique
        layout = str(t.layout).rsplit(".", 1)[-1]
        param = isinstance(t, torch.nn.Parameter)
        if t.device.type != "cpu":
            raise Unconvertible(f"tensor on device {t.device.type}")
        if t.is_nested or t.is_quantized:
            raise Unconvertible("nested or quantized tensor")
        if t.dim() > 64:
            raise Unconvertible("more than 64 dimensions (numpy's limit)")
        if layout == "strided":
            data = _np(t)
        elif layout == "sparse_coo":
            t2 = t.detach().coalesce()
            data = (_np(t2.indices()), _np(t2.values()))
        elif layout in ("sparse_csr", "sparse_csc"):
            a = "crow_indices" if layout == "sparse_csr" else "ccol_indices"
            b = "col_indices" if layout == "sparse_csr" else "row_indices"
            t2 = t.detach()
            data = (_np(getattr(t2, a)()), _np(getattr(t2, b)()), _np(t2.values()))
        else:
            raise Unconvertible(f"layout {layout}")
        spec = TSpec(
            len(self.memo),
            data,
            dtype_name(t.dtype),
            t.requires_grad,
            layout,
            param,
            tuple(t.shape),
        )
        self.memo[key] = spec
        return spec


def spec_tensors(x, out=None):
    """Tensor specs of a frozen tree, in order, each once."""
    if out is None:
        out = []
    if isinstance(x, TSpec):
        if all(x is not y for y in out):
            out.append(x)
    elif isinstance(x, (list, tuple)):
        for y in x:
            spec_tensors(y, out)
    elif isinstance(x, dict):
        for y in x.values():
            spec_tensors(y, out)
    elif isinstance(x, slice):
        spec_tensors((x.start, x.stop, x.step), out)
    elif isinstance(x, DataclassSpec):
        spec_tensors(x.fields, out)
    return out
