"""Recorded calls run by NumPy on the CPU, for segments that do not pay a compile (yet).

XLA takes 15 ms and more for a program of one op. Here a call is traced once to a jaxpr, whose
equations run as NumPy functions; a pointwise op is traced once for all shapes; and the most
frequent ops have a twin in NumPy, which needs no trace.
"""

from __future__ import annotations

from math import prod

import jax
import jax.extend.core
import numpy as np

from torchlike._core import dtypes as dt
from torchlike._engine import (  # they register theirs
    attention_twins,  # noqa: F401
    derivative_twins,  # noqa: F401
    indexing_twins,  # noqa: F401
    known_shapes,  # noqa: F401
    layer_twins,  # noqa: F401
    reduction_twins,  # noqa: F401
    training_twins,  # noqa: F401
)
from torchlike._engine.inference import broadcast, canonical, traced
from torchlike._engine.prefix import Prefix, local
from torchlike._engine.primitives import BUILDERS, ELEMENTWISE, Unsupported
from torchlike._engine.stats import stats
from torchlike._engine.twins import TWINS
from torchlike._engine.values import host_copy
from torchlike._ops.derivatives import Spec

_MAX_KERNELS = 2_000
_ndarray = np.ndarray


def run_host(call: Prefix, arrays: list):
    """Run one call on numpy arrays: (results, its range checks or None); may raise Unsupported.

    An array that only ``arrays`` holds may be overwritten.
    """
    function, sizes = kernel_of(call)
    results = function(*[x for x in arrays if x is not None])
    stats.host_ops += 1
    out = []
    for r, a in zip(results, call.avals, strict=False):
        if r.__class__ is not _ndarray or r.shape != a.shape or r.dtype != a.dtype.numpy:
            r = _fitted(r, a)
        out.append(r)
    if sizes:
        return out, (results[-1], [(size, ndim, call) for size, ndim in sizes])
    return out, None


def kernel_of(call: Prefix) -> tuple:
    """(function of the present arrays, its range checks) of a call; may raise Unsupported."""
    op = call.op
    key = (call.statics, call.in_avals, dt.get_default_dtype())
    kernel = op.hosted.get(key)
    if kernel is None:
        if len(op.hosted) > _MAX_KERNELS:
            op.hosted.clear()
        try:
            kernel = make_kernel(call)
        except Unsupported as reason:
            kernel = str(reason)  # not the exception, whose traceback would keep values alive
        op.hosted[key] = kernel
    if kernel.__class__ is str:
        raise Unsupported(kernel)
    return kernel


class Plan:
    """Calls of a segment as functions on one list of registers.

    The registers are the arrays and run-time numbers that these calls take, then their results.
    """

    __slots__ = ("arrays", "blank", "dtype", "floats", "ints", "live", "steps")

    def __init__(self, live: tuple, calls: list[Prefix]):
        self.dtype = dt.get_default_dtype()  # which the kernels depend on
        last = {ref: n for n, call in enumerate(calls) for ref in call.refs}
        taken = [list(_sources(call)) for call in calls]
        given = {kind: dict.fromkeys(at for refs in taken for k, at in refs if k is kind)
                 for kind in (_ARRAY, float, int)}  # fmt: skip
        self.arrays, self.floats, self.ints = map(list, given.values())
        slots = [slot for call in calls for slot in range(call.slots - call.outs, call.slots)]
        places = [(kind, at) for kind, ats in given.items() for at in ats]
        places += [(_SLOT, slot) for slot in slots]
        register = {place: n for n, place in enumerate(places)}
        self.blank = [None] * len(slots)
        self.live = [register[_SLOT, slot] for slot in live]
        self.steps = []
        for n, (call, refs) in enumerate(zip(calls, taken, strict=True)):
            function, sizes = kernel_of(call)
            dead = [register[_SLOT, ref] for ref in {*call.refs} if ref.__class__ is int
                    and ref >= 0 and last[ref] == n and ref not in live]  # fmt: skip
            first = register[_SLOT, call.slots - call.outs] if call.outs else 0
            ins = [register[place] for place in refs]
            self.steps.append((function, ins, first, call.avals, sizes, call, dead))

    def run(self, segment) -> tuple[list, list, list]:
        """The live results, (flags, [(size, ndim, call)]) of each call with range checks, and
        the windows on arrays of JAX's that were read."""
        registers, windows = [], []
        for n in self.arrays:
            x = segment.arrays[n]
            if x.__class__ is not _ndarray:
                x = host_copy(x)
                windows.append(x)
            registers.append(x)
        registers += [np.float64(segment.floats[n]) for n in self.floats]
        registers += [np.int64(segment.ints[n]) for n in self.ints]
        registers += self.blank
        checks = []
        for function, ins, at, avals, sizes, call, dead in self.steps:
            arrays = [registers[i] for i in ins]
            for i in dead:
                registers[i] = None
            results = function(*arrays)
            for r, a in zip(results, avals, strict=False):
                if r.__class__ is not _ndarray or r.shape != a.shape or r.dtype != a.dtype.numpy:
                    r = _fitted(r, a)
                registers[at] = r
                at += 1
            if sizes:
                checks.append((results[-1], [(size, ndim, call) for size, ndim in sizes]))
            results = r = None  # what only the next call's arguments hold may be overwritten
        stats.host_ops += len(self.steps)
        return [registers[n] for n in self.live], checks, windows


def plan_of(known, live: tuple, calls) -> Plan | bool:
    """The plan for live slots: the known one while it holds, else a new one, False where NumPy
    cannot run what ``calls()`` gives."""
    if known is None or (known and known.dtype is not dt.get_default_dtype()):
        try:
            return Plan(live, calls())
        except Unsupported:
            return False
    return known


_ARRAY, _SLOT = "array", "slot"


def _sources(call: Prefix):
    """(kind, position) of each operand that is there: an input's, a slot's or a number's."""
    at = {float: call.parent.floats, int: call.parent.ints}
    for ref in call.refs:
        if ref.__class__ is int:
            yield (_SLOT, ref) if ref >= 0 else (_ARRAY, ~ref)
        elif ref is float or ref is int:
            yield ref, at[ref]
            at[ref] += 1


def _fitted(result, a):
    """A result as exactly the array that was promised: numpy makes scalars of 0-d arrays."""
    result = np.asarray(result)
    if result.dtype != a.dtype.numpy:
        raise Unsupported(f"dtype {result.dtype} for {a}")
    return result if result.shape == a.shape else np.broadcast_to(result, a.shape)


def make_kernel(call: Prefix):
    """(function of the present arrays -> results, [(size, ndim)] of its range checks)."""
    op, statics, in_avals = call.op, call.statics, call.in_avals
    twin = TWINS.get(op.name)
    if twin is not None:
        made = twin(statics, in_avals, call.avals)
        if made is not None:
            return made if made.__class__ is tuple else (made, ())
    if op.pointwise:
        kernel = _pointwise_kernel(op, statics, in_avals)
    elif op.forward is not None and op.forward.pointwise:
        kernel = _pointwise_derivative(op, statics, in_avals, call.avals)
    else:
        kernel = None
    return kernel or trace(op, statics, in_avals, False)


# ---- pointwise ops: one trace for all shapes ---------------------------------------------------


def _shapeless(op, statics, small):
    """The function of a pointwise op for operands of any shapes, or None."""
    key = (statics, small, dt.get_default_dtype(), None)
    found = op.hosted.get(key, False)
    if found is False:
        try:
            found = trace(op, statics, small, True)
        except Unsupported:
            found = None
        op.hosted[key] = found
    return found


def _pointwise_kernel(op, statics, in_avals):
    if broadcast(in_avals) is None:
        return None
    return _shapeless(op, statics, canonical(in_avals))


def _pointwise_derivative(op, statics, in_avals, avals):
    (spec,) = statics
    if spec.__class__ is not Spec:
        return None
    small = canonical(spec.avals)
    if _shapeless(op.forward, spec.statics, small) is None:  # it mixes elements after all
        return None
    spec = Spec(spec.statics, small, spec.need, spec.outs, spec.has_result)
    kernel = _shapeless(op, (spec,), canonical(in_avals))
    if kernel is None:
        return None
    # Each gradient has one element for each of the result; an operand that was broadcast gets sums.
    full = broadcast(in_avals)
    shapes = [a.shape for a in avals]
    if full is None:
        return None
    if all(shape == full for shape in shapes):
        return kernel
    sums = [_summing(full, shape) for shape in shapes]
    function = kernel[0]
    return lambda *xs: [s(r) for s, r in zip(sums, function(*xs), strict=True)], ()


def _summing(full, shape):
    if full == shape:
        return lambda r: r
    extra = len(full) - len(shape)
    axes = (*range(extra), *[extra + d for d, n in enumerate(shape) if n == 1 != full[extra + d]])

    def total(r):
        r = np.broadcast_to(r, full)
        wide = np.float32 if r.dtype.itemsize < 4 and r.dtype.kind in "fV" else r.dtype
        return np.add.reduce(r, axes, wide).astype(r.dtype, copy=False).reshape(shape)

    return total


# ---- jaxprs ------------------------------------------------------------------------------------


def trace(op, statics, in_avals, elementwise: bool):
    """The call's jaxpr as (function, checks)."""
    try:
        closed, sizes = traced(op, statics, in_avals)
    except Exception as error:  # XLA's own way raises it again, with the op and the line
        raise Unsupported(str(error)) from None
    if elementwise and sizes:
        raise Unsupported("range checks of any shape")
    allowed = None if not elementwise else _DERIVED if op.forward is not None else _FREE
    return plan(closed, allowed), tuple(sizes)


# What does not change an element when shapes are (1,) or (): numpy's broadcasting does the rest.
_FREE = frozenset((
    "broadcast_in_dim", "reshape", "squeeze", "expand_dims", "copy", "optimization_barrier",
    "stop_gradient",
))  # fmt: skip
_DERIVED = _FREE | {"reduce_sum"}  # the sums of broadcast operands: done at the end instead
_CALLS = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr", "remat": "jaxpr", "remat2": "jaxpr",
    "checkpoint": "jaxpr", "custom_lin": None,
}  # fmt: skip


class _Builder:
    """Flattens a jaxpr into steps (function, positions of operands, position of the result)."""

    def __init__(self, free):
        self.free = free
        self.start: list = []  # the register file as it begins: constants, None elsewhere
        self.steps: list = []

    def register(self, content=None) -> int:
        self.start.append(content)
        return len(self.start) - 1

    def constant(self, x, dtype) -> int:
        if isinstance(x, jax.core.Tracer):
            raise Unsupported("a tracer among the constants")
        return self.register(np.asarray(x, dtype))

    def add(self, jaxpr, consts, inputs) -> list[int]:
        """Append a jaxpr's equations; returns where its results are."""
        at = dict(zip(jaxpr.invars, inputs, strict=True))
        for v, c in zip(jaxpr.constvars, consts, strict=True):
            at[v] = self.constant(c, v.aval.dtype)

        def place(v):
            if isinstance(v, jax.extend.core.Literal):
                return self.constant(v.val, v.aval.dtype)
            return at[v]

        for eqn in jaxpr.eqns:
            name, params = eqn.primitive.name, eqn.params
            ins = [place(v) for v in eqn.invars]
            if name == "custom_linear_solve":
                sizes, solve = params["const_lengths"], params["jaxprs"].solve
                first = sizes.matvec + sizes.vecmat
                given = ins[first : first + sizes.solve] + ins[sum(sizes) :]
                outs = self.add(solve.jaxpr, solve.consts, given)
                at.update(zip(eqn.outvars, outs, strict=True))
                continue
            if name == "call_hi_primitive":
                closed = _expanded(eqn)
                outs = self.add(closed.jaxpr, closed.consts, ins)
                at.update(zip(eqn.outvars, outs, strict=True))
                continue
            if name in _CALLS:
                inner = params.get(_CALLS[name]) if _CALLS[name] else None
                if inner is None:
                    raise Unsupported(name)
                closed = hasattr(inner, "jaxpr")
                outs = self.add(
                    inner.jaxpr if closed else inner, inner.consts if closed else (), ins
                )
                at.update(zip(eqn.outvars, outs, strict=True))
                continue
            if self.free is not None and name in self.free:
                at.update(zip(eqn.outvars, ins[: len(eqn.outvars)], strict=True))
                continue
            if self.free is not None and name not in ELEMENTWISE:
                raise Unsupported(name)
            outs = [self.register() for _ in eqn.outvars]
            at.update(zip(eqn.outvars, outs, strict=True))
            many = eqn.primitive.multiple_results
            self.steps.append((_function_of(eqn), tuple(ins), tuple(outs) if many else outs[0]))
        return [place(v) for v in jaxpr.outvars]


def _expanded(eqn):
    """What jax, since 0.12, calls a primitive but makes of others: a search in what is sorted."""

    def flat(*args):
        return jax.tree.leaves(made.expand(*jax.tree.unflatten(made.in_tree, args)))

    try:
        made = eqn.params["_prim"]
        return jax.make_jaxpr(flat)(*[v.aval for v in eqn.invars])
    except (KeyError, AttributeError, NotImplementedError) as error:
        raise Unsupported(f"{eqn.primitive.name}: {error!r}") from None


def _function_of(eqn):
    name = eqn.primitive.name
    build = BUILDERS.get(name)
    try:
        if name in _CONTROL:
            return _CONTROL[name](eqn.params)
        if build is not None:
            return build(eqn.params, [v.aval for v in eqn.invars], [v.aval for v in eqn.outvars])
    except (KeyError, AttributeError) as error:  # a parameter that this version of jax has not
        raise Unsupported(f"{name}: {error!r}") from None
    raise Unsupported(name)


def plan(closed, free=None):
    """A closed jaxpr as one function of numpy arrays that returns a list of results."""
    builder = _Builder(free)
    jaxpr = closed.jaxpr
    inputs = [builder.register() for _ in jaxpr.invars]
    outs = builder.add(jaxpr, closed.consts, inputs)
    steps, rest = builder.steps, builder.start[len(inputs) :]
    if len(steps) == 1 and steps[0][1] == tuple(inputs) and outs == [steps[0][2]]:
        function = steps[0][0]
        return lambda *xs: (function(*xs),)
    last: dict = {}
    for n, (_, ins, _) in enumerate(steps):
        for i in ins:
            last[i] = n
    long = len(steps) > 50  # free what has been used, where that may save memory

    def run(*xs):
        registers = [*xs, *rest]
        local.kernels += len(steps)
        for n, (function, ins, out) in enumerate(steps):
            result = function(*[registers[i] for i in ins])
            if out.__class__ is int:
                registers[out] = result
            else:
                for i, r in zip(out, result if len(out) > 1 else _one(result), strict=True):
                    registers[i] = r
            if long:
                for i in ins:
                    if last[i] == n and i not in outs:
                        registers[i] = None
        return [registers[i] for i in outs]

    return run


def _one(result):
    return result if isinstance(result, (list, tuple)) else (result,)


# ---- control flow ------------------------------------------------------------------------------


def _while(params):
    test, step = plan(params["cond_jaxpr"]), plan(params["body_jaxpr"])
    a, b = params["cond_nconsts"], params["body_nconsts"]

    def loop(*xs):
        tested, fixed, state = xs[:a], xs[a : a + b], list(xs[a + b :])
        while True:
            going = test(*tested, *state)[0]
            if not np.any(going):
                return state
            new = step(*fixed, *state)
            if np.ndim(going):  # one loop for each sample of a batch: those at their end stay
                going = [going.reshape(going.shape + (1,) * (x.ndim - going.ndim)) for x in new]
                new = [np.where(g, x, y) for g, x, y in zip(going, new, state, strict=True)]
            state = new

    return loop


def _cond(params):
    branches, made = params["branches"], {}

    def choose(index, *xs):
        index = min(max(int(index), 0), len(branches) - 1)
        if index not in made:  # those for other platforms are never made
            made[index] = plan(branches[index])
        return made[index](*xs)

    return choose


def _scan(params):
    body, length = plan(params["jaxpr"]), params["length"]
    if "num_consts" in params:
        a, b = params["num_consts"], params["num_carry"]
    else:  # since jax 0.11
        a, b = [len(list(x)) for x in params["ft_in"].unpack()[:2]]
    order = range(length - 1, -1, -1) if params["reverse"] else range(length)
    made = [v.aval for v in params["jaxpr"].jaxpr.outvars[b:]]

    def scan(*xs):
        fixed, state, rows = xs[:a], list(xs[a : a + b]), xs[a + b :]
        out = [np.empty((length, *v.shape), v.dtype) for v in made]
        for i in order:
            results = body(*fixed, *state, *[x[i] for x in rows])
            state = results[:b]
            for o, r in zip(out, results[b:], strict=True):
                o[i] = r
        return [*state, *out]

    return scan


def _reduce(params):
    """A reduction by a function of its own, over pairs of neighbours until one is left."""
    join, axes = plan(params["jaxpr"], _FREE), tuple(params["dimensions"])

    def reduce(*xs):
        many = len(xs) // 2
        rows, starts = [], xs[many:]
        for x in xs[:many]:
            rest = [a for a in range(x.ndim) if a not in axes]
            shape = [x.shape[a] for a in rest]
            rows.append(x.transpose(*axes, *rest).reshape(prod(x.shape[a] for a in axes), *shape))
        while (n := len(rows[0])) > 1:
            even = n - n % 2
            joined = join(*[x[:even:2] for x in rows], *[x[1:even:2] for x in rows])
            rows = [np.concatenate([j, x[even:]]) if n % 2 else j
                    for j, x in zip(joined, rows, strict=True)]  # fmt: skip
        if not n:
            return [np.broadcast_to(s, x.shape[1:]) for s, x in zip(starts, rows, strict=True)]
        return join(*starts, *[x[0] for x in rows])

    return reduce


_CONTROL = {"while": _while, "cond": _cond, "scan": _scan, "reduce": _reduce}
