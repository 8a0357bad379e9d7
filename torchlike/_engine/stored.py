"""Stored programs: executables in the compilation cache's folder, found by the calls they compute.

JAX keeps executables there as well, but asks with a lowered program: a process that finds all of
them still traces and lowers each, for a GPT of 6 layers 0.75 s beside 0.3 s to load them. Here a
program is found by what was recorded: its ops and their arguments, and all that decides what those
become (``_surroundings``). What cannot be told apart by its description is not stored.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import os
import pickle
import platform
import tempfile
import time
import types
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import jax
import jaxlib
import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import PACKAGE, warn_once
from torchlike._engine.compat import callable_of, matmul_precision
from torchlike._engine.prefix import Prefix
from torchlike._engine.values import Aval
from torchlike._ops.derivatives import Spec
from torchlike._ops.table import TABLE, Op

SUFFIX = "-program"

# Packages whose code decides what becomes of a recorded call.
_SOURCES = ("_core", "_ops", "_engine", "compiler")


def folder() -> str | None:
    """Where programs are kept, if the compilation cache is on; None if it bounds its own size."""
    config = jax.config
    found = config.jax_compilation_cache_dir
    if not found or not config.jax_enable_compilation_cache or "://" in found:
        return None
    return found if config.jax_compilation_cache_max_size == -1 else None


# ---- what a program computes -------------------------------------------------------------------


class Undescribable(Exception):
    """Something of which no other process could tell whether it is the same."""


def key_of(parts: tuple) -> str | None:
    """The name under which a program made of these parts is kept; None if they tell too little."""
    try:
        text = _surroundings() + repr(Description().of((*parts, dt.get_default_dtype())))
    except Undescribable:
        return None
    return hashlib.sha256(text.encode()).hexdigest()


class Description:
    """Values as nested tuples of plain numbers and strings; what was seen before is a number."""

    def __init__(self):
        self.seen: dict = {}
        self.kept: list = []

    def of(self, x):
        """``x``, described."""
        kind = x.__class__
        if x is None or kind in (bool, int, str, bytes):
            return x
        if kind is tuple or kind is list:
            return tuple(map(self.of, x))
        number = self.seen.get(id(x))
        if number is not None:
            return "again", number
        describe = KINDS.get(kind)
        if describe is None:
            describe = next((d for k, d in _FAMILIES if isinstance(x, k)), None)
            if describe is None:
                raise Undescribable(kind)
        found = kind.__qualname__, describe(self, x)
        self.seen[id(x)] = len(self.seen)
        self.kept.append(x)  # its id is of no other meanwhile
        return found

    def op(self, op: Op):
        if op.made_of is not None:
            return self.of(op.made_of)
        if TABLE.get(op.name) is op and op.fn.__code__.co_filename.startswith(_OPS):
            return op.name
        raise Undescribable(op)

    def call(self, call: Prefix):
        parent = call.parent
        at = (parent.slots, parent.floats, parent.ints)
        return self.of((call.op, call.statics, call.refs, call.in_avals, at))

    def spec(self, spec: Spec):
        return self.of((spec.statics, spec.avals, spec.need, spec.outs, spec.has_result))

    def type(self, x: type):
        if x.__module__ not in ("builtins", "numpy"):
            raise Undescribable(x)
        return x.__qualname__

    def fields(self, x: tuple):
        return tuple(map(self.of, x))


_OPS = os.path.join(PACKAGE, "_ops") + os.sep
# How an object of a class is described; whoever makes programs of others adds theirs.
KINDS = {
    float: lambda self, x: x.hex(),
    complex: lambda self, x: (x.real.hex(), x.imag.hex()),
    types.EllipsisType: lambda self, x: "",
    slice: lambda self, x: self.of((x.start, x.stop, x.step)),
    type: Description.type,
    Op: Description.op,
    Prefix: Description.call,
    Spec: Description.spec,
    Aval: lambda self, x: (x.shape, x.dtype.name, str(x.device)),
    dt.dtype: lambda self, x: x.name,
    devices.device: lambda self, x: str(x),
}
_FAMILIES = [
    (tuple, Description.fields),
    (dict, lambda self, x: self.of(tuple(x.items()))),
    (enum.Enum, lambda self, x: x.name),
    (np.dtype, lambda self, x: x.str),
    (np.generic, lambda self, x: (x.dtype.str, x.tobytes())),
]


def _surroundings() -> str:
    """All but its parts that decides what a program becomes."""
    values = sorted(jax.config.values.items())
    settings = [f"{k}={v}" for k, v in values if "cache" not in k]
    flags = [f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith(("XLA", "LIBTPU"))]
    return "\n".join((_here(), matmul_precision(), *settings, *flags))


@functools.cache
def _here() -> str:
    """The code that programs are made by, and the machine that they are for."""
    source = hashlib.sha256()
    for name in _SOURCES:
        paths = sorted(Path(PACKAGE, name).rglob("*.py"))
        if not paths:
            raise Undescribable("no sources to tell this version from others")
        for path in paths:
            source.update(path.read_bytes())
    machine = [platform.machine(), platform.system()]
    try:
        with open("/proc/cpuinfo") as file:
            machine += next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        machine.append(platform.processor())
    versions = jax.__version__, jaxlib.__version__, np.__version__, platform.python_version()
    return "\n".join((*versions, source.hexdigest(), "".join(machine)))


# ---- on disk -----------------------------------------------------------------------------------


def path_of(key: str, arguments: tuple, device: jax.Device) -> str | None:
    """The file of a program for such arguments on a device: an executable knows where it runs."""
    place = folder()
    if place is None:
        return None
    kinds = [(x.shape, str(x.dtype)) for x in arguments]
    machine = device.platform, device.device_kind, device.id, device.client.platform_version
    name = hashlib.sha256(f"{key} {kinds} {machine}".encode()).hexdigest()
    return os.path.join(place, f"torchlike-{name}{SUFFIX}")


def find(path: str, device: jax.Device) -> tuple | None:
    """(function, notes) of a stored program, or None."""
    if not os.path.exists(path):
        return None
    try:
        compiled, notes = _read(path, device)
    except (*_DAMAGED, jax.errors.JaxRuntimeError) as error:
        warn_once(f"the stored program {path} is of no use, and compiled anew: {error}")
        with suppress(OSError):
            os.unlink(path)
        return None
    return callable_of(compiled), notes


def compile_and_keep(path: str, jitted, arguments: tuple, notes):
    """``jitted``, compiled for such arguments, and stored.

    ``notes()`` is what else to store: what tracing has found out, in plain tuples.
    """
    start = time.perf_counter()
    lowered = jitted.lower(*arguments)
    with _noting_events() as events:
        compiled = lowered.compile()
    seconds = time.perf_counter() - start
    # An executable that JAX has loaded cannot be written again: XLA loses functions of it.
    fresh = "/jax/compilation_cache/cache_hits" not in events
    least = jax.config.jax_persistent_cache_min_compile_time_secs
    if fresh and seconds >= least and not _calls_out(lowered):
        _write(path, compiled, notes())
    return callable_of(compiled)


@contextmanager
def _noting_events():
    """The set of what JAX says it does inside the block."""
    events = set()

    def listen(event: str, **_):
        events.add(event)

    jax.monitoring.register_event_listener(listen)
    try:
        yield events
    finally:
        jax.monitoring.unregister_event_listener(listen)


_DAMAGED = (
    OSError, pickle.UnpicklingError, zlib.error, EOFError, ValueError, TypeError, KeyError,
    IndexError, AttributeError, ImportError, RuntimeError,
)  # fmt: skip


def _calls_out(lowered) -> bool:
    """Whether a program calls functions by name: lowering it has put them in place (LAPACK's)."""
    from jax.interpreters.mlir import ir

    names = set()

    def look(operation):
        names.add(operation.name)
        return ir.WalkResult.ADVANCE

    lowered.compiler_ir().operation.walk(look)
    return "stablehlo.custom_call" in names


def _read(path: str, device) -> tuple:
    from jax.experimental.serialize_executable import deserialize_and_load

    data = Path(path).read_bytes()
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        raise ValueError("it is damaged")
    *parts, notes = pickle.loads(zlib.decompress(data[32:]))
    return deserialize_and_load(*parts, device.client, [device]), notes


def _write(path: str, compiled, notes) -> None:
    from jax.experimental.serialize_executable import serialize

    try:
        data = zlib.compress(pickle.dumps((*serialize(compiled), notes)), 1)
    except (ValueError, TypeError, NotImplementedError, pickle.PicklingError):
        return  # of a kind that JAX cannot write
    try:
        handle, beside = tempfile.mkstemp(dir=os.path.dirname(path))
        with os.fdopen(handle, "wb") as out:
            out.write(hashlib.sha256(data).digest())
            out.write(data)
        os.replace(beside, path)
    except OSError as error:
        warn_once(f"a program was compiled but not stored: {error}")
