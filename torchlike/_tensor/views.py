"""Storage and views: the one mutable cell that a tensor and its views share, read and written."""

from __future__ import annotations

import weakref
from math import prod

import numpy as np

from torchlike._core.errors import SparseView
from torchlike._engine.bodies import is_inside, outside
from torchlike._engine.values import epoch_of
from torchlike._ops.table import TABLE, Op
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply
from torchlike._tensor.modes import enable_grad, modes, no_grad

_new = object.__new__


class Storage:
    """What a tensor and its views share: the root's value and history, and a version counter.

    silent counts the versions that came through ``.data``, which autograd does not see; geometry
    is (strides, offset) of the root if it is not row-major; array and filled are bridge.py's.
    """

    __slots__ = (
        "_held", "array", "filled", "geometry", "identity", "index", "silent", "value", "version",
    )  # fmt: skip

    def __deepcopy__(self, memo):
        return self  # who copies a tensor's attributes copies no data

    def __init__(self, tensor):
        self.value = tensor._value
        self.node, self.index = tensor._node, tensor._index
        self.version, self.silent = tensor._version_count, 0
        self.geometry = tensor._geometry
        self.identity = None

    @property
    def node(self):
        """The history of the root, which its handles on the tape hold: a detached one alone keeps
        no history alive, nor all that it has saved."""
        held = self._held
        return None if held is None else held()

    @node.setter
    def node(self, node) -> None:
        self._held = None if node is None else weakref.ref(node)


def storage_of(tensor) -> Storage:
    """The tensor's storage, made now if this is the second handle to it."""
    storage = tensor._storage
    if storage is None:
        storage = tensor._storage = Storage(tensor)
        tensor._seen = storage.version
    return storage


def version_of(tensor) -> int:
    """How often a tensor's memory was written, as autograd sees it."""
    storage = tensor._storage
    if storage is None:
        return tensor._version_count
    return storage.silent if tensor._silent else storage.version - storage.silent


# A handle reads the storage's root through ``_chain``. Its history hangs on ``_base``, the tensor
# that PyTorch calls so, whose own chain is a prefix of it (empty unless the base was detached from
# a view). A handle without a base carries its history itself.


def apply_view(op: Op, tensor, numbers=(), statics=()):
    """Call a view op: the result shares the tensor's storage, read through the op."""
    if tensor._storage is not None and tensor._seen != tensor._storage.version:
        tensor._sync()
    try:
        out = apply(op, (tensor, *numbers), statics)
    except SparseView as found:
        return found.result
    if out.__class__ is not tuple:
        return attach(out, tensor, (op, numbers, statics, 0))
    return tuple([attach(part, tensor, (op, numbers, statics, i)) for i, part in enumerate(out)])


def attach(out, tensor, link):
    """Make ``out``, just read from ``tensor`` by ``link``, a view of it."""
    storage = tensor._storage
    if storage is None:
        storage = storage_of(tensor)
    out._storage = storage
    out._chain = (*tensor._chain, link)
    out._base = tensor if tensor._base is None else tensor._base
    out._seen = storage.version
    if tensor._silent:
        out._silent = True
    if not modes.grad:
        out._made = "no_grad"
    elif tensor._made is not None:
        out._made = tensor._made
    out._value.epoch = epoch_of(storage.value)
    return out


def detach(tensor):
    """A handle to the same storage that is off the tape."""
    if tensor._storage is not None and tensor._seen != tensor._storage.version:
        tensor._sync()
    storage = storage_of(tensor)
    out = _new(dispatch._Tensor)
    out._value = tensor._value
    out._storage, out._seen = storage, storage.version
    out._chain = tuple([link for link in tensor._chain if link[0].name != "alias"])
    out._detached = True
    if tensor._silent:
        out._silent = True
    return out


def root_handle(tensor):
    """A handle off the tape to the whole storage that a detached view looks at a part of."""
    storage = tensor._storage
    out = dispatch.wrap(storage.value)
    out._storage, out._seen, out._detached = storage, storage.version, True
    out._silent = tensor._silent
    return out


def data_of(tensor):
    """The handle that ``.data`` gives: writes through it are not seen by autograd."""
    out = detach(tensor)
    out._silent = True
    return out


def sync(tensor) -> None:
    """Bring a handle up to date with its storage by replaying its reads."""
    storage, base = tensor._storage, tensor._base
    if modes.bodies and not is_inside(storage.value):
        modes.bodies -= 1
        try:
            with outside():
                return sync(tensor)
        finally:
            modes.bodies += 1
    if base is not None:
        if base._seen != storage.version:
            sync(base)
        tracked = base._node is not None or base._requires_grad
        with enable_grad() if tracked else no_grad():
            fresh = replay(base, tensor._chain[len(base._chain) :])
        tensor._value = fresh._value
        tensor._node, tensor._index = fresh._node, fresh._index
        tensor._value.epoch = epoch_of(storage.value)
    elif tensor._chain:
        with no_grad():
            tensor._value = replay(dispatch.wrap(storage.value), tensor._chain)._value
        tensor._value.epoch = epoch_of(storage.value)
    else:
        tensor._value = storage.value
        if not tensor._detached:
            tensor._node, tensor._index = storage.node, storage.index
    tensor._seen = storage.version


def replay(base, chain):
    """Read a view off its base without making it one."""
    for op, numbers, statics, part in chain:
        base = apply(op, (base, *numbers), statics)
        if base.__class__ is tuple:
            base = base[part]
    return base


def write(base, chain, result):
    """What ``base`` becomes when the view that ``chain`` reads off it is replaced by ``result``."""
    numbers = tuple(n for _, ns, _, _ in chain for n in ns)
    links = tuple((op.name, len(ns), statics, part) for op, ns, statics, part in chain)
    return apply(TABLE["write_view"], (base, result, *numbers), (links,))


def publish(storage: Storage, value, line, silent: bool) -> None:
    """Let a storage hold a new value from here on."""
    if silent:  # what was saved for backward stays valid: the new value lives in the same epoch
        value.epoch = epoch_of(storage.value)
        storage.silent += 1
    else:
        epoch_of(storage.value).line = line
    storage.value = value
    storage.version += 1


def check_rebase(view) -> None:
    """Raise PyTorch's errors for views that autograd may not write through."""
    if view._made == "several":
        pieces = (op for op, *_ in reversed(view._chain) if op.name in ("split_sizes", "unbind"))
        name = next(op.grad_name for op in pieces)
        raise RuntimeError(
            f"Output of {name} is a view and is being modified inplace. This view is the output of "
            "a function that returns multiple views. Such functions do not allow the output views "
            "to be modified inplace. You should replace the inplace operation by an out-of-place "
            "one."
        )
    if view._made == "no_grad":
        raise RuntimeError(
            "A view was created in no_grad mode and is being modified inplace with grad mode "
            "enabled. Given that this use case is ambiguous and error-prone, it is forbidden. You "
            "can clarify your code by moving both the view and the inplace either both inside the "
            "no_grad block (if you don't want the inplace to be tracked) or both outside (if you "
            "want the inplace to be tracked)."
        )


def write_through(view, result, line, fills=False) -> None:
    """Replace what ``view`` shows by ``result`` in the storage it shares.

    fills says that all elements of the result are one number, so that it may overlap itself.
    """
    storage, base = view._storage, view._base
    stale = view._seen != storage.version
    if not fills and overlaps(view):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a "
            "single memory location. Please clone() the tensor before performing the operation."
        )
    if modes.grad and (result._node is not None or view._node is not None):
        check_rebase(view)
    if base is None:
        with no_grad():
            root = write(dispatch.wrap(storage.value), view._chain, result)
        publish(storage, root._value, line, view._silent)
        _show(view, result)
        return
    if base._seen != storage.version:
        sync(base)
    written = root = write(base, view._chain[len(base._chain) :], result)
    if base._chain:
        with no_grad():
            root = write(dispatch.wrap(storage.value), base._chain, written)
    publish(storage, root._value, line, view._silent)
    _show(base, written)
    _show(view, result)
    if stale or (result._node is None and base._node is not None and modes.grad):
        view._seen = -1  # its history is still to be read off the base


def _show(tensor, result) -> None:
    """Let one handle show what was just written, with the history that it has."""
    storage = tensor._storage
    tensor._value, tensor._seen = result._value, storage.version
    tensor._value.epoch = epoch_of(storage.value)
    if result._node is not None and modes.grad:
        tensor._node, tensor._index = result._node, result._index
        tensor._requires_grad = False
        if not tensor._chain and not tensor._detached:
            storage.node, storage.index = result._node, result._index


dispatch._write_through, dispatch._publish = write_through, publish


# ---- strides -----------------------------------------------------------------------------------


def contiguous_strides(shape) -> tuple:
    """Row-major strides in elements, as PyTorch gives them."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def geometry(tensor) -> tuple:
    """(strides, storage offset) that PyTorch would report: from the chain of views."""
    if tensor._geometry is not None:
        return tensor._geometry
    storage = tensor._storage
    if not tensor._chain:
        shape = tensor._value.aval.shape
        return (storage and storage.geometry) or (contiguous_strides(shape), 0)
    shape = storage.value.aval.shape
    strides, offset = storage.geometry or (contiguous_strides(shape), 0)
    for op, numbers, statics, part in tensor._chain:
        shape, strides, offset = GEOMETRY[op.name](shape, strides, offset, numbers, statics, part)
    tensor._geometry = strides, offset
    return tensor._geometry


def memory_order(tensor) -> tuple | None:
    """The dimensions from the largest stride to the smallest; None if that is their own order."""
    if not tensor._chain and tensor._geometry is None:
        storage = tensor._storage
        if storage is None or storage.geometry is None:
            return None
    shape, (strides, _) = tensor._value.aval.shape, geometry(tensor)
    long = [d for d, n in enumerate(shape) if n > 1]
    order = sorted(long, key=lambda d: -strides[d])
    if order == long:
        return None
    return (*order, *(d for d, n in enumerate(shape) if n <= 1))


def conjugated(tensor) -> bool:
    """Whether a view's elements are the conjugates or the negatives of those in its storage."""
    names = [op.name for op, *_ in tensor._chain]
    odd = False
    for name in names:
        odd ^= name == "conj_view"
        odd &= name != "real"
    return odd


def row_major(tensor) -> bool:
    """Whether a tensor's elements lie in row-major order in its storage."""
    if not tensor._chain and tensor._geometry is None:
        return True
    return is_contiguous(tensor._value.aval.shape, geometry(tensor)[0])


def is_contiguous(shape, strides) -> bool:
    """Whether these strides are row-major, ignoring dimensions of size one."""
    if 0 in shape:
        return True
    step = 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1:
            if s != step:
                return False
            step *= n
    return True


def overlaps(view) -> bool:
    """Whether two elements of a view are one element of its base (as after ``expand``)."""
    strides, _ = geometry(view)
    shape = view._value.aval.shape
    if prod(shape) == 0:
        return False
    if any(n > 1 and s == 0 for n, s in zip(shape, strides, strict=True)):
        return True
    if all(link[0].name not in ("unfold", "as_strided") for link in view._chain):
        return False
    reach = 0
    for s, n in sorted(zip(strides, shape, strict=True)):
        if n > 1:
            if s <= reach:
                return _repeats(shape, strides)
            reach += s * (n - 1)
    return False


def _repeats(shape, strides) -> bool:
    """Whether two elements have one offset, by looking at all of them."""
    offsets = np.zeros((), np.int64)
    for n, s in zip(shape, strides, strict=True):
        offsets = offsets[..., None] + np.arange(n) * s
    return np.unique(offsets).size < offsets.size


def view_strides(shape, strides, target):
    """Strides of a view of another shape without a copy, or None if there are none."""
    if shape == target:
        return strides
    if prod(shape) == 0:
        return contiguous_strides(target)
    if not shape:
        return (1,) * len(target)
    # From the last dimension on: a run of old dimensions that lie as one must be cut exactly into
    # new ones. A new dimension of size one takes the stride of the run it ends.
    out, at = [0] * len(target), len(target) - 1
    old = new = 1
    step = strides[-1]
    for d in reversed(range(len(shape))):
        old *= shape[d]
        if d and (shape[d - 1] == 1 or strides[d - 1] == old * step):
            continue
        while at >= 0 and (new < old or target[at] == 1):
            out[at] = new * step
            new *= target[at]
            at -= 1
        if new != old:
            return None
        if d:
            step, old, new = strides[d - 1], 1, 1
    return tuple(out) if at < 0 else None


def _reshape(shape, strides, offset, numbers, statics, part):
    target = statics[0]
    found = view_strides(shape, strides, target)
    return target, found if found is not None else contiguous_strides(target), offset


def _permute(shape, strides, offset, numbers, statics, part):
    dims = statics[0]
    return tuple(shape[d] for d in dims), tuple(strides[d] for d in dims), offset


def _index(shape, strides, offset, numbers, statics, part):
    numbers = iter(numbers)
    new_shape, new_strides, dim = [], [], 0
    for item in statics[0]:
        kind = item[0]
        if kind == "new":
            new_shape.append(1)
            new_strides.append(strides[dim] * shape[dim] if dim < len(shape) else 1)
            continue
        n, s = shape[dim], strides[dim]
        dim += 1
        if kind == "int":
            offset += next(numbers) * s
        elif kind == "at":
            offset += int(next(numbers)) % n * s
        elif kind == "all":
            new_shape.append(n)
            new_strides.append(s)
        else:
            _, size, step = item
            offset += next(numbers) * s
            new_shape.append(size)
            new_strides.append(s * step)
    return tuple(new_shape), tuple(new_strides), offset


def _unsqueeze(shape, strides, offset, numbers, statics, part):
    dim = statics[0]
    step = shape[dim] * strides[dim] if dim < len(shape) else 1
    return (*shape[:dim], 1, *shape[dim:]), (*strides[:dim], step, *strides[dim:]), offset


def _squeeze(shape, strides, offset, numbers, statics, part):
    kept = [d for d in range(len(shape)) if d not in statics[0]]
    return tuple(shape[d] for d in kept), tuple(strides[d] for d in kept), offset


def _expand(shape, strides, offset, numbers, statics, part):
    target = statics[0]
    lead = len(target) - len(shape)
    new = [0] * lead
    for n, s, t in zip(shape, strides, target[lead:], strict=True):
        new.append(s if n == t else 0)
    return target, tuple(new), offset


def _split(shape, strides, offset, numbers, statics, part):
    sizes, dim = statics
    new = list(shape)
    new[dim] = sizes[part]
    return tuple(new), strides, offset + sum(sizes[:part]) * strides[dim]


def _unbind(shape, strides, offset, numbers, statics, part):
    dim = statics[0]
    return (
        shape[:dim] + shape[dim + 1 :],
        strides[:dim] + strides[dim + 1 :],
        offset + part * strides[dim],
    )


def _diagonal(shape, strides, offset, numbers, statics, part):
    shift, d1, d2 = statics
    rest = [d for d in range(len(shape)) if d not in (d1, d2)]
    n = max(0, min(shape[d1] + min(shift, 0), shape[d2] - max(shift, 0)))
    if n:
        offset += max(shift, 0) * strides[d2] - min(shift, 0) * strides[d1]
    return (
        (*(shape[d] for d in rest), n),
        (*(strides[d] for d in rest), strides[d1] + strides[d2]),
        offset,
    )


def _unfold(shape, strides, offset, numbers, statics, part):
    dim, size, step = statics
    if not shape:
        return (size,), (1,), offset
    new = list(shape)
    new[dim] = (shape[dim] - size) // step + 1
    lengths = list(strides)
    lengths[dim] *= step
    return (*new, size), (*lengths, strides[dim]), offset


def _as_strided(shape, strides, offset, numbers, statics, part):
    size, stride, start = statics
    return size, stride, start


def _view_as_real(shape, strides, offset, numbers, statics, part):
    return (*shape, 2), (*(2 * s for s in strides), 1), 2 * offset


def _view_as_complex(shape, strides, offset, numbers, statics, part):
    return shape[:-1], tuple(s // 2 for s in strides[:-1]), offset // 2


def _real(shape, strides, offset, numbers, statics, part):
    return shape, tuple(2 * s for s in strides), 2 * offset


def _imag(shape, strides, offset, numbers, statics, part):
    return shape, tuple(2 * s for s in strides), 2 * offset + 1


def _same(shape, strides, offset, numbers, statics, part):
    return shape, strides, offset


def _view_dtype(shape, strides, offset, numbers, statics, part):
    new = _bitcast_shape(shape, statics)
    return new, contiguous_strides(new), offset


def _bitcast_shape(shape, statics):
    source, target = statics
    if source.itemsize == target.itemsize or not shape:
        return shape
    return (*shape[:-1], shape[-1] * source.itemsize // target.itemsize)


GEOMETRY = {
    "view": _reshape,
    "permute": _permute,
    "index_basic": _index,
    "squeeze_dims": _squeeze,
    "unsqueeze": _unsqueeze,
    "index_at": _index,
    "expand": _expand,
    "split_sizes": _split,
    "unbind": _unbind,
    "diagonal": _diagonal,
    "unfold": _unfold,
    "as_strided": _as_strided,
    "view_as_real": _view_as_real,
    "view_as_complex": _view_as_complex,
    "real": _real,
    "imag": _imag,
    "conj_view": _same,
    "alias": _same,
    "view_dtype": _view_dtype,
}
