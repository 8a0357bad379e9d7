"""Dispatch: from a call on tensors to a recorded op, its results and its place on the tape."""

from __future__ import annotations

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import (
    DeviceMismatch,
    NotSupported,
    NotTraceable,
    SparseOperand,
    not_a_tensor,
    type_name,
    user_line,
    warn,
)
from torchlike._core.symbolic import SymFloat, SymInt, tracing
from torchlike._engine.bodies import is_inside
from torchlike._engine.prefix import record
from torchlike._engine.values import Batched, Value, epoch_of
from torchlike._ops.table import TABLE, Dim, Op
from torchlike._tensor.modes import memory_lock, modes
from torchlike._tensor.tape import Node, keep_retained

# Classes whose instances are tensors; tensor.py and every subclass add themselves.
TENSORS: set = set()
_Tensor = None  # set by tensor.py
_write_through = None  # set by views.py: how a view's new value reaches its base
_publish = None  # set by views.py: how a storage gets a new value
_in_common = None  # set by views.py: whether two tensors have memory in common
_check_rebase = None  # set by views.py: whether autograd may write through a view
_cross_operands = None  # set by levels.py: how operands from outside come to a level of vmap
_sparse_call = None  # set by sparse/rules.py: what an op does with sparse tensors
_sparse_fit = None  # set by sparse/arithmetic.py: what goes into a tensor of another layout
_check_rebind = None  # set by levels.py: what an in-place op may write under vmap
_subclassed = None  # set by overriding.py: told of every new class of tensors
_plain = None  # set by watching.py: ``apply`` with its own code
_new = object.__new__
FLOATING = dt.FLOATING
# Ops that are not pointwise, but whose ``out=`` may be their input or nothing of it, too.
_BESIDE = frozenset((
    "bitwise_not", "complex", "cumprod", "cumsum", "gcd", "heaviside", "lcm", "logcumsumexp",
    "nan_to_num", "nextafter", "polar", "special_zeta",
))  # fmt: skip
_NUMBERS = {float, int, bool, complex, type(None)}


def apply(op: Op, operands, statics=()):
    """Call an op on tensors and numbers; a Tensor, or a tuple of them for several results."""
    values = []
    targets = []  # where gradients go, for the operands whose bits are set in ``need``
    need, bit = 0, 1
    for x in operands:
        kind = x.__class__
        if kind in TENSORS:
            storage = x._storage
            if storage is not None and x._seen != storage.version:
                x._sync()
            values.append(x._value)
            node = x._node
            if node is not None:
                targets.append((node, x._index))
                need |= bit
            elif x._requires_grad:
                targets.append(x)
                need |= bit
        elif kind in _NUMBERS:
            values.append(x)
        else:
            values.append(number(op, x, len(values)))
        bit += bit
    try:
        results, call = record(op, statics, values)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        results, call = record(op, _frozen(op, statics), values)
    except OverflowError:
        if not any(x.__class__ is int and 2**63 <= x < 2**64 for x in values):
            raise
        values = _within_int64(op, values, statics)
        results, call = record(op, statics, values)
    except SparseOperand:
        return _sparse_call(op, operands, statics)
    except DeviceMismatch:
        moved = beside_numbers(op, operands)
        if moved is None:
            raise
        return apply(op, moved, statics)
    if (
        not need or not (modes.grad or (modes.dual is not None and modes.dual(targets)))
        or not op.differentiable
    ):  # fmt: skip
        if len(results) == 1:
            out = _new(_Tensor)
            out._value = results[0]
            return out
        return tuple([wrap(v) for v in results])
    if results[0].array.__class__ is Batched:
        targets = _cross_operands(values, need, targets, results[0])
    node = Node(op, call, need, targets, values, results)
    if len(results) == 1:
        out = _new(_Tensor)
        out._value = results[0]
        if results[0].aval.dtype.category >= FLOATING:
            out._node = node
        return out
    out = []
    for i, v in enumerate(results):
        t = wrap(v)
        if v.aval.dtype.category >= FLOATING:
            t._node, t._index = node, i
        out.append(t)
    return tuple(out)


def watched(op: Op, operands, statics=()):
    """``apply`` while autocast or hooks on saved tensors are on: watching.py lends it this code."""
    if modes.cast is not None:
        operands, statics = modes.cast(op, operands, statics)
    around = modes.around
    out = (_plain if around is None else around)(op, operands, statics)
    if modes.saving is not None and modes.grad:
        modes.saving(out)
    return out


def wrap(value: Value):
    """A fresh tensor, off the tape, that shows a value."""
    out = _new(_Tensor)
    out._value = value
    return out


def history(value: Value, edge):
    """A tensor for a saved value that sits on the tape where ``edge`` says."""
    if edge is None:
        return wrap(value)
    if edge.__class__ is tuple:
        out = wrap(value)
        out._node, out._index = edge
        return out
    if edge._value is value:
        return edge
    out = apply(TABLE["clone"], (edge,))  # overwritten since: the value as it was, the same history
    out._value = value
    return out


def to_tensor(grad):
    """A gradient as a Tensor."""
    return wrap(grad) if grad.__class__ is Value else grad


def to_value(grad):
    """A gradient as a Value."""
    if grad is None or grad.__class__ is Value or grad._sparse:  # sparse ones stay tensors
        return grad
    return value_of(grad)


def add_tensors(a, b):
    """a + b on the tape."""
    if a._sparse and not b._sparse:
        a, b = b, a
    return apply(TABLE["add"], (a, b, None))


def value_of(t) -> Value:
    """The current value of a tensor."""
    storage = t._storage
    if storage is not None and t._seen != storage.version:
        t._sync()
    return t._value


def aval_of(t):
    """What is known of a tensor without its numbers; raises ``TypeError`` for what is none."""
    try:
        return t._value.aval
    except AttributeError as error:
        raise (not_a_tensor(error) or error) from None


def number(op: Op, x, position: int):
    """An operand that is no tensor and no plain Python number: convert it or refuse it."""
    if isinstance(x, _Tensor):
        TENSORS.add(type(x))
        return value_of(x)
    if isinstance(x, np.generic):
        return float(x) if isinstance(x, np.bool_) else x.item()  # no bool: PyTorch makes it 1.0
    if isinstance(x, (bool, int, float, complex)):
        return next(kind(x) for kind in (bool, int, float, complex) if isinstance(x, kind))
    if isinstance(x, (SymInt, SymFloat)):
        return x
    if hasattr(x, "__torchlike_number__"):
        return x.__torchlike_number__()
    if hasattr(type(x), "__torch_function__"):
        raise NotSupported(
            f"{op.name}() of a {type(x).__name__}, which has __torch_function__ but is no Tensor",
            "derive its class from torch.Tensor, or call torch.overrides.watch_objects() before",
        )
    name = op.inputs[position].name if op.list_at is None else op.inputs[op.list_at].name
    raise TypeError(
        f"{op.public_name}(): argument '{name}' (position {position + 1}) must be Tensor, not "
        f"{type_name(x)}"
    )


def _within_int64(op: Op, values, statics) -> list:
    """The operands of a call with a number of 64 bits without a sign, as PyTorch reads that number:
    beside floating-point numbers as one of them, in integer arithmetic by its bits."""
    kinds = [x.aval.dtype for x in values if x.__class__ is Value]
    kinds = kinds or [d for d in statics if isinstance(d, dt.dtype)]
    widest = max((d.category for d in kinds), default=FLOATING)
    pair = [p.name for p in op.inputs[:2]] == ["input", "other"]
    changed = list(values)
    for i, x in enumerate(values):
        if x.__class__ is not int or x < 2**63:
            continue
        if widest == dt.BOOL and op.promotes in ("result", "float"):
            raise RuntimeError(
                "Promotion for uint16, uint32, uint64 types is not supported, attempted to promote "
                "Bool and UInt64"
            )
        if widest >= FLOATING or op.promotes == "float":
            changed[i] = float(x)
        elif widest == dt.BOOL or dt.uint64 in kinds or (pair and i not in op.run_time):
            changed[i] = x - 2**64
        else:
            raise RuntimeError("value cannot be converted to type int64_t without overflow")
    return changed


def beside_numbers(op: Op, operands):
    """The operands with those of the CPU that are 0-d moved to where the others are, or None.

    PyTorch lets them stand beside tensors of any device, as numbers do, where dtypes promote.
    """
    tensors = [x for x in operands if isinstance(x, _Tensor)]
    found = {x.device for x in tensors if x.ndim or x.device.type != "cpu"}
    if op.promotes is None or len(found) != 1 or devices.CPU in found:
        return None
    (device,) = found
    return [x.to(device) if isinstance(x, _Tensor) else x for x in operands]


def _frozen(op: Op, statics) -> tuple:
    """Static arguments as the key wants them; a dimension is an int, no array of one."""
    for p, x in zip(op.statics, statics, strict=True):
        array = isinstance(x, np.ndarray) or (isinstance(x, _Tensor) and x.ndim)
        if array and p.name == "dim" and p.annotation is Dim:
            raise TypeError(f"{op.public_name}(): argument 'dim' must be int, not {type_name(x)}")
    return freeze(op, statics)


def freeze(op: Op, x):
    """Static arguments as the key wants them: lists as tuples, 0-d tensors as numbers."""
    if isinstance(x, (tuple, list)):
        return tuple(freeze(op, y) for y in x)
    if isinstance(x, np.ndarray):
        return tuple(x.tolist()) if x.ndim else x.item()
    if isinstance(x, _Tensor):
        if x.requires_grad:  # as a number it would have no gradient
            raise TypeError(f"{op.public_name}() takes a Number, not a Tensor that requires grad")
        return x.item()
    try:
        hash(x)
    except TypeError:
        raise TypeError(f"{op.name}(): cannot use {type(x).__name__} as an argument") from None
    return x


# ---- in-place ----------------------------------------------------------------------------------


def apply_inplace(op: Op, operands, statics=()):
    """The in-place form of any op: compute, check that it fits, rebind the first operand."""
    target = operands[0]
    check_inplace(target)
    if target._storage is not None and writes_beside(op):
        check_beside(target, operands)
    with memory_lock:
        result = apply(op, operands, statics)
        if isinstance(result, tuple):
            result = result[0]
        if result._node is not None:
            result._node.own = target._value
        return rebind(target, fit(target, result))


def check_inplace(target) -> None:
    """Raise PyTorch's errors for in-place ops that autograd cannot follow."""
    if not isinstance(target, _Tensor):
        raise TypeError(f"in-place operation on {type(target).__name__}, which is no Tensor")
    if not modes.grad:
        return
    base = target._base
    if base is not None and (
        target._requires_grad or target._node is not None
        or base._requires_grad or base._node is not None
    ):  # fmt: skip
        _check_rebase(target)
        if base._node is None or base._requires_grad:
            raise RuntimeError(
                "a view of a leaf Variable that requires grad is being used in an in-place "
                "operation."
            )
    if target._requires_grad:
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation."
        )


def fit(target, result):
    """The result with the target's dtype; raises if its shape or dtype cannot go there."""
    a, b = target._value.aval, result._value.aval
    if a.shape != b.shape:
        raise RuntimeError(
            f"output with shape {list(a.shape)} doesn't match the broadcast shape {list(b.shape)}"
        )
    if a.dtype is not b.dtype:
        if not dt.can_cast(b.dtype, a.dtype):
            raise RuntimeError(
                f"result type {dt.SCALAR_NAMES[b.dtype]} can't be cast to the desired output type "
                f"{dt.SCALAR_NAMES[a.dtype]}"
            )
        result = apply(TABLE["to_dtype"], (result,), (a.dtype,))
    return result


def rebind(target, result, fills=False):
    """Let ``target`` and all its views show ``result``; the one place where a tensor mutates."""
    if result._sparse is not target._sparse:
        result = _sparse_fit(target, result)
    if modes.sealed and not is_inside(target._value):
        raise NotTraceable("changing a captured tensor in place")
    if tracing.scope is not None:
        tracing.scope.note_write(target)
    line = user_line()
    if result._value.array.__class__ is Batched:
        result._value = _check_rebind(target, result)
    if modes.grad and result._node is None and target._node is not None and target._base is None:
        result = apply(TABLE["overwrite"], (target, result))  # nothing flows to what was there
    if modes.scopes and result._node is not None and modes.grad:
        base = target if target._base is None else target._base
        if base._node is None:  # it comes on the tape
            modes.written.append(base)
    storage = target._storage
    if storage is None:
        epoch_of(target._value).line = line
        target._value = result._value
        target._version_count += 1
        if result._node is not None and (modes.grad or modes.dual is not None):
            target._node, target._index = result._node, result._index
            target._requires_grad = False
            if target._retains:
                keep_retained(target)
        return target
    if storage.parted is not None:
        storage = storage.parted.leave(target)
    with memory_lock:
        if target._chain:
            _write_through(target, result, line, fills)
            return target
        target._seen = _publish(storage, result._value, line, target._silent)
        target._value = result._value
        if result._node is not None and (modes.grad or modes.dual is not None):
            target._node, target._index = result._node, result._index
            target._requires_grad = False
            if target._retains:
                keep_retained(target)
            if not target._detached:
                storage.node, storage.index = result._node, result._index
    return target


def into(out, result, exact=False, apart=(), beside=()):
    """The result, written into ``out`` if one is given; the rest as for ``copy_out``."""
    return result if out is None else copy_out(out, result, exact, apart, beside)


def check_beside(out, inputs, either="partly") -> None:
    """Raise ``RuntimeError`` if what is written has a part of its memory in common with an input.

    It may be an input, as a whole: ``add(x, y, out=x)``.
    """
    if out._storage is None and either == "partly":
        return
    for x in inputs:
        if isinstance(x, _Tensor) and (found := _in_common(out, x)) and found in either:
            raise RuntimeError(
                "unsupported operation: some elements of the input tensor and the written-to "
                "tensor refer to a single memory location. Please clone() the tensor before "
                "performing the operation."
            )


def writes_beside(op: Op) -> bool:
    """Whether what an op writes may be one of its inputs, but no part of one."""
    return op.pointwise or op.name in _BESIDE


def check_apart(out, inputs) -> None:
    """Raise ``RuntimeError`` if what is written has memory in common with an input."""
    check_beside(out, inputs, ("partly", "wholly"))


def copy_out(out, result, exact=False, apart=(), beside=()):
    """Write the result of a call with ``out=`` into ``out`` and return it.

    ``exact``: the dtypes must be equal, as PyTorch wants it of ops without promotion, those with
    several results among them; a text is what to say where they are not. ``apart``: tensors that
    may have no memory in common with ``out``; ``beside``: those that may be ``out`` itself, but no
    part of it.
    """
    if isinstance(result, tuple):
        if not isinstance(out, (tuple, list)) or len(out) != len(result):
            raise TypeError(f"out= must be a tuple of {len(result)} Tensors")
        pairs = [*zip(out, result, strict=True)]
        # All, before any is written.
        pairs = [(o, _as_out(o, r, True, apart, beside)) for o, r in pairs]
        for o, r in pairs:
            _write_out(o, r)
        return out if not isinstance(out, list) else tuple(out)
    return _write_out(out, _as_out(out, result, exact, apart, beside))


_OTHER_OUT = "Expected out tensor to have dtype {c_want}, but got {c_got} instead"
CONTRACTED_OUT = (
    "tensordot: Expected the output tensor to have dtype {want}, but got an output tensor with "
    "dtype {got}"
)
FLAGS_OUT = {
    name: f"{name} only supports bool tensor for result, got: {{got}}" for name in ("all", "any")
}
_FLAGS_OUT = tuple(FLAGS_OUT.values())


def _refusal(words, got, want) -> str:
    """What to say of an ``out`` of dtype ``got``."""
    names, kinds = dt.SCALAR_NAMES, dt.C_NAMES
    return words.format(
        got=names[got], want=names[want], c_got=kinds.get(got, got.name),
        c_want=kinds.get(want, want.name),
    )  # fmt: skip


def _as_out(out, result, exact, apart, beside):
    """The result as ``out`` takes it; raises if it does not."""
    if not isinstance(out, _Tensor):
        raise TypeError(f"argument 'out' must be Tensor, not {type_name(out)}")
    if modes.grad and (out.requires_grad or result.requires_grad):
        raise RuntimeError(
            "out=... arguments don't support automatic differentiation, but one of the arguments "
            "requires grad."
        )
    check_apart(out, apart)
    check_beside(out, beside)
    a, b = out._value.aval, result._value.aval
    if a.device is not b.device:
        raise RuntimeError(
            f"Expected out tensor to have device {b.device}, but got {a.device} instead"
        )
    if a.dtype is b.dtype:
        return result
    if exact.__class__ is str:
        if a.dtype is dt.uint8 and exact in _FLAGS_OUT:  # the flags of 2017
            return apply(TABLE["to_dtype"], (result,), (a.dtype,))
        raise RuntimeError(_refusal(exact, a.dtype, b.dtype))
    if exact:
        raise RuntimeError(_refusal(_OTHER_OUT, a.dtype, b.dtype))
    if not dt.can_cast(b.dtype, a.dtype):
        raise RuntimeError(
            f"result type {dt.SCALAR_NAMES[b.dtype]} can't be cast to the desired output type "
            f"{dt.SCALAR_NAMES[a.dtype]}"
        )
    return apply(TABLE["to_dtype"], (result,), (a.dtype,))


def _write_out(out, result):
    a, b = out._value.aval, result._value.aval
    if a.shape != b.shape and a.numel:
        warn(
            "An output with one or more elements was resized since it had shape "
            f"{list(a.shape)}, which does not match the required output shape {list(b.shape)}. "
            "This behavior is deprecated, and in a future PyTorch release outputs will not be "
            "resized unless they have zero elements. You can explicitly reuse an out tensor t by "
            "resizing it, inplace, to zero elements with t.resize_(0)."
        )
    if a.shape != b.shape and out._storage is not None:  # others may see the same memory
        out.resize_(b.shape)
    return rebind(out, result)
