"""The prefix tree of recorded calls, and the segment that walks it; above it are programs."""

from __future__ import annotations

import threading
import weakref
from array import array

import jax
import numpy as np

from torchlike._core import devices, errors
from torchlike._core import dtypes as dt
from torchlike._core.settings import settings
from torchlike._core.symbolic import SymFloat, SymInt, tracing
from torchlike._engine.inference import as_jax_takes, infer, is_exact, kind_of, work, wrap
from torchlike._engine.stats import stats
from torchlike._engine.values import Aval, Batched, Packed, Value, from_array
from torchlike._ops.arguments import check_operands, check_statics
from torchlike._ops.table import Op, collecting_bad_indices, evaluate


class Prefix:
    """One recorded call after a sequence of others: the state of a segment so far.

    refs says where each operand comes from: an int >= 0 is a slot of this segment, an int < 0
    the external input ~ref, a number's class the next run-time number, None nothing, and a
    (class, number) pair a number that is part of the key.
    """

    __slots__ = (
        "avals", "calls", "checks", "children", "depth", "device", "exact", "externals", "first",
        "floats", "glances", "in_avals", "ints", "line", "nbytes", "numbers", "op", "outs",
        "parent", "plans", "programs", "refs", "seen", "slots", "statics", "used", "work",
    )  # fmt: skip

    def __init__(self, parent=None, op=None, statics=(), refs=(), avals=(), in_avals=()):
        self.children: dict = {}
        self.parent, self.op, self.statics, self.refs = parent, op, statics, refs
        self.avals = avals  # of the results
        self.in_avals = in_avals  # of the operands; a class for a number
        self.outs = len(avals)
        self.numbers = any(a.__class__ is type or a.__class__ is tuple for a in in_avals)
        self.plans = {}  # operands that need a gradient -> how the tape differentiates this call
        self.programs = None  # live slots -> Program, made at the first flush here
        self.seen = None  # live slots flushed here without a program
        self.glances = None  # slot -> what is known of its number here
        self.line = None
        self.used = 0  # when a segment last ended here, by the tree's clock
        self.first = self if parent is None or parent.parent is None else parent.first
        # Where a program of these calls runs: on the accelerator, if any of them is there.
        self.device = devices.CPU if parent is None else parent.device
        if self.device is devices.CPU:
            found = [getattr(a, "device", devices.CPU) for a in (*avals, *in_avals)]
            self.device = next((d for d in found if d is not devices.CPU), devices.CPU)
        if parent is None:
            self.depth = self.slots = self.externals = self.floats = self.ints = self.nbytes = 0
            self.work, self.exact, self.checks, self.calls = 0.0, True, False, 0
        else:
            self.depth = parent.depth + 1
            self.calls = parent.calls + (1 if op.inner is None else op.inner.calls)
            if op.view:  # a thousand parts take a second to compile
                self.calls += len(avals) // 4
            self.slots = parent.slots + self.outs
            self.nbytes, self.work = parent.nbytes, parent.work
            if tracing.scope is None:  # sizes are numbers
                self.nbytes += sum(a.nbytes for a in avals)
                self.work += work(op, in_avals, avals)
            self.exact = parent.exact and is_exact(op, avals)
            self.checks = parent.checks or op.checks  # whether a read of a value may have to raise
            self.externals, self.floats, self.ints = parent.externals, parent.floats, parent.ints

    def path(self) -> list[Prefix]:
        """The calls from the first to this one."""
        nodes, node = [], self
        while node.parent is not None:
            nodes.append(node)
            node = node.parent
        nodes.reverse()
        return nodes


_RLock = type(threading.RLock())  # which is a function of Python's around it


class Segment:
    """The ops recorded since the last flush, on one thread.

    All are of one device, but for those of a compiled function: where any is of an accelerator its
    program runs there, what it needs of the CPU is moved when it is called, and so are its results.
    """

    __slots__ = ("arrays", "creates", "device", "done", "doubts", "floats", "frame", "ints", "lock",
                 "node", "owners", "refs", "results", "thread")  # fmt: skip

    def __init__(self, tree: Tree, device=devices.CPU):
        self.node = tree.root
        self.thread = threading.get_ident()
        self.device = device
        self.creates = device  # of the next call without tensors
        self.arrays: list = []  # external inputs, in order of first use
        self.owners: list = []  # weak references to the Values they belong to
        self.floats: list = []
        self.ints = array("q")  # it refuses what no program could take, at the user's line
        self.refs: list = []  # weak references to the Values of the slots
        self.results = None  # (live slots, arrays) once the program has run
        self.done = False
        self.doubts = 0  # numbers read on which the calls after them may depend (glances.py)
        self.frame = None  # of the body that is being traced into it (bodies.py): it never runs
        self.lock = _RLock()

    def end(self) -> None:
        """Let go of the inputs: it has run, or need not run."""
        self.done = True
        self.arrays = self.owners = self.refs = self.floats = self.ints = ()

    def rollback(self) -> None:
        """Forget what a failed or interrupted call has left beyond the last whole one."""
        if self.done:  # it ran while the call was being recorded, and holds nothing any more
            return
        node = self.node
        if self.frame is not None:
            self.frame.let_go(node.externals)
        for ref in self.owners[node.externals :]:
            value = ref()
            if value is not None and value.segment is self:
                value.segment = None
        del self.arrays[node.externals :], self.owners[node.externals :]
        del self.floats[node.floats :], self.ints[node.ints :], self.refs[node.slots :]


class Tree:
    """The roots of all prefixes, bounded: what was used longest ago goes when it is full."""

    def __init__(self):
        self.root = Prefix()
        self.size = 0
        self.clock = 0

    def grow(self) -> None:
        """Count a new prefix, and evict when there are too many."""
        self.size += 1
        if self.size > settings.max_prefixes:
            self.evict()

    def evict(self) -> None:
        """Drop the half of the segments' ends that were used longest ago, and what leads to these
        only: steps that begin alike are not lost together."""
        local.segment.node.used = self.clock  # which is being recorded
        nodes = list(walk(self.root))
        last: dict = {}  # prefix -> when a segment last ended there or below
        for node in reversed(nodes):
            last[node] = max(node.used, last.get(node, 0))
            last[node.parent] = max(last[node], last.get(node.parent, 0))
        ends = sorted(node.used for node in nodes if node.used)
        oldest = ends[len(ends) // 2] if ends else self.clock + 1
        for node in (self.root, *nodes):
            for key, child in list(node.children.items()):
                end = child if child.__class__ is Prefix else child.end
                if last.get(end, 0) < oldest:
                    node.children.pop(key, None)
        self.size = sum(1 for _ in walk(self.root))
        if self.size > 0.9 * settings.max_prefixes:  # as after one long segment
            self.clear()

    def clear(self) -> None:
        """Forget every prefix and program."""
        self.root.children.clear()
        self.root.programs = self.root.seen = None
        self.size = 0


def walk(node: Prefix):
    """Every prefix below ``node``, once: derivatives have a second key (see record_again)."""
    stack = [node]
    while stack:
        below = {n for n in list(stack.pop().children.values()) if n.__class__ is Prefix}
        yield from below
        stack += below


tree = Tree()


class _Local(threading.local):
    """Per thread: its segments by device, and the one in use."""

    def __init__(self):
        self.segment = Segment(tree)
        self.after_backward = None  # the segment in which the last backward ended
        self.capture = None  # the call of a compiled function that is being recorded
        self.kernels = 0  # functions of NumPy's that have run: what calls cost, without a clock


local = _Local()

# Filled in by flush.py, which stands above: called when a segment must run.
flush_hook: list = [None, None]

# Filled in by batched.py, which stands above: how a call under ``vmap`` is recorded.
batch_hook: list = [None]


# ---- recording ---------------------------------------------------------------------------------


def record(op: Op, statics: tuple, operands) -> tuple[list[Value], Prefix]:
    """Record one call; returns its results and its prefix.

    ``operands`` are Values, Python numbers and None. On a hit no shape inference, no validation
    and nothing of JAX runs. Errors of the call are raised here, and leave no trace in the segment.
    """
    segment = local.segment
    key = [op, statics]
    if segment.creates is not devices.CPU:  # a call without tensors must not find one of the CPU's
        key[1] = statics, segment.creates
    put = key.append
    try:
        for x in operands:
            kind = x.__class__
            if kind is Value:
                if x.segment is segment:
                    put(x.slot)
                else:
                    array = x.array
                    if segment.frame is not None:  # the body of a loop takes anything as it is
                        if array.__class__ is Batched and array.level.number > segment.frame.level:
                            segment.rollback()
                            return apply_traced(op, statics, operands)
                        segment.frame.hold(x)
                    elif array is None:
                        if x.segment.__class__ is Packed and x.segment.flat.segment is segment:
                            segment.rollback()
                            flush_hook[1](x)  # runs this segment: it computes what x is cut from
                            return record(op, statics, operands)
                        if x.aval.device is not devices.META:  # which has no data, and never runs
                            array = flush_hook[1](x)
                    elif array.__class__ is Batched or isinstance(array, _Tracer):
                        segment.rollback()
                        return apply_traced(op, statics, operands)
                    if x.aval.device is not segment.device and not _joins(segment, op, x):
                        if len(key) == 2 and segment.node.depth:
                            flush_hook[0](segment, "device")
                            return record(op, statics, operands)
                        elif segment.node.depth or segment.arrays:
                            segment.rollback()
                            _check_devices(op, operands)
                            flush_hook[0](segment, "device")
                            return record(op, statics, operands)
                        else:
                            segment.device = segment.creates = x.aval.device
                    # Marked last: an interrupt before that leaves nothing that rollback misses.
                    segment.owners.append(_ref(x))
                    segment.arrays.append(array)
                    x.slot = -len(segment.arrays)
                    x.segment = segment
                    put(x.aval)
            elif kind is float:
                segment.floats.append(x)
                put(float)
            elif kind is int:
                segment.ints.append(x)
                put(int)
            elif x is None:
                put(None)
            elif hasattr(x, "_requires_grad"):  # a sparse gradient: they are no Values
                raise errors.SparseOperand("a sparse gradient has no array")
            else:
                put((kind, x))
        key = tuple(key)
        parent = segment.node
        try:
            node = parent.children.get(key)
        except TypeError as error:
            raise TypeError(f"{op.name}(): {error} among its arguments") from None
        if node is None:
            if tracing.scope is not None and segment.frame is None:  # export keeps no segments
                segment.rollback()
                return apply_traced(op, statics, operands)
            node = _extend(segment, parent, op, statics, operands, key)
        values = _results(segment, node.avals, parent.slots)
        segment.node = node
    except BaseException:
        segment.rollback()
        raise
    stats.ops += 1
    if node.depth >= settings.max_ops or node.nbytes > settings.max_bytes or settings.immediate:
        flush_hook[0](segment, "bound")
    return values, node


def _results(segment: Segment, avals, slot: int) -> list[Value]:
    """Pending values for the next slots of a segment."""
    put = segment.refs.append
    values = []
    for a in avals:
        value = _new(Value)  # and its fields, without the call that would set them: half the time
        value.aval, value.array, value.segment, value.slot = a, None, segment, slot
        value.bounds = value.epoch = None
        put(_ref(value))
        values.append(value)
        slot += 1
    return values


def record_again(token, op: Op, statics: tuple, operands, grads) -> list[Value]:
    """Record the derivative of a call of this same segment; returns its results.

    ``token`` stands for that call and the gradients wanted, and so for op, statics and operands:
    the key is the token and where ``grads`` come from, a fraction of what ``record`` looks up.
    """
    segment = local.segment
    key = [token]
    for g in grads:
        if g is None:
            key.append(None)
        elif g.segment is segment:
            key.append(g.slot)
        else:
            return record(op, statics, [*operands, *grads])[0]
    key = tuple(key)
    parent = segment.node
    node = parent.children.get(key)
    if node is None:
        values, node = record(op, statics, [*operands, *grads])
        # Else the segment was flushed on the way, or an operand had been used in another one.
        if node.parent is parent and node.externals == parent.externals:
            parent.children[key] = node
        return values
    try:
        if node.numbers:
            for x in operands:
                if x.__class__ is float:
                    segment.floats.append(x)
                elif x.__class__ is int:
                    segment.ints.append(x)
        values = _results(segment, node.avals, parent.slots)
        segment.node = node
    except BaseException:
        segment.rollback()
        raise
    stats.ops += 1
    if node.depth >= settings.max_ops or node.nbytes > settings.max_bytes or settings.immediate:
        flush_hook[0](segment, "bound")
    return values


class Stretch:
    """A sequence of calls recorded before, to be recorded again in one go.

    end is the prefix after them; kept are (slot counted from their first, aval) of the values
    that are wanted, order is for who records it; numbers says whether they take run-time numbers.
    """

    __slots__ = ("dead", "end", "kept", "numbers", "order")

    def __init__(self, start: Prefix, end: Prefix, slots: list[int]):
        self.end, self.order = end, ()
        self.numbers = (end.floats, end.ints) != (start.floats, start.ints)
        self.dead = [dead] * (end.slots - start.slots)
        avals: dict[int, Aval] = {}
        node = end
        while node is not start:
            first = node.slots - node.outs - start.slots
            avals.update((first + k, a) for k, a in enumerate(node.avals))
            node = node.parent
        self.kept = [(slot, avals[slot]) for slot in slots]


def record_stretch(stretch: Stretch, floats, ints) -> list[Value]:
    """Record a whole stretch after the segment's prefix; returns the values of its kept slots."""
    segment = local.segment
    end, refs = stretch.end, segment.refs
    first = segment.node.slots
    try:
        segment.floats += floats
        segment.ints.extend(ints)
        refs += stretch.dead
        values = []
        for slot, a in stretch.kept:
            value = _new(Value)  # see _results
            value.aval, value.array, value.segment, value.slot = a, None, segment, first + slot
            value.bounds = value.epoch = None
            refs[first + slot] = _ref(value)
            values.append(value)
        stats.ops += end.depth - segment.node.depth
        segment.node = end
    except BaseException:
        segment.rollback()
        raise
    if end.depth >= settings.max_ops or end.nbytes > settings.max_bytes:
        flush_hook[0](segment, "bound")
    return values


def cut_from(packed: Packed, values, starts) -> None:
    """Let pending values be the pieces of a flat one that the same segment computes."""
    segment, found = packed.flat.segment, packed.starts
    for value, start in zip(values, starts, strict=True):
        if value.array is None and value.segment is segment:
            found[value.slot] = start
            value.segment = packed
            segment.refs[value.slot] = dead


_new = object.__new__
_ref = weakref.ref
_Tracer = jax.core.Tracer
dead = _ref(type("Gone", (), {})())  # stands for the reference to a value that nobody has


def _joins(segment: Segment, op: Op, x: Value) -> bool:
    """Whether an operand of another device may be part of the segment's program."""
    return (op.places is not None or keeps_all(segment)) and takes(segment, x.aval.device)


def keeps_all(segment: Segment) -> bool:
    """Whether what is recorded into a segment stays one program, whatever its devices: that of a
    compiled function, or of a body."""
    capture = local.capture
    if segment.frame is not None:
        return True
    return capture is not None and capture.segment is segment and capture.broken is None


def takes(segment: Segment, device) -> bool:
    """Whether calls of this device may be part of the segment's program; it goes where they are
    if they are the first on an accelerator."""
    if devices.META in (device, segment.device):
        return False
    if segment.device is devices.CPU:
        segment.device = device
    return device in (devices.CPU, segment.device)


def _check_devices(op: Op, operands) -> None:
    if op.places is not None:
        return
    found = {x.aval.device for x in operands if x.__class__ is Value}
    if len(found) > 1:
        first, second = sorted(map(str, found))[:2]
        raise errors.DeviceMismatch(
            f"Expected all tensors to be on the same device, but found at least two devices, "
            f"{first} and {second}! (when checking arguments of {op.name})"
        )


def _check_static(x) -> None:
    """Refuse tensors hidden in static arguments: they hash by identity, not by value."""
    if isinstance(x, tuple):
        for y in x:
            _check_static(y)
    elif hasattr(x, "_requires_grad"):
        raise TypeError("unhashable: a tensor among static arguments")


def _extend(segment, parent, op, statics, operands, key) -> Prefix:
    """A call not seen after this prefix: infer its results, and hang it into the tree."""
    _check_devices(op, operands)
    _check_static(statics)
    if op.forward is None and op.inner is None:
        check_statics(op, statics)
    stats.misses += 1
    in_avals = tuple(
        x.aval if x.__class__ is Value else None if x is None else kind_of(x) for x in operands
    )
    device = next((x.aval.device for x in operands if x.__class__ is Value), segment.creates)
    avals = infer(op, statics, in_avals, device)
    external, refs = parent.externals, []
    for x, k in zip(operands, key[2:], strict=True):
        if x.__class__ is Value and k.__class__ is not int:
            # By the order in which they came: another thread may have given x a slot by now.
            external += 1
            refs.append(-external)
        else:
            refs.append(k)
    node = Prefix(parent, op, statics, tuple(refs), avals, in_avals)
    node.externals = external
    node.floats += sum(k is float for k in key[2:])
    node.ints += sum(k is int for k in key[2:])
    node.line = errors.user_line()
    tree.grow()
    return parent.children.setdefault(key, node)


# ---- inside JAX transformations ----------------------------------------------------------------


def apply_traced(op: Op, statics: tuple, operands):
    """Apply an op at once because an operand is a tracer of ``jax.jit``, ``vmap`` or ``grad``."""
    if any(x.__class__ is Value and x.array.__class__ is Batched for x in operands):
        return batch_hook[0](op, statics, operands)
    arrays, in_avals = [], []
    device = local.segment.device
    given = statics
    if tracing.scope is not None:
        tracing.scope.begin(op, statics, operands)
        check_operands(
            op, [x.aval if x.__class__ is Value else None if x is None else kind_of(x)
                 for x in operands]
        )  # fmt: skip
        given = as_jax_takes(statics)
    with jax.enable_x64(True):
        for x in operands:
            if x.__class__ is Value:
                array = x.array
                if array is None:
                    array = flush_hook[1](x)
                arrays.append(array)
                in_avals.append(x.aval)
                device = x.aval.device
            elif x.__class__ is SymInt or x.__class__ is SymFloat:
                in_avals.append(kind_of(x))
                arrays.append(tracing.scope.array(x))
            else:
                in_avals.append(None if x is None else kind_of(x))
                arrays.append(None if x is None else np.asarray(x, dt.WIDEST[type(x)].numpy))
        arrays = [jax.numpy.asarray(a) if isinstance(a, np.ndarray) else a for a in arrays]
        if tracing.scope is None:
            results = evaluate(op, wrap(op, arrays, in_avals), given)
        else:
            with collecting_bad_indices() as reports:
                results = evaluate(op, wrap(op, arrays, in_avals), given)
            tracing.scope.note_checks(op, reports)
    values = [from_array(r, device) for r in results]
    node = Prefix(None, op, statics, (), tuple([v.aval for v in values]), tuple(in_avals))
    node.line = errors.user_line()
    return values, node
