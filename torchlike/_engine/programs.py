"""Programs: a segment and its live outputs as one XLA executable; and single ops as small ones."""

from __future__ import annotations

import functools
import itertools
import time
import weakref
from collections import OrderedDict
from struct import Struct

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.settings import settings
from torchlike._core.symbolic import tracing
from torchlike._engine import stored
from torchlike._engine.compat import matmul_precision
from torchlike._engine.inference import as_jax_takes, single_body, wrap
from torchlike._engine.prefix import Prefix
from torchlike._engine.stats import stats
from torchlike._engine.values import MUCH, aligned
from torchlike._ops.table import bad_indices, collecting_bad_indices, evaluate


def jax_place(device):
    """JAX's device behind one of ours; None where JAX takes it unless it is told."""
    return devices.host_place() if device is devices.CPU else devices.jax_device(device)


class Program:
    """One compiled function from a segment's inputs to its live values.

    donated    external inputs that it overwrites
    outputs    the live slots in the order of its results
    forwarded  (output, external input) pairs that are the same array
    strangers  external inputs that are of another device than it
    returned   (place among its results, JAX's device) of those that are
    checks     (size, ndim, prefix) of each range check, in the order of the flags' rows
    function   what is called; made at the first call
    fixed      the precision of products that ``function`` was compiled for; None if it is jitted
    """

    __slots__ = ("body", "checks", "donated", "fixed", "forwarded", "function", "host", "live",
                 "needed", "outputs", "owner", "pack", "packed", "parts", "returned",
                 "strangers")  # fmt: skip

    def __init__(self, node: Prefix, live: tuple[int, ...]):
        self.live = live
        self.owner = node
        self.pack = Struct(f"={node.floats}d{node.ints}q").pack
        self.packed = None  # (bytes, array) of the numbers of the last run
        self.host: dict = {}  # weak references to the host arrays of the last run, by place
        self.checks: list = []
        self.forwarded: list = []
        path = needed_calls(node, live)
        self.needed = path
        self.strangers, self.returned = (), ()
        replaced = replaced_inputs(path)
        self.donated = tuple(sorted(replaced))
        # jax gives a donated input's memory to the first result of its type. In another order a
        # gradient gets its parameter's, and XLA copies: a step of the 784 MLP took 1.2 times as
        # long.
        first = dict.fromkeys(replaced[d] for d in self.donated if replaced[d] in live)
        self.outputs = (*first, *(slot for slot in live if slot not in first))
        if node.device is not devices.CPU:
            self._sort_by_device()
        self.build(body_of(self, path))

    @property
    def place(self):
        """JAX's device that it runs on; None: where JAX runs it unless it is told."""
        return jax_place(self.owner.device)

    def _sort_by_device(self) -> None:
        """Find what is of another device than the program."""
        device, outside, homes = self.owner.device, {}, {}
        for call in self.needed:
            homes.update(enumerate([a.device for a in call.avals], call.slots - call.outs))
            for ref, a in zip(call.refs, call.in_avals, strict=True):
                if ref.__class__ is int and ref < 0 and a.device is not device:
                    outside[~ref] = a.device
        self.strangers = tuple(outside)
        self.donated = tuple([d for d in self.donated if d not in outside])
        self.returned = tuple([
            (n, devices.jax_device(homes[slot]))
            for n, slot in enumerate(self.outputs) if homes[slot] is not device
        ])  # fmt: skip

    def build(self, body, *parts) -> None:
        """Set its body, which differs from others' of these calls by ``parts``."""
        self.body, self.parts = body, parts
        self.function = self.fixed = None

    def prepare(self, arguments: tuple) -> None:
        """Make the function for a first call: find it among the stored programs, or compile it."""
        path = None
        if stored.folder() is not None:
            node = self.owner
            kind = self.needed, self.outputs, self.donated, node.floats, node.ints
            key = stored.key_of(("program", *kind, effort(node), *self.parts))
            device = self.place or devices.jax_device(devices.CPU)
            path = key and stored.path_of(key, arguments, device)
        if path is None:
            self.let_go()
            return
        found = stored.find(path, device)
        if found is not None:
            function, (checks, self.forwarded) = found
            self.checks = [
                (size, ndim, self.needed[n] if m is None else inner_call(self.needed[n], m))
                for size, ndim, n, m in checks
            ]
            stats.loads += 1
        else:
            function = stored.compile_and_keep(path, self.jitted(), arguments, self._notes)
        self.fixed = matmul_precision()
        self.function = function

    def _notes(self):
        place = {call: (n, None) for n, call in enumerate(self.needed)}
        for n, call in enumerate(self.needed):
            if getattr(call.op.fn, "sources", None):
                place.update({inner: (n, m) for m, inner in enumerate(call.op.made_of[1])})
        return [(size, ndim, *place[call]) for size, ndim, call in self.checks], self.forwarded

    def jitted(self):
        """Its body, jitted: for arguments and settings of any kind."""
        donated = tuple(1 + d for d in self.donated)
        options = compiler_options(self.owner)
        # NumPy's arrays and numbers alone would not say where it is.
        place = {} if self.place is None else {"out_shardings": SingleDeviceSharding(self.place)}
        return jax.jit(self.body, donate_argnums=donated, compiler_options=options, **place)

    def let_go(self) -> None:
        """Have the function that takes any arguments."""
        self.function, self.fixed = self.jitted(), None

    def renew(self, arguments: tuple) -> None:
        """Have a function for these arguments under settings that it was not compiled for."""
        self.let_go()

    def numbers(self, segment):
        """The packed run-time numbers: floats, then the bits of integers."""
        node = self.owner
        floats, ints = segment.floats, segment.ints
        if len(floats) != node.floats or len(ints) != node.ints:
            floats, ints = floats[: node.floats], ints[: node.ints]
        data = self.pack(*floats, *ints)
        last = self.packed
        if last is not None and data == last[0]:
            numbers = last[1]
            if numbers.__class__ is np.ndarray:  # seen twice: worth a place on the device
                self.packed = (data, jax.device_put(numbers, self.place))
        else:
            # One transfer for all numbers: each host argument costs several microseconds.
            numbers = np.frombuffer(data, np.float64)
            self.packed = (data, numbers)
        return numbers

    def arguments(self, segment, arrays) -> tuple:
        """The call's arguments: packed run-time numbers, then the external arrays."""
        numbers = self.numbers(segment)
        if self.owner.device is not devices.CPU:
            place, arrays = self.place, list(arrays)
            for n in self.strangers:
                # Copied now: somebody may write NumPy's memory while the transfer waits.
                arrays[n] = jax.device_put(arrays[n], place, may_alias=False)
        for n, x in enumerate(arrays):
            if x.__class__ is np.ndarray:
                arrays = self.settle(segment, arrays, n)
        return (numbers, *arrays)

    def align(self, segment, arrays) -> list:
        """The arrays, large ones of the host where XLA need not copy them, now and later."""
        for n, x in enumerate(arrays):
            if x.__class__ is np.ndarray and x.nbytes >= MUCH:
                fit = aligned(x)
                if fit is not x:
                    arrays = [*arrays[:n], fit, *arrays[n + 1 :]]
                    owner = segment.owners[n]()
                    if owner is not None:
                        owner.array = fit
        return arrays

    def settle(self, segment, arrays, n: int) -> list:
        """The arrays with the n-th, a host one, moved to the device if it was there last time too.

        A batch that comes once goes in as it is; passing it again costs 5 us each time.
        """
        last = self.host.get(n)
        if last is None or last() is not arrays[n]:
            arrays = self.align(segment, arrays)
            self.host[n] = weakref.ref(arrays[n])
            return arrays
        arrays = list(arrays)
        arrays[n] = jax.device_put(arrays[n], self.place)
        owner = segment.owners[n]()
        if owner is not None:
            owner.array = arrays[n]
        return arrays

    def drop(self) -> None:
        """Leave the prefix that this program hangs on."""
        if self.owner.programs is not None:
            self.owner.programs.pop(self.live, None)


# How hard XLA works on a program of the CPU. Its compile takes 5 to 25 ms for each call and pays
# only where the program has much to do: steps of small networks take 0.3 s instead of 0.5 to
# compile without LLVM's optimizations, and as long to run (mlp_small: 0.171 ms, 0.167). Many calls
# on arrays of some size: the older emitter of loops compiles in two thirds of the time, and its
# programs take up to 5 % more (an LSTM's step; mlp_784, of few large calls, would take 22 %).
# XLA cuts a program into 32 modules for LLVM; into 4, a small one compiles in 0.8 of the time (87
# ms now 70), a large one as fast as before on two cores.
_MODULES = {"xla_cpu_parallel_codegen_split_count": 4}
_QUICK = _MODULES | {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
_MIDDLE = _MODULES | {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}
# Fused, a result is computed anew for each of its readers, and LLVM contracts the same products and
# sums in one way here, in another there: x == x.amax() was true of no element. Not with the older
# emitter: of 150 random programs 11 then had wrong numbers (a copy that turns a matrix, needed by a
# product, was dropped); without it none of 550.
_UNFUSED = _MODULES | {"xla_backend_optimization_level": 0, "xla_disable_hlo_passes": "fusion"}
# XLA leaves out the rounding of half precision before a conversion to float32, in some programs:
# (a @ b).float() was no longer a @ b.
_ROUNDED = {"xla_allow_excess_precision": False}
_HALVES = (dt.float16, dt.bfloat16)
_COMPARISONS = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))
_LITTLE = 3e-4  # seconds of work, as NumPy would need
_EACH = 2.5e-4  # seconds of work for each call


def compiler_options(node: Prefix) -> dict | None:
    """XLA's options for the program of the calls that end here."""
    options = effort(node)
    if options is None:
        return None
    return {name: x for name, x in options.items() if name in known_options()} or None


def effort(node: Prefix) -> dict | None:
    """How hard XLA is to work on that program."""
    # By what the device is: the runner may let "cuda" be the CPU, with the CPU's numbers.
    if devices.jax_device(node.device).platform != "cpu":
        return None
    options = _MIDDLE if node.work <= node.calls * _EACH else None
    if any(call.op.tuned for call in node.path()):
        options = None
    elif node.work <= _LITTLE:
        options = _UNFUSED if any(map(_compares_results, node.path())) else _QUICK
    if any(map(_has_halves, node.path())):
        return _ROUNDED if options is None else options | _ROUNDED
    return options


def _has_halves(call) -> bool:
    """Whether a call, or one of those that it is made of, has half precision."""
    if any(getattr(a, "dtype", None) in _HALVES for a in (*call.in_avals, *call.avals)):
        return True
    inner = call.op.made_of[1] if getattr(call.op.fn, "sources", None) else ()
    return any(map(_has_halves, inner))


def _compares_results(call: Prefix) -> bool:
    """Whether a call compares two results of the same program that may have been rounded."""
    return (
        call.op.name in _COMPARISONS
        and all([ref.__class__ is int and ref >= 0 for ref in call.refs])
        and call.in_avals[0].dtype.category >= dt.FLOATING
    )


@functools.cache
def known_options() -> frozenset:
    """Which of the options this XLA has: they are of its own, and go (the older emitter of loops
    went with jax 0.12)."""
    options = _QUICK | _UNFUSED | _ROUNDED
    place = SingleDeviceSharding(devices.jax_device(devices.CPU))
    while options:
        try:
            jax.jit(lambda: 0, compiler_options=options, out_shardings=place).lower().compile()
            break
        except (jax.errors.JaxRuntimeError, RuntimeError, ValueError, KeyError) as error:
            unknown = {name for name in options if name in str(error)} or set(options)
            options = {name: x for name, x in options.items() if name not in unknown}
    return frozenset(options)


def replaced_inputs(calls: list[Prefix]) -> dict[int, int]:
    """External inputs that calls may overwrite, each with the slot that takes its place."""
    replaced: dict[int, int] = {}
    for call in calls:
        if call.op.donates is not None:
            positions = call.op.donates(call.statics)
            for slot, position in enumerate(positions, call.slots - len(positions)):
                ref = call.refs[position]
                if ref.__class__ is int and ref < 0:
                    replaced.setdefault(~ref, slot)
    return replaced


def evaluate_calls(
    calls: list[Prefix], externals, floats, ints, sources: list | None = None, known=(), stops=None
):  # fmt: skip
    """The results of calls in order, by slot, while they are traced; ``sources`` is filled with the
    number of the call that each range check is of, ``known`` results are there already. ``stops``
    tells, by a call's first slot, which of its operands are constants to autograd."""
    values: dict = dict(known)
    reports = bad_indices()
    for n, call in enumerate(calls):
        before = 0 if reports is None else len(reports)
        arrays = operands_of(call, externals, values, floats, ints)
        for i, stop in enumerate(stops.get(call.slots - call.outs, ()) if stops else ()):
            if stop and arrays[i] is not None:
                arrays[i] = jax.lax.stop_gradient(arrays[i])
        statics = call.statics if tracing.scope is None else as_jax_takes(call.statics)
        results = evaluate(call.op, wrap(call.op, arrays, call.in_avals), statics)
        values.update(enumerate(results, call.slots - call.outs))
        if sources is not None and reports is not None:
            sources += [n] * (len(reports) - before)
    return values


def inner_call(call: Prefix, n: int) -> Prefix:
    """The n-th of the calls that a composite stands for."""
    return call.op.made_of[1][n]


def operands_of(call: Prefix, externals, values, floats, ints) -> list:
    """A call's operands while it is traced, from what its references stand for."""
    float_at, int_at = call.parent.floats, call.parent.ints
    arrays: list = []
    for ref in call.refs:
        if ref.__class__ is int:
            arrays.append(externals[~ref] if ref < 0 else values[ref])
        elif ref is float:
            arrays.append(floats[float_at])
            float_at += 1
        elif ref is int:
            arrays.append(ints[int_at])
            int_at += 1
        elif ref is None:
            arrays.append(None)
        else:
            arrays.append(jax.numpy.asarray(ref[1], dt.WIDEST[ref[0]].numpy))
    return arrays


def needed_calls(node: Prefix, live) -> list[Prefix]:
    """The calls that live slots depend on, and those that report bad indices."""
    path = node.path()
    wanted = set(live)
    keep = []
    for call in reversed(path):
        if call.op.checks or not wanted.isdisjoint(range(call.slots - call.outs, call.slots)):
            keep.append(call)
            wanted.update(r for r in call.refs if r.__class__ is int and r >= 0)
    keep.reverse()
    return keep


def body_of(program: Program, path: list[Prefix]):
    """The Python function that XLA compiles: the calls in order, on tracers."""

    split = program.owner.floats

    def torchlike_segment(numbers, *externals):
        floats = numbers[:split]
        ints = jax.lax.bitcast_convert_type(numbers[split:], np.int64)
        values = {}
        del program.checks[:], program.forwarded[:]
        flags = []
        for call in path:
            arrays = operands_of(call, externals, values, floats, ints)
            with collecting_bad_indices() as reports:
                results = evaluate(call.op, wrap(call.op, arrays, call.in_avals), call.statics)
            within = getattr(call.op.fn, "sources", None)
            for n, (flag, size, ndim) in enumerate(reports):
                flags.append(flag)
                source = inner_call(call, within[n]) if within else call
                program.checks.append((size, ndim, source))
            slot = call.slots - call.outs
            for result in results:
                values[slot] = result
                slot += 1
        positions = {id(x): i for i, x in enumerate(externals)}
        out = []
        for n, slot in enumerate(program.outputs):
            if id(values[slot]) in positions:
                program.forwarded.append((n, positions[id(values[slot])]))
            out.append(values[slot])
        if flags:
            out.append(jax.numpy.stack(flags))
        return tuple(out)

    return torchlike_segment


class ProgramCache:
    """All programs in order of use, bounded; the oldest leave their prefix when it is full."""

    def __init__(self):
        self.order: OrderedDict[int, Program] = OrderedDict()

    def touch(self, program: Program) -> None:
        """Note a use."""
        key = id(program)
        if key in self.order:
            self.order.move_to_end(key)
            return
        self.order[key] = program
        while len(self.order) > settings.max_programs:
            _, old = self.order.popitem(last=False)
            old.drop()

    def clear(self) -> None:
        """Forget all programs."""
        for program in list(self.order.values()):
            program.drop()
        self.order.clear()


cache = ProgramCache()


def call_into(results: list, program: Program, arguments: tuple) -> None:
    """Append the program's results for these arguments to ``results``.

    list.extend over starmap runs without a bytecode between the call and the store, so Ctrl-C
    cannot fall between a program that has consumed its donated inputs and its results.
    """
    if program.function is None:
        program.prepare(arguments)
    fixed = program.fixed
    if fixed is not None and fixed != matmul_precision():
        program.renew(arguments)
    try:
        results.extend(itertools.starmap(program.function, (arguments,)))
    except (TypeError, ValueError) as error:
        if "KeyboardInterrupt" in str(error):  # in a comparison of jaxlib's, which makes this of it
            raise KeyboardInterrupt from None
        if program.fixed is None:
            raise
        program.renew(arguments)  # it was compiled for arrays elsewhere: on several devices
        results.extend(itertools.starmap(program.function, (arguments,)))
    if program.returned:
        arrays = list(results[-1])
        for n, device in program.returned:
            arrays[n] = jax.device_put(arrays[n], device)
        results[-1] = arrays


# ---- one op at a time --------------------------------------------------------------------------

_MAX_SINGLES = 2_000


def single_key(call: Prefix) -> tuple:
    """Which of its op's small programs runs a call."""
    return call.statics, call.in_avals, dt.get_default_dtype()


def missing_singles(node: Prefix) -> int:
    """How many small programs running a segment op by op would have to compile."""
    keys = {(call.op, single_key(call)) for call in node.path()}
    return sum(key not in op.singles for op, key in keys)


def run_single(call: Prefix, arrays):
    """Run one op as a small program of its own, cached by its statics and operand kinds."""
    op, key = call.op, single_key(call)
    function = op.singles.get(key)
    stats.single_ops += 1
    given = [a for a in arrays if a is not None]
    if function is None:
        single, sizes = single_body(op, call.statics, call.in_avals)
        function = (jax.jit(single), sizes)
        if len(op.singles) > _MAX_SINGLES:
            op.singles.clear()
        op.singles[key] = function
        stats.single_compiles += 1
        start = time.perf_counter()
        results = _call_single(call, function[0], given)
        stats.compile_seconds += time.perf_counter() - start
    else:
        results = _call_single(call, function[0], given)
    sizes = function[1]
    if sizes:
        return results[:-1], (results[-1], [(size, ndim, call) for size, ndim in sizes])
    return results, None


def _call_single(call: Prefix, function, given: list):
    """The results of a small program, where they belong."""
    if call.op.places is None or call.device is devices.CPU:
        place = jax_place(next((a.device for a in call.avals), call.device))
        if place is None:
            return function(*given)
        with jax.default_device(place):
            return function(*given)
    results = function(*jax.device_put(given, devices.jax_device(call.device)))
    homes = [devices.jax_device(a.device) for a in call.avals]
    return (*map(jax.device_put, results, homes), *results[len(homes) :])
