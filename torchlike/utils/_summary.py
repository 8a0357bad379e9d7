"""torchlike.summary: the layers of a model, their shapes and what they cost, without running it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._engine.flush import flush
from torchlike._engine.values import Value, aval
from torchlike._tensor.creation import empty
from torchlike._tensor.dispatch import wrap
from torchlike._tensor.generators import get_rng_state, set_rng_state
from torchlike._tensor.modes import enable_grad, modes
from torchlike._tensor.tensor import Tensor
from torchlike.func import trees
from torchlike.nn.modules.module import Module
from torchlike.nn.parameter import UninitializedTensorMixin
from torchlike.utils._flops import FORMULAS, flops_of
from torchlike.utils._kernels import KNOWN, forward_kernels
from torchlike.utils._observer import Observer, samples, shape_of


class LayerSummary(NamedTuple):
    """What a module costs, with all that is in it.

    name              its dotted name in the model; "" is the model
    kind              its class
    depth             0 for the model
    calls             how often it was called
    input_shape       of the first call: a tuple, or a list of them if it got several tensors
    output_shape      likewise
    parameters        numbers in parameters, each parameter once
    trainable         those of them that require grad
    shared            numbers in parameters that a module above it in the table has, too
    flops             of the forward pass, as ``torch.utils.flop_counter`` counts them
    activation_bytes  results of its calls that are kept for backward, not by hooks or checkpoints
    """

    name: str
    kind: str
    depth: int
    calls: int
    input_shape: tuple | list | None
    output_shape: tuple | list | None
    parameters: int
    trainable: int
    shared: int
    flops: int
    activation_bytes: int


class ModelSummary:
    """A row for each module of a model, the totals, and all of it as text by ``str()``.

    rows               LayerSummary, in the order of the modules' definition
    parameters         numbers in parameters, each parameter once; trainable, frozen: those
                       that require grad and those that do not
    parameter_bytes    what they take; buffer_bytes: what the buffers take
    input_bytes        what the inputs take
    flops              of the forward pass
    activation_bytes   intermediate results that are kept for backward, each once
    output_shape       of what the model returns
    """

    def __init__(self, rows: list[LayerSummary], depth: int | None, **totals):
        self.rows, self._depth = rows, depth
        self.parameters: int = totals["parameters"]
        self.trainable: int = totals["trainable"]
        self.frozen: int = self.parameters - self.trainable
        self.parameter_bytes: int = totals["parameter_bytes"]
        self.buffer_bytes: int = totals["buffer_bytes"]
        self.input_bytes: int = totals["input_bytes"]
        self.flops: int = totals["flops"]
        self.activation_bytes: int = totals["activation_bytes"]
        self.output_shape = rows[0].output_shape

    def __getitem__(self, name: str) -> LayerSummary:
        """The row of a module by its dotted name; ``KeyError`` if there is none."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def __str__(self) -> str:
        header = ("layer", "input", "output", "parameters", "FLOPs", "activations")
        lines = [
            (
                "  " * row.depth + (f"{row.name.rpartition('.')[2]}: " if row.name else "")
                + row.kind + (f" (x{row.calls})" if row.calls > 1 else ""),
                _show(row.input_shape), _show(row.output_shape),
                (f"{row.parameters:,}" if row.parameters else "-")
                + (f" ({row.shared:,} shared)" if row.shared else ""),
                _count(row.flops), _bytes(row.activation_bytes),
            )
            for row in self.rows
            if self._depth is None or row.depth <= self._depth
        ]  # fmt: skip
        widths = [max(len(line[i]) for line in (header, *lines)) for i in range(len(header))]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        text = [
            "  ".join(c.ljust(w) if i < 3 else c.rjust(w)
                      for i, (c, w) in enumerate(zip(line, widths))).rstrip()
            for line in (header, *lines)
        ]  # fmt: skip
        text[1:1] = [rule]
        return "\n".join((
            *text, rule,
            f"parameters: {self.parameters:,} ({self.trainable:,} trainable, {self.frozen:,} "
            f"frozen), {_bytes(self.parameter_bytes)}",
            f"buffers: {_bytes(self.buffer_bytes)}, inputs: {_bytes(self.input_bytes)}",
            f"forward pass: {_count(self.flops)} FLOPs, {_bytes(self.activation_bytes)} kept for "
            "backward",
        ))  # fmt: skip

    __repr__ = __str__


def _show(shape) -> str:
    if shape is None:
        return "-"
    if isinstance(shape, list):
        return ", ".join(map(_show, shape))
    return str(list(shape))


def _count(n: int) -> str:
    if not n:
        return "-"
    unit = min(4, (len(str(n)) - 1) // 3)
    return f"{n / 1000**unit:.4g}{('', ' k', ' M', ' G', ' T')[unit]}"


def _bytes(n: int) -> str:
    if not n:
        return "-"
    unit = min(3, (n.bit_length() - 1) // 10)
    return f"{n / 1024**unit:.4g} {('B', 'KiB', 'MiB', 'GiB')[unit]}"


def summary(
    model: Module, input_spec=(), *, dtype: dt.dtype | None = None, depth: int | None = None
) -> ModelSummary:
    """The layers of a model, their shapes, parameters, FLOPs and activation memory.

    The model's forward is called on tensors without data (of the device "meta"): nothing is
    computed, and nothing is allocated but the records. Hooks are called, too; parameters, buffers
    and random numbers are left as they are.

    input_spec   what the model is called with: a shape; a (shape, dtype) pair; a tensor or array,
                 of which only shape and dtype count; a list or tuple of these for several
                 arguments; a dict of them for arguments by name. Anything else (None, a number
                 in a dict, a string) is handed on as it is
    dtype        of shapes that come without one; by default the model's first floating dtype
    depth        how deeply nested layers ``str()`` shows; by default all

    Raises ``NotSupported`` for a forward that needs the numbers in a tensor, or whose lazy layers
    have no shapes yet; what the model raises for inputs of these shapes, it raises here.
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary(model, ...): expected an nn.Module, got {type(model).__name__}")
    tensors = [*model.parameters(), *model.buffers()]
    if any(isinstance(t, UninitializedTensorMixin) for t in tensors):
        raise NotSupported(
            "summary() of a model whose lazy layers have no shapes yet", "call the model once"
        )
    if dtype is None:
        dtype = next((t.dtype for t in tensors if t.is_floating_point()), dt.get_default_dtype())
    args, kwargs = _arguments(input_spec, dtype)
    given = [x for x in trees.flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    seen = _Seen(model)
    call_without_data(model, args, kwargs, seen, "summary()")
    return seen.summary(depth, sum(x._value.aval.nbytes for x in given))


def call_without_data(model, args, kwargs, observer, who: str):
    """What a model returns for tensors without data; ``observer`` hears of its calls."""
    state = get_rng_state()
    try:
        with _without_data(model), enable_grad(), observer:
            return model(*args, **kwargs)
    except RuntimeError as error:
        if "no data" not in str(error) and "on meta tensors" not in str(error):
            raise
        raise NotSupported(
            f"{who} of a model whose forward needs the numbers in a tensor",
            "profile it with torch.utils.flop_counter.FlopCounterMode while it runs",
        ) from error
    finally:
        flush(why=who)  # what is recorded next is for another device
        set_rng_state(state)


# ---- what it is called with --------------------------------------------------------------------


def _is_shape(x) -> bool:
    return isinstance(x, (tuple, list)) and all(
        isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in x
    )


def _is_leaf(x) -> bool:
    """Whether it is one argument, not a sequence of them."""
    if not isinstance(x, (tuple, list)):
        return True
    return (_is_shape(x) and len(x) > 0) or (
        len(x) == 2 and _is_shape(x[0]) and _dtype_of(x[1]) is not None
    )


def _dtype_of(x):
    """A torch dtype, from one or from NumPy's; None if it is none."""
    if isinstance(x, dt.dtype):
        return x
    if isinstance(x, (tuple, list, Tensor)) or x is None:
        return None
    try:
        return dt.BY_NUMPY.get(np.dtype(x))
    except TypeError:
        return None


def _argument(spec, dtype):
    """The tensor without data that a spec describes; what describes none as it is."""
    if _is_shape(spec):
        return empty(tuple(spec), dtype=dtype, device="meta")
    if isinstance(spec, (tuple, list)) and _is_leaf(spec):
        return empty(tuple(spec[0]), dtype=_dtype_of(spec[1]), device="meta")
    if isinstance(spec, (tuple, list)):
        return type(spec)(_argument(x, dtype) for x in spec)
    if isinstance(spec, Tensor):
        return without_data_of(spec).requires_grad_(spec.requires_grad)
    if hasattr(spec, "shape") and hasattr(spec, "dtype"):
        return empty(tuple(spec.shape), dtype=_dtype_of(spec.dtype), device="meta")
    return spec


def _arguments(spec, dtype):
    if isinstance(spec, dict):
        return (), {name: _argument(x, dtype) for name, x in spec.items()}
    if _is_leaf(spec):
        return (_argument(spec, dtype),), {}
    return tuple(_argument(x, dtype) for x in spec), {}


# ---- a model without data ----------------------------------------------------------------------


def without_data_of(t: Tensor) -> Tensor:
    """A tensor of the same shape and dtype, without data."""
    a = t._value.aval
    return wrap(Value(aval(a.shape, a.dtype, devices.META)))


@contextmanager
def _without_data(model: Module):
    """Let every tensor that a model holds stand without data, for a while."""
    stores, made = [], {}
    for part in model.modules():
        stores += [part._parameters, part._buffers, vars(part)]
    before = []
    for store in stores:
        for key, t in store.items():
            if isinstance(t, Tensor) and t.device is not devices.META:
                before.append((store, key, t))
    try:
        for store, key, t in before:
            if id(t) not in made:
                new = without_data_of(t)
                if type(t) is not Tensor:
                    new = new.as_subclass(type(t))
                made[id(t)] = new.requires_grad_(t.requires_grad)
            store[key] = made[id(t)]
        yield
    finally:
        for store, key, t in before:
            store[key] = t


class WithoutData(Observer):
    """Hears of the calls of a model without data."""

    def operands(self, op, operands):
        """Tensors that the model did not register stand for themselves without data."""
        return [
            without_data_of(x) if isinstance(x, Tensor) and x.device is not devices.META else x
            for x in operands
        ]


class _Seen(WithoutData):
    """What a model without data calls."""

    def __init__(self, model: Module):
        super().__init__()
        self.model = model
        self.places = {id(m): name for name, m in model.named_modules()}
        self.open: list[str] = []  # the names of the modules that are being called
        self.calls: dict[str, int] = {}
        self.shapes: dict[str, list] = {}
        self.flops: dict[str, int] = {}
        self.bytes: dict[str, int] = {}
        self._sources: dict = {}  # id of a value: (it, the value whose memory it shows, where made)
        self._kept: set = set()
        self._parameters = [(n, m, dict(m._parameters)) for n, m in model.named_modules()]
        self._buffers = sum(b._value.aval.nbytes for b in model.buffers())

    def entered(self, module, args) -> None:
        name = self.places.get(id(module))
        self.open.append(name)
        if name is not None:
            self.calls[name] = self.calls.get(name, 0) + 1
            if self.calls[name] == 1:
                self.shapes[name] = [_shapes(args), None]

    def left(self, module, output) -> None:
        name = self.open.pop()
        if name is not None and self.shapes[name][1] is None:
            self.shapes[name][1] = _shapes(output)

    def called(self, op, operands, statics, results) -> None:
        if op.name in KNOWN:
            outs = [r._value.aval.shape for r in results]
            shapes = [shape_of(x) for x in operands]
            kernels = forward_kernels(op, shapes, statics, outs, operands)
            flops = sum(flops_of(k) for k in kernels if k.name in FORMULAS) * samples(operands)
            for name in {*self.open, ""} - {None}:
                self.flops[name] = self.flops.get(name, 0) + flops
        where = {*self.open, ""} - {None}
        for r in results:
            source = r._value
            if op.view and isinstance(operands[0], Tensor):
                first = self._sources.get(id(operands[0]._value))
                if first is None:  # a view of an input or a parameter
                    continue
                source, where = first[1], first[2]
            self._sources[id(r._value)] = r._value, source, where
        node = next((r._node for r in results if r._node is not None), None)
        if node is not None and node.saved is not None and modes.saving is None:
            for value in (*node.saved, *(node.results or ())):
                self._keep(value)

    def _keep(self, value) -> None:
        found = self._sources.get(id(value)) if isinstance(value, Value) else None
        if found is None or id(found[1]) in self._kept:
            return
        _, source, where = found
        self._kept.add(id(source))
        for name in where:
            self.bytes[name] = self.bytes.get(name, 0) + source.aval.nbytes

    def summary(self, depth, input_bytes) -> ModelSummary:
        """The rows and totals."""
        rows, total = [], {}
        for name, module, _ in self._parameters:
            below = f"{name}." if name else ""
            own, shared = {}, 0
            for other, _, params in self._parameters:
                if other == name or other.startswith(below):
                    own.update((id(p), p) for p in params.values() if p is not None)
            if not any(p for p in module.children()):
                shared = sum(p.numel() for i, p in own.items() if i in total)
            for _, _, params in (x for x in self._parameters if x[0] == name):
                total.update((id(p), p) for p in params.values() if p is not None)
            shapes = self.shapes.get(name, (None, None))
            rows.append(LayerSummary(
                name, type(module).__name__, name.count(".") + 1 if name else 0,
                self.calls.get(name, 0), shapes[0], shapes[1],
                sum(p.numel() for p in own.values()),
                sum(p.numel() for p in own.values() if p.requires_grad), shared,
                self.flops.get(name, 0), self.bytes.get(name, 0),
            ))  # fmt: skip
        return ModelSummary(
            rows, depth, parameters=sum(p.numel() for p in total.values()),
            trainable=sum(p.numel() for p in total.values() if p.requires_grad),
            parameter_bytes=sum(p._value.aval.nbytes for p in total.values()),
            buffer_bytes=self._buffers, input_bytes=input_bytes,
            flops=self.flops.get("", 0), activation_bytes=self.bytes.get("", 0),
        )  # fmt: skip


def _shapes(x):
    """The shape of the tensor in a structure; a list of them for several, None for none."""
    found = [tuple(t.shape) for t in trees.flatten(x)[0] if isinstance(t, Tensor)]
    return found[0] if len(found) == 1 else found or None


for _kind in (LayerSummary, ModelSummary, summary):
    _kind.__module__ = "torchlike"
