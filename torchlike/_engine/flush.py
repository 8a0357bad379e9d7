"""When and how a segment runs: compiled whole, or op by op while its key is unstable."""

from __future__ import annotations

import threading
import time

import jax
import numpy as np

from torchlike._core import devices, errors
from torchlike._core import dtypes as dt
from torchlike._core.settings import settings
from torchlike._engine import prefix
from torchlike._engine.compat import in_program_scope
from torchlike._engine.glances import forget, glance
from torchlike._engine.host import plan_of, run_host
from torchlike._engine.places import Place, flush_lines, place_of
from torchlike._engine.places import forget as forget_places
from torchlike._engine.prefix import Prefix, Segment, local
from torchlike._engine.primitives import Unsupported
from torchlike._engine.programs import (
    Program,
    cache,
    call_into,
    missing_singles,
    needed_calls,
    run_single,
)
from torchlike._engine.prompt import PromptProgram, suits
from torchlike._engine.range_checks import check_bad_indices, check_later, pending_checks
from torchlike._engine.stats import stats
from torchlike._engine.values import (
    Batched,
    Hole,
    Packed,
    Parts,
    Value,
    expose,
    exposed,
    host_copy,
)  # fmt: skip


def flush(
    segment: Segment | None = None, why: str = "explicit", place: Place | None = None
) -> None:
    """Run what is recorded on this thread: dispatch its program, do not wait for it."""
    if segment is None:
        segment = local.segment
    if segment.frame is not None:
        segment.frame.refuse(why)
        return
    capture = local.capture
    if capture is not None and capture.segment is segment and capture.keeps(why):
        return
    if segment.node.depth == 0:
        if segment.arrays or segment.device is not devices.CPU:
            local.segment = Segment(prefix.tree)
        return
    # What is recorded from here on belongs to the next segment, whatever happens to this one: if
    # it fails or is interrupted its values stay pending in it, and run when they are needed.
    local.segment = Segment(prefix.tree)
    with segment.lock:
        if not segment.done:
            run(segment, why, place)


def flush_writes(value: Value) -> bool:
    """Run what is pending by NumPy, for a value of it that is written to, if that is little and
    rounds nothing; whether the value has its array now."""
    segment = local.segment
    node = segment.node
    if (
        value.segment is not segment or not node.exact or node.calls > _FEW or node.checks
        or node.work > _SMALL or segment.frame is not None or segment.device is not devices.CPU
        or not settings.host or settings.immediate or settings.always_compile
    ):  # fmt: skip
        return False
    flush(segment, _WRITES)
    return value.array is not None


def end_setup() -> None:
    """Run what is pending before training begins, if something is: a model's first numbers."""
    segment = local.segment
    if segment.node.depth and segment.frame is None and local.capture is None:
        flush(segment, _SETUP)


def run(segment: Segment, why: str, place: Place | None = None) -> None:
    """Compute every live value of a segment; on failure all stay pending and usable."""
    if segment.frame is not None:
        raise errors.NotTraceable("keeping for later what is computed")
    if segment.results is not None:  # an interrupt fell between the program and its commit
        commit(segment)
        return
    node = segment.node
    if segment.device is devices.META:
        segment.done = True
        return
    refs = segment.refs
    live = tuple([slot for slot, ref in enumerate(refs[: node.slots]) if ref() is not None])
    prefix.tree.clock += 1
    node.used = prefix.tree.clock
    if place is None:
        place = place_of(why)
    place.flushes += 1
    programs = node.programs
    program = None if programs is None else programs.get(live)
    if program is not None:
        place.row += 1
        if not place.reused and place.row >= min(place.fresh, _ROW):
            place.reused, place.fresh = True, 0
        if place.row >= _ROW * place.compiled:
            place.compiled = 0
        stats.hits += 1
        execute(segment, program)
    elif not live and not any(call.op.checks for call in node.path()):
        segment.end()
        return
    elif settings.immediate:
        run_op_by_op(segment, live)
    else:
        place.row = 0
        host = settings.host and segment.device is devices.CPU
        small = host and node.work <= _SMALL
        sighting = sighting_of(node, live)
        if worth_compiling(segment, sighting, place, why, small):
            place.reused = False
            place.compiled += 1 + node.calls // (2 * _MANY)
            compile_and_run(segment, live, why, place)
        else:
            host = small or (host and node.work < missing_singles(node) * _COMPILE_SINGLE)
            before = local.kernels
            run_op_by_op(segment, live, host, sighting)
            sighting.kernels = local.kernels - before if host else node.calls * _SINGLE
            if not node.exact:
                sighting.inputs = segment.owners, segment.floats, segment.ints
    commit(segment)


class Sighting:
    """What is known of a key without a program: how often it came, how many of NumPy's functions
    its last run op by op took beside one for each call, and how NumPy runs it; whether a program is
    due, the inputs of the last run if it rounded, and how often it came with these since."""

    __slots__ = ("count", "due", "inputs", "kernels", "plan", "repeats")

    def __init__(self):
        self.count, self.kernels, self.plan = 0, None, None
        self.due, self.inputs, self.repeats = False, None, 0

    def counts_repeat(self, segment: Segment) -> bool:
        """Whether the last run had the very same inputs: this one, which is counted, is to give the
        same bits, which a program would not. Not for ever: a loop that measures a call has it
        called often."""
        if self.inputs is None or self.inputs != (segment.owners, segment.floats, segment.ints):
            self.repeats = 0
            return False
        self.repeats += 1
        return self.repeats <= _REPEATS


def sighting_of(node: Prefix, live: tuple) -> Sighting:
    """The sighting of the calls that end here, with these live slots."""
    if node.seen is None:
        node.seen = {}
    found = node.seen.get(live)
    if found is None:
        found = node.seen[live] = Sighting()
    return found


# Seconds that XLA takes to compile one call of a program: a loop that is cut by its length, or that
# somebody looks into after so many calls, may well end before its program has paid.
_COMPILE = 4e-3
_COMPILE_SINGLE = 5e-2  # and to compile one op as a program of its own
_START = 5e-5  # seconds from the call of a program until its results can be read
_HOST_CALL = 4e-6  # that NumPy takes for a call, beside its work
_KERNEL = 2e-6  # for one of several functions, or rounds of a loop, that a call is made of
_SINGLE = 10  # as many of which as an op that runs as a program of its own takes
_MANY = 128

# What part of the work, which is estimated for one pass over all operands and slow products, a
# program saves: arrays that are read and written once for several calls.
_SAVED = 0.05

# How often what was prepared before a first step must come back before it is compiled.
_SETUP_SIGHTINGS = 3

# Flushes that end something else than a step: a segment that is too long, or what was prepared
# before the first step, which would make its program another one than the second step's.
_LONG, _SETUP = "bound", "setup"
_WRITES = "writes"  # and one that is never compiled: see flush_writes


# At a place with so many new keys and no reuse between, a key must pay before it is compiled; with
# fewer it must come back: the second step of a training, which finds the optimizer's states.
_FRESH_KEYS = 8

# A place where so many programs were made, and never used so many times each in a row, has steps of
# changing kinds (as many as a mask selects): a further one must pay first. Of modules, which should
# give the same bits each time, twice as many.
_VARIANTS = 4
_ROW = 16

# Calls that round nothing, and seconds of their work, that NumPy is done with before a program
# would have started: 10 us against 40.
_FEW, _TINY = 8, 2e-5

# How often the same call of the same inputs stays with NumPy, where that has come first.
_REPEATS = 16

# Seconds of work in NumPy below which a segment first runs there: a compile takes longer.
_SMALL = 0.01


def worth_compiling(
    segment: Segment, sighting: Sighting, place: Place, why: str, small: bool
) -> bool:
    """Whether to compile a new key: if it came back, or where programs are used again.

    Where keys keep changing (a growing length), segments run op by op instead. A small segment
    that rounds nothing first runs in NumPy anywhere; one that does round might differ from its
    later program in the last bit, and a model must give the same output for the same input twice,
    and an eager step the numbers of a compiled one.
    """
    if settings.always_compile:
        return True
    if small and (settings.small_on_host or why == _WRITES):
        return False
    if place.always:
        return True
    sighting.due = sighting.due or _pays(segment.node, sighting, place, why, small)
    return sighting.due and not sighting.counts_repeat(segment)


def _pays(node: Prefix, sighting: Sighting, place: Place, why: str, small: bool) -> bool:
    """Whether a new key's program is worth its compile, by what is known of it and its place."""
    if node.exact and node.calls <= _FEW and node.work <= _TINY and sighting.plan is not False:
        return not small
    varies = small and place.compiled >= _VARIANTS * (2 if why == "module" else 1)
    pays = varies or why == _LONG or (node.calls >= _MANY and why == "value")
    if place.reused and not pays and not (small and node.exact) and why != _SETUP:
        return True
    sighting.count += 1
    seen = sighting.count
    place.fresh += seen == 1
    if pays and seen == 1 and place.reused and not small:  # a network of many layers, not a loop
        return missing_singles(node) * _COMPILE_SINGLE > node.calls * _COMPILE
    if why == _SETUP:
        return seen > _SETUP_SIGHTINGS
    if not pays and place.fresh < _FRESH_KEYS:
        return seen > 1
    # Once its runs took as much longer than a program's would have as a compile takes: a hundred
    # lengths of a text that come back a few times each would be a hundred compiles of a second.
    # By estimates, not by the clock: the same script has to give the same bits each time it is run.
    kernels = node.calls * _HOST_CALL + (sighting.kernels or 0) * _KERNEL
    saved = kernels + node.work * _SAVED - _START
    return seen > 2 and seen * saved > _COMPILE_SINGLE + node.calls * _COMPILE


def compile_and_run(segment: Segment, live: tuple, why: str, place: Place) -> None:
    """Compile the program of a new key, run it, and keep it."""
    kind = PromptProgram if suits(segment, live, why, place) else Program
    program = kind(segment.node, live)
    start, loads = time.perf_counter(), stats.loads
    try:
        execute(segment, program)
    except Exception as error:
        if settings.always_compile:
            raise
        # One op may be at fault: op by op, it is named with its line. If none is, the program as
        # a whole was too much for XLA, and its results are here all the same.
        run_op_by_op(segment, live)
        errors.warn_once(
            f"the {segment.node.calls} calls up to {segment.node.line} could not be one program, "
            f"and run one by one, which is slow ({type(error).__name__}: {str(error)[:300]})"
        )
        return
    stats.compiles += stats.loads == loads
    stats.compile_seconds += time.perf_counter() - start
    if program.owner.programs is None:
        program.owner.programs = {}
    program.owner.programs[live] = program


def execute(segment: Segment, program: Program) -> None:
    """Call the program; its results stand in the segment before anything can interrupt."""
    results: list = []
    segment.results = (program.outputs, results, program)
    try:
        in_program_scope(_call, segment, program, results)
    finally:
        if not results:
            segment.results = None
    stats.programs += 1
    cache.touch(program)


def _call(segment: Segment, program: Program, results: list) -> None:
    arrays = segment.arrays
    if len(arrays) != program.owner.externals:
        arrays = arrays[: program.owner.externals]
    if program.__class__ is PromptProgram:
        results.append(program.run(segment, arrays))
        return
    if program.donated:
        arrays = protect(segment, program, arrays)
    call_into(results, program, program.arguments(segment, arrays))


def protect(segment: Segment, program: Program, arrays: list) -> list:
    """The arrays with a copy of each that the program overwrites and somebody else still sees."""
    owners = segment.owners
    seen = [
        d
        for d in program.donated
        if owners[d]() is not None
        or arrays[d].__class__ is np.ndarray
        or (exposed and id(arrays[d]) in exposed)
    ]
    if len({*map(id, arrays)}) != len(arrays):
        seen += [d for d in program.donated if sum(arrays[d] is a for a in arrays) > 1]
    if seen:
        arrays = list(arrays)
        for d in seen:
            x = arrays[d]
            host = x.__class__ is np.ndarray  # copied by a program it would take its compile, too
            arrays[d] = (
                jax.device_put(x, program.place, may_alias=False) if host else jax.numpy.array(x)
            )
    return arrays


def commit(segment: Segment) -> None:
    """Hand the results to their Values; safe to repeat after an interrupt."""
    live, results, program = segment.results
    arrays = results[0]
    refs = segment.refs
    for slot, array in zip(live, arrays, strict=False):
        value = refs[slot]()
        if value is not None:
            value.array = array
            value.segment = None
    if program is not None:
        for n, external in program.forwarded:
            expose(arrays[n])
            expose(segment.arrays[external])
        if program.checks:
            check_later(arrays[-1], program.checks)
    segment.end()


class ProgramFailed(RuntimeError):
    """A recorded call that XLA could not compile or run."""


def run_op_by_op(segment: Segment, live, host: bool = False, sighting=None) -> None:
    """Run each needed call by itself, dropping intermediates as they die.

    ``host``: by NumPy where it can, else as a program of its own.
    """
    if host:
        in_program_scope(_on_host, segment, live, sighting)
    else:
        in_program_scope(_op_by_op, segment, live)


def _on_host(segment: Segment, live, sighting) -> None:
    with np.errstate(all="ignore"):
        if sighting is None or sighting.kernels is None or not _by_plan(segment, live, sighting):
            _op_by_op(segment, live, True)


def _by_plan(segment: Segment, live, sighting) -> bool:
    """Run a segment that has come back by its plan; False if it has none, or a call fails."""
    plan = sighting.plan = plan_of(sighting.plan, live, lambda: needed_calls(segment.node, live))
    if not plan:
        return False
    try:
        results, checks, windows = plan.run(segment)
    except Exception:  # one call after the other tells which one it was
        return False
    pending_checks.extend(checks)
    _hand_out(segment, live, results, windows)
    return True


def _hand_out(segment: Segment, live, results: list, windows: list) -> None:
    """Let NumPy's results be the segment's; ``windows`` are of JAX's arrays that were read."""
    segment.results = (live, [tuple([_owned(r, windows) for r in results])], None)


def _op_by_op(segment: Segment, live, host: bool = False) -> None:
    node = segment.node
    calls = needed_calls(node, live)
    last_use = {}
    for n, call in enumerate(calls):
        for ref in call.refs:
            last_use[ref] = n
    wanted = set(live)
    values: dict = {}
    failures: list[ProgramFailed] = []
    externals, windows = segment.arrays, []
    if host:
        externals = [x if x.__class__ is np.ndarray else host_copy(x) for x in externals]
        windows = [x for x, a in zip(externals, segment.arrays, strict=True) if x is not a]
    for n, call in enumerate(calls):
        float_at, int_at = call.parent.floats, call.parent.ints
        arrays = []
        for ref in call.refs:
            if ref.__class__ is int:
                arrays.append(externals[~ref] if ref < 0 else values[ref])
            elif ref is float:
                arrays.append(np.float64(segment.floats[float_at]))
                float_at += 1
            elif ref is int:
                arrays.append(np.int64(segment.ints[int_at]))
                int_at += 1
            else:
                arrays.append(None)
        slots = range(call.slots - call.outs, call.slots)
        for ref in call.refs:
            if ref.__class__ is int and ref >= 0 and last_use[ref] == n and ref not in wanted:
                values.pop(ref, None)  # before the call, which may write its result over it
        if any(array.__class__ is ProgramFailed for array in arrays):
            failure = next(a for a in arrays if a.__class__ is ProgramFailed)
            values.update((slot, failure) for slot in slots)
            continue
        try:
            results, checks = run_call(call, arrays, host)
        except Exception as error:
            failure = ProgramFailed(
                f"{call.op.name}() recorded at {call.line} failed to run: {error}; results that "
                "depend on it cannot be computed, all others stay usable"
            )
            failures.append(failure)
            values.update((slot, failure) for slot in slots)
            continue
        if checks is not None:
            pending_checks.append(checks)
        values.update(zip(slots, results, strict=True))
        results = None
    if failures:
        # What could be computed is handed out; the rest stays pending, and says why when asked.
        for slot in live:
            value = segment.refs[slot]()
            if value is not None and values[slot].__class__ is not ProgramFailed:
                value.array = np.array(values[slot]) if host else values[slot]
                value.segment = None
        raise failures[0]
    if host:
        _hand_out(segment, live, [values[s] for s in live], windows)
    else:
        segment.results = (live, [tuple([values[s] for s in live])], None)


def run_call(call: Prefix, arrays: list, host: bool):
    """The results of one call and its range checks, by NumPy if it can and is asked to."""
    if host:
        try:
            return run_host(call, arrays)
        except Unsupported:
            results, checks = run_single(call, arrays)
            return [np.asarray(r) for r in results], checks
    return run_single(call, arrays)


def _owned(array: np.ndarray, views: list) -> np.ndarray:
    """A result that shares no memory with a jax.Array, which a later program may overwrite."""
    if not array.flags.c_contiguous or any(np.may_share_memory(array, x) for x in views):
        return array.copy()
    return array


# ---- needing a value ---------------------------------------------------------------------------


def resolve(value: Value):
    """The array of a pending value, whichever segment and thread it is pending in."""
    segment = value.segment
    if value.array is not None:
        return value.array
    if value.aval.device is devices.META:
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")
    if segment is None:
        raise RuntimeError("a value was lost: the program that should have computed it failed")
    if isinstance(segment, Parts):
        raise errors.SparseOperand(segment.missing)
    if segment.__class__ is Packed:
        flat = array_of(segment.flat)
        flat = flat if flat.__class__ is np.ndarray else host_copy(flat)
        value.array = segment.array_of(value, flat)
        value.segment = None
        return value.array
    try:
        if segment is local.segment:
            flush(segment, "value")
        else:
            with segment.lock:
                if value.array is None and not segment.done:
                    if segment.results is not None or segment.thread == threading.get_ident():
                        run(segment, "value")  # it was closed by a flush that did not finish
                    else:
                        resolve_elsewhere(value, segment)
    except ProgramFailed:
        if value.array is None:  # else it is not this value that cannot be computed
            raise
    if value.array is None:
        raise RuntimeError("a value was lost: the program that should have computed it failed")
    return value.array


def resolve_elsewhere(value: Value, segment: Segment) -> None:
    """Compute one value of another thread's segment, which goes on recording undisturbed."""
    other = Segment(prefix.tree)
    node = segment.node
    while node.slots - node.outs > value.slot:
        node = node.parent
    other.node, other.device = node, segment.device
    other.arrays = list(segment.arrays[: node.externals])
    other.owners = [lambda v=v: v for v in other.arrays]  # never donated: they are seen
    other.floats, other.ints = segment.floats[:], segment.ints[:]
    slot = value.slot
    other.refs = [prefix.dead] * node.slots
    other.refs[slot] = lambda: value
    run_op_by_op(
        other, (slot,), settings.host and other.device is devices.CPU and node.work <= _SMALL
    )
    _, results, _ = other.results
    value.array = results[0][0]


def array_of(value: Value):
    """The value's array (jax or the host's numpy copy), flushing if it is pending."""
    array = value.array
    return resolve(value) if array is None else array


def jax_array(value: Value) -> jax.Array:
    """The value's jax.Array, put on its device if only the host has it."""
    if local.capture is not None:
        local.capture.reads(value)
    array = array_of(value)
    if array.__class__ is np.ndarray:
        device = devices.jax_device(value.aval.device)
        array = value.array = in_program_scope(jax.device_put, array, device)
    elif array.__class__ is Batched or array.__class__ is Hole:
        np.asarray(array)  # raises
    return array


def host_array(value: Value) -> np.ndarray:
    """The value as a numpy array, waiting for it; range checks that failed raise here."""
    if local.capture is not None:
        local.capture.reads(value)
    array = value.array
    if array is None:
        array = resolve(value) if local.capture is not None else glance(value, resolve)
    stats.syncs += 1
    if array.__class__ is not np.ndarray:
        array = host_copy(array)
    if pending_checks:
        check_bad_indices()
    return array


def clear_caches() -> None:
    """Forget every program, prefix and inferred shape; live values stay."""
    flush(why="clear")
    clear_programs()


def clear_programs() -> None:
    """The same, but what is pending stays so, with the prefixes that it was recorded at."""
    from torchlike._ops.table import TABLE

    cache.clear()
    prefix.tree.clear()
    forget_places()
    forget()
    for op in TABLE.values():
        op.inferred.clear()
        op.singles.clear()
        op.hosted.clear()
        op.vjp_ops.clear()


stats.flush_lines = flush_lines
prefix.flush_hook[0] = flush
prefix.flush_hook[1] = array_of
_ = dt
