"""One library seen from the suite: values are built from specs and read back into trees."""

from __future__ import annotations

import numpy as np
import torch

import torchlike

from .specs import (
    VIA,
    DataclassSpec,
    GenSpec,
    MissingName,
    ModuleSpec,
    Named,
    SizeSpec,
    TargetError,
    TSpec,
    dtype_name,
    resolve,
)

_WIDER = {"float32": "float64", "complex64": "complex128"}


class Bridge:
    """One library seen from the suite: builds its values and reads them back.

    Every call into the library goes through code that turns its exceptions
    into TargetError / MissingName, so a failure of the library can never be
    mistaken for a failure of the suite or the other way round.
    """

    def __init__(self, module, name=None):
        self.m = module
        self.name = name or module.__name__

    # ---- names

    def get(self, dotted):
        if dotted.startswith("torch."):
            dotted = dotted[len("torch.") :]
        return resolve(self.m, dotted)

    def has(self, dotted):
        try:
            self.get(dotted)
            return True
        except MissingName:
            return False

    @property
    def Tensor(self):
        return self.get("Tensor")

    def is_tensor(self, x):
        try:
            return isinstance(x, self.Tensor)
        except TypeError:
            return False

    def manual_seed(self, seed):
        fn = self.get("manual_seed")
        try:
            fn(seed)
        except Exception as e:
            raise TargetError("manual_seed", e) from e

    # ---- building

    def tensor(self, spec, grad=True, widen=False, force_plain=False):
        dt = spec.dtype
        if widen:
            dt = _WIDER.get(dt, dt)
        req = bool(spec.requires_grad and grad)
        try:
            if spec.layout == "strided":
                dtype = self.get(dt)
                make = self.get("tensor")
                # the caller's array must never be shared with the library
                arr = np.array(spec.data, copy=True)
                if widen and spec.dtype in _WIDER:
                    arr = arr.astype(dt)
                if dt in VIA:
                    t = make(arr, dtype=self.get(VIA[dt])).to(dtype)
                    if req:
                        t = t.requires_grad_()
                else:
                    t = make(arr, dtype=dtype, requires_grad=req)
                if spec.param and not force_plain:
                    t = self.get("nn.Parameter")(t.detach(), requires_grad=req)
                return t
            dtype = self.get(dt)
            vals = self.get("tensor")(spec.data[-1].copy(), dtype=dtype)
            idx = [
                self.get("tensor")(a.copy(), dtype=self.get(dtype_name(a.dtype)))
                for a in spec.data[:-1]
            ]
            fn = self.get(spec.layout + "_tensor")
            return fn(*idx, vals, spec.shape, dtype=dtype, requires_grad=req)
        except (MissingName, TargetError):
            raise
        except Exception as e:
            raise TargetError("building the input", e) from e

    def thaw(self, tree, grad=True, widen=False, leaves=None, memo=None):
        """Build the library's own values from a frozen tree. `leaves`, when a
        list, receives the tensors built with requires_grad, in order; `memo`
        says which tensors already stand for which specs."""
        return self._thaw(tree, {} if memo is None else memo, grad, widen, leaves)

    def _thaw(self, x, memo, grad, widen, leaves):
        def rec(y):
            return self._thaw(y, memo, grad, widen, leaves)

        if isinstance(x, TSpec):
            if id(x) in memo:
                return memo[id(x)]
            t = self.tensor(x, grad=grad, widen=widen)
            memo[id(x)] = t
            if leaves is not None and x.requires_grad and grad:
                leaves.append(t)
            return t
        if isinstance(x, Named):
            if x.kind == "dtype":
                return self.get(_WIDER.get(x.name, x.name) if widen else x.name)
            if x.kind == "device":
                return self._call("device()", self.get("device"), x.name)
            return self.get(x.name)
        if isinstance(x, SizeSpec):
            return self._call("Size()", self.get("Size"), x.dims)
        if isinstance(x, GenSpec):
            g = self._call("Generator()", self.get("Generator"))
            self._call("Generator.manual_seed", g.manual_seed, x.seed)
            return g
        if isinstance(x, DataclassSpec):
            return self._call(x.path, self.get(x.path), **{k: rec(v) for k, v in x.fields.items()})
        if isinstance(x, ModuleSpec):
            m = self._call(x.path, self.get(x.path), *rec(x.args), **rec(x.kwargs))
            if x.state:
                sd = {k: self.tensor(v, grad=False, widen=widen) for k, v in x.state}
                if widen:
                    m = m.double()
                self._call(x.path + ".load_state_dict", m.load_state_dict, sd)
            m.train(x.training)
            return m
        if isinstance(x, slice):
            return slice(rec(x.start), rec(x.stop), rec(x.step))
        if isinstance(x, list):
            return [rec(y) for y in x]
        if isinstance(x, tuple):
            vals = tuple(rec(y) for y in x)
            return type(x)(*vals) if hasattr(x, "_fields") else vals
        if isinstance(x, dict):
            return {k: rec(v) for k, v in x.items()}
        return x

    def _call(self, stage, fn, *a, **k):
        try:
            return fn(*a, **k)
        except (MissingName, TargetError):
            raise
        except Exception as e:
            raise TargetError(stage, e) from e

    # ---- reading back

    def export(self, t):
        """(numpy array, dtype name, layout) of one of the library's tensors."""
        try:
            name = dtype_name(t.dtype)
            layout = "strided"
            lay = getattr(t, "layout", None)
            if lay is not None:
                layout = str(lay).rsplit(".", 1)[-1]
            shape = tuple(int(d) for d in t.shape)
            u = t.detach().cpu()
            if layout != "strided":
                u = u.to_dense()
            if name in ("bfloat16",) or name.startswith("float8"):
                u = u.float()
            elif name == "complex32":
                u = u.to(self.get("complex64"))
            if isinstance(u, torch.Tensor):  # torch's lazy views: conj, neg, ZeroTensor
                arr = u.resolve_conj().resolve_neg().numpy(force=True)
                return self._leaf(t, arr, name, layout, shape)
            try:
                arr = u.numpy()
            except Exception:
                # conj/neg views, where the library has them
                if not hasattr(u, "resolve_conj"):
                    raise
                arr = u.resolve_conj().resolve_neg().numpy()
            return self._leaf(t, arr, name, layout, shape)
        except (MissingName, TargetError):
            raise
        except Exception as e:
            raise TargetError("reading the output", e) from e

    @staticmethod
    def _leaf(t, arr, name, layout, shape):
        return Leaf(
            "tensor",
            arr=np.array(arr, copy=True),
            dtype=name,
            layout=layout,
            shape=shape,
            requires_grad=bool(getattr(t, "requires_grad", False)),
        )

    def read(self, x):
        """Tree of Leafs for anything an operator may return."""
        if self.is_tensor(x):
            return self.export(x)
        if x is None:
            return Leaf("none")
        if isinstance(x, Flag):
            return Leaf("flag", text=x.text, value=x.value)
        if isinstance(x, (tuple, list)):
            kind = "list" if isinstance(x, list) else "tuple"
            kids = [self.read(y) for y in x]
            fields = None
            if kind == "tuple":
                if hasattr(x, "_fields"):
                    fields = tuple(x._fields)
                elif hasattr(type(x), "n_sequence_fields"):
                    fields = tuple(type(x).__match_args__)
                try:
                    if isinstance(x, self.get("Size")):
                        kind = "Size"
                except (MissingName, TypeError):
                    pass
            return Leaf("seq", seq=kind, kids=kids, fields=fields, obj=x)
        if isinstance(x, dict):
            return Leaf("dict", keys=list(x.keys()), kids=[self.read(v) for v in x.values()])
        if isinstance(x, (bool, int, float, complex, str)):
            return Leaf("scalar", value=x, type=type(x).__name__)
        if type(x).__name__ == "dtype" or "dtype" in type(x).__name__.lower():
            return Leaf("scalar", value=dtype_name(x), type="dtype")
        if isinstance(x, np.generic):
            return Leaf("scalar", value=x.item(), type="numpy." + type(x).__name__)
        return Leaf("object", type=type(x).__name__, value=repr(x)[:120])

    def read_type(self, t):
        """A leaf without numbers: dtype and shape, which need no computation."""
        shape = tuple(int(d) for d in t.shape)
        return Leaf("tensor", arr=np.zeros(shape), dtype=dtype_name(t.dtype), shape=shape)

    def tensors_in(self, x, out=None):
        """The library's own tensors inside an output, in order."""
        if out is None:
            out = []
        if self.is_tensor(x):
            out.append(x)
        elif isinstance(x, (list, tuple)):
            for y in x:
                self.tensors_in(y, out)
        elif isinstance(x, dict):
            for y in x.values():
                self.tensors_in(y, out)
        return out


class Flag:
    """A fact found out about a call, always compared exactly."""

    def __init__(self, text, value):
        self.text, self.value = text, bool(value)


class Leaf:
    def __init__(self, kind, **kw):
        self.kind = kind
        self.__dict__.update(kw)

    def __repr__(self):
        d = {k: v for k, v in self.__dict__.items() if k not in ("arr", "obj")}
        return f"Leaf({d})"


ORACLE = Bridge(torch)
OURS = Bridge(torchlike)
