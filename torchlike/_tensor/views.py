"""Storage and views: the one mutable cell that a tensor and its views share, read and written."""

from __future__ import annotations

import weakref
from math import prod

from torchlike._core import references
from torchlike._core.errors import SparseView
from torchlike._engine.bodies import is_inside, outside
from torchlike._engine.values import epoch_of
from torchlike._ops.table import TABLE, Op
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply
from torchlike._tensor.modes import enable_grad, memory_lock, modes, no_grad
from torchlike._tensor.strides import GEOMETRY, contiguous_strides, is_contiguous, repeats
from torchlike._tensor.strides import view_strides as view_strides
from torchlike._tensor.tape import Refused, keep_retained

_new = object.__new__


class Parted:
    """Says of a storage that for a user each of its handles has a memory of its own: copies and
    files see it so."""

    __slots__ = ()
    holders = 0  # how many handles are left of those that have one memory

    def leave(self, tensor) -> Storage:
        """The storage of a handle that is about to be written; a window is written through."""
        return tensor._storage


class Storage:
    """What a tensor and its views share: the root's value and history, and a version counter.

    silent counts the versions that came through ``.data``, which autograd does not see; geometry
    is (strides, offset) of the root if it is not row-major; array, filled and seen are bridge.py's.
    parted is None, or a ``Parted``.
    """

    __slots__ = (
        "_held", "array", "filled", "geometry", "identity", "index", "parted", "seen", "silent",
        "value", "version",
    )  # fmt: skip

    def __deepcopy__(self, memo):
        return self  # who copies a tensor's attributes copies no data

    def __init__(self, tensor):
        self.value = tensor._value
        self.node, self.index = tensor._node, tensor._index
        self.version, self.silent = tensor._version_count, 0
        self.geometry = tensor._geometry
        self.identity = self.parted = self.seen = None

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
        with memory_lock:
            storage = tensor._storage
            if storage is None:  # no other thread has made it meanwhile
                storage = Storage(tensor)
                tensor._seen, tensor._storage = storage.version, storage
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
    out._seen = tensor._seen  # not the version of now: others may have written meanwhile
    if tensor._silent:
        out._silent = True
    if not modes.grad:
        out._made = "no_grad"
        if out._base._requires_grad or out._base._node is not None:
            out._made = "no_grad", version_of(out)
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
    out._storage, out._seen = storage, tensor._seen
    out._chain = tuple([link for link in tensor._chain if link[0].name != "alias"])
    out._detached = True
    if tensor._silent:
        out._silent = True
    return out


class Turned:
    """How often a tensor itself came to show its memory otherwise."""

    count = 0


turned = Turned()


def share(tensor, other) -> None:
    """Let a tensor show the memory of another from here on; its own history stays."""
    if tensor is other:
        return
    tensor._value = dispatch.value_of(other)
    storage = storage_of(other)
    turned.count += storage is tensor._storage
    tensor._storage, tensor._seen, tensor._detached = storage, storage.version, True
    tensor._chain = tuple([link for link in other._chain if link[0].name != "alias"])
    tensor._base = tensor._geometry = tensor._made = None


def share_copies(copied, tensor, memo: dict) -> None:
    """Let the copies share memory that ``copy.deepcopy`` makes of tensors that do."""
    if tensor._storage is None or references.holders(tensor, "_storage") == 1:  # the handle itself
        return
    storage = tensor._storage
    if storage.parted is not None:
        return
    made = memo.get(id(storage))
    if made is None:
        whole = copied._value
        if tensor._chain or whole.aval is not storage.value.aval:
            whole = dispatch.record(TABLE["clone"], (), (storage.value,))[0][0]
        root = dispatch.wrap(whole)
        made = memo[id(storage)] = Storage(root)
        made.geometry = storage.geometry
    copied._storage, copied._seen, copied._detached = made, -1, True
    copied._chain, copied._geometry = tensor._chain, tensor._geometry


def base_of(tensor):
    """The tensor that carries a view's history; None once that shows something else (after
    ``base.data =``, or ``base.squeeze_()``)."""
    base = tensor._base
    if base is None or base._storage is not tensor._storage:
        return None
    taken = base._chain
    if taken and (
        len(taken) > len(tensor._chain)
        or any(a is not b for a, b in zip(taken, tensor._chain, strict=False))
    ):
        return None
    return base


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
    with memory_lock:
        _sync(tensor)


def _sync(tensor) -> None:
    storage, base = tensor._storage, base_of(tensor)
    version = storage.version  # before the value: what is written meanwhile is another version
    if modes.sealed and not is_inside(storage.value):
        before = modes.bodies, modes.sealed
        modes.bodies, modes.sealed = max(modes.bodies - 1, 0), modes.sealed - 1
        try:
            with outside():
                return _sync(tensor)
        finally:
            modes.bodies, modes.sealed = before
    if tensor._made.__class__ is tuple:
        with no_grad():
            tensor._value = replay(dispatch.wrap(storage.value), tensor._chain)._value
        tensor._value.epoch = epoch_of(storage.value)
        if tensor._made[1] != version_of(tensor):
            name = "" if tensor._node is None else tensor._node.name()
            tensor._node, tensor._index = Refused(name, _forbidden(tensor, _INDIRECTLY)), 0
    elif base is not None:
        if base._seen != version:
            _sync(base)
        kept = _is_read_off(tensor, base)
        tracked = not kept and (base._node is not None or base._requires_grad)
        with enable_grad() if tracked else no_grad():
            fresh = replay(base, tensor._chain[len(base._chain) :])
        tensor._value = fresh._value
        if not kept:
            if fresh._node is not None and tensor._node is not None:
                fresh._node.label = tensor._node.label
            tensor._node, tensor._index = fresh._node, fresh._index
            if tensor._retains:
                keep_retained(tensor)
        tensor._value.epoch = epoch_of(storage.value)
    elif tensor._chain:
        with no_grad():
            tensor._value = replay(dispatch.wrap(storage.value), tensor._chain)._value
        tensor._value.epoch = epoch_of(storage.value)
    else:
        tensor._value = storage.value
        if not tensor._detached:
            tensor._node, tensor._index = storage.node, storage.index
    tensor._seen = version


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


# The slots themselves, where a subclass has properties that look at memory others write to.
_HELD, _VERSION = Storage.value.__get__, Storage.version.__get__


def publish(storage: Storage, value, line, silent: bool) -> int:
    """Let a storage hold a new value from here on; the version that has this value.

    What another process writes from the making of the value on makes the next version.
    """
    epoch = epoch_of(_HELD(storage))
    if silent:  # what was saved for backward stays valid: the new value lives in the same epoch
        value.epoch = epoch
        storage.silent += 1
    else:
        epoch.line = line
    storage.value = value
    storage.version = version = _VERSION(storage) + 1
    return version


def _is_read_off(view, base) -> bool:
    """Whether a view's history is that of reading it off its base as the base is now: what it holds
    has changed, but not where gradients go, nor the hooks there."""
    edge = (view._node, view._index)
    for _ in range(len(view._chain) - len(base._chain)):
        if edge.__class__ is not tuple or edge[0].__class__ is Refused or edge[0] is None:
            return False
        targets = edge[0].targets
        if len(targets) != 1:
            return False
        edge = targets[0]
    if base._node is None:
        return edge is base
    return edge.__class__ is tuple and edge[0] is base._node and edge[1] == base._index


# A view that was made where autograd does not look has no history that could be read off its base
# again: its ``_made`` says how it was made and, where the base has a history that it lacks, at
# which version. From the first write after that on, a backward through it raises.


def mark_function_view(view, index: int, name: str) -> None:
    """Note that a view is result ``index`` of a user's autograd.Function."""
    view._made = f"Output {index} of {name}", version_of(view)


_SEVERAL = ("split_sizes", "unbind")  # ops that give several views
_DIRECTLY = "is being modified inplace"
_INDIRECTLY = "its base or another view of its base has been modified inplace"


def _forbidden(view, how: str) -> str:
    """PyTorch's words on a view that autograd cannot follow through a write; "" if it can."""
    made = view._made[0] if view._made.__class__ is tuple else view._made
    if made is None:
        return ""
    if made == "no_grad":
        return (
            f"A view was created in no_grad mode and {how} with grad mode enabled. Given that this "
            "use case is ambiguous and error-prone, it is forbidden. You can clarify your code by "
            "moving both the view and the inplace either both inside the no_grad block (if you "
            "don't want the inplace to be tracked) or both outside (if you want the inplace to be "
            "tracked)."
        )
    if made == "several":
        pieces = (link for link in reversed(view._chain) if link[0].name in _SEVERAL)
        op, *_, part = next(pieces, view._chain[-1])
        return (
            f"Output {part} of {op.grad_name.partition('Backward')[0]} is a view and {how}. This "
            "view is the output of a function that returns multiple views. Such functions do not "
            "allow the output views to be modified inplace. You should replace the inplace "
            "operation by an out-of-place one."
        )
    return (
        f"{made} is a view and {how}. This view was created inside a custom Function (or because "
        "an input was returned as-is) and the autograd logic to handle view+inplace would override "
        "the custom backward associated with the custom Function, leading to incorrect gradients. "
        "This behavior is forbidden. You can fix this by cloning the output of the custom Function."
    )


def check_rebase(view) -> None:
    """Raise PyTorch's errors for views that autograd may not write through."""
    reason = _forbidden(view, _DIRECTLY)
    if reason:
        raise RuntimeError(reason)


def write_through(view, result, line, fills=False) -> None:
    """Replace what ``view`` shows by ``result`` in the storage it shares.

    fills says that all elements of the result are one number, so that it may overlap itself.
    """
    storage, base = view._storage, base_of(view)
    stale = view._seen != storage.version
    if not fills:
        check_overlap(view)
    if modes.grad and (result._node is not None or view._node is not None):
        check_rebase(view)
    if base is None:
        with no_grad():
            root = write(dispatch.wrap(storage.value), view._chain, result)
        _show(view, result, publish(storage, root._value, line, view._silent))
        return
    if base._seen != storage.version:
        sync(base)
    written = root = write(base, view._chain[len(base._chain) :], result)
    if base._chain:
        with no_grad():
            root = write(dispatch.wrap(storage.value), view._chain, result)
    version = publish(storage, root._value, line, view._silent)
    _show(base, written, version)
    if base._chain:  # read again: it may overlap, and the root is one write, not two
        with no_grad():
            base._value = replay(dispatch.wrap(storage.value), base._chain)._value
        base._value.epoch = epoch_of(storage.value)
    _show(view, result, version)
    untold = base._node is not None and modes.grad
    if stale or untold or view._made.__class__ is tuple:
        view._seen = -1  # its history is still to be read off the base


def rebase(view, node, index: int) -> None:
    """Give the base of a view that was written off the tape the history of that write."""
    check_rebase(view)
    storage, base = view._storage, base_of(view)
    if base._seen != storage.version:
        sync(base)
    fresh = dispatch.wrap(view._value)
    fresh._node, fresh._index = node, index
    with enable_grad():
        written = write(base, view._chain[len(base._chain) :], fresh)
    base._node, base._index, base._requires_grad = written._node, written._index, False
    if base._retains:
        keep_retained(base)
    view._seen = -1  # its history is to be read off the base
    if not base._chain and not base._detached:
        storage.node, storage.index = written._node, written._index


def _show(tensor, result, version: int) -> None:
    """Let one handle show what was just written, with the history that it has."""
    storage = tensor._storage
    tensor._value, tensor._seen = result._value, version
    tensor._value.epoch = epoch_of(_HELD(storage))
    if result._node is not None and (modes.grad or modes.dual is not None):
        tensor._node, tensor._index = result._node, result._index
        tensor._requires_grad = False
        if tensor._retains:
            keep_retained(tensor)
        if not tensor._chain and not tensor._detached:
            storage.node, storage.index = result._node, result._index


dispatch._write_through, dispatch._publish = write_through, publish
dispatch._check_rebase = check_rebase


# ---- strides -----------------------------------------------------------------------------------


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


def check_overlap(view) -> None:
    """Raise ``RuntimeError`` if two elements are in one place: they cannot both be written."""
    if overlaps(view):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a "
            "single memory location. Please clone() the tensor before performing the operation."
        )


def in_common(a, b) -> str:
    """ "wholly" if two tensors are the same elements in the same order, "partly" if they have some
    in common, "" if not, or if one has gaps: PyTorch, too, asks no further."""
    if a is b:
        return "wholly"
    if a._storage is None or a._storage is not b._storage or not (_dense(a) and _dense(b)):
        return ""
    (first, start, end), (second, low, high) = _extent(a), _extent(b)
    if (start, end) == (low, high):
        return "wholly" if first == second else "partly"
    return "partly" if start < high and low < end else ""


def may_share(a, b) -> bool:
    """Whether two tensors of one storage have elements in common, or have gaps and so may have."""
    return a is b or bool(in_common(a, b)) or not (_dense(a) and _dense(b))


def _dense(tensor) -> bool:
    """Whether the elements of a tensor, in some order, lie one behind the other."""
    shape, strides = tensor._value.aval.shape, geometry(tensor)[0]
    step = 1
    for s, n in sorted((s, n) for s, n in zip(strides, shape, strict=True) if n != 1):
        if s != step:
            return False
        step *= n
    return step > 0


def _extent(tensor) -> tuple:
    """(strides, first byte, end) of a tensor without gaps; those of single rows do not count."""
    a, (strides, offset) = tensor._value.aval, geometry(tensor)
    size = a.dtype.itemsize
    return strides, offset * size, (offset + a.numel) * size


dispatch._in_common = in_common

# Links after which no two elements are one, if none were before.
_APART = frozenset(("index_basic", "index_at", "permute", "unsqueeze", "squeeze_dims", "alias"))


def overlaps(view) -> bool:
    """Whether two elements of a view are one element of its base (as after ``expand``)."""
    storage, chain = view._storage, view._chain
    if (
        (storage is None or storage.geometry is None) and (chain or view._geometry is None)
        and all([link[0].name in _APART for link in chain])
    ):  # fmt: skip
        return False
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
                return repeats(shape, strides)
            reach += s * (n - 1)
    return False
