"""Engine modes and ``func.vmap``: an op must say the same in all of them."""

from __future__ import annotations

import copy

import numpy as np

from torchlike._core.settings import settings

from . import calls, compare, draws, equivalents
from .bridge import ORACLE, OURS
from .gradients import as_list, differentiable, forward, weights
from .outcomes import Fail, Skip, guarded, oracle
from .samples import Sample
from .specs import TSpec, spec_tensors

# What one program for all may differ by from a program for each op: it sums in another order and
# contracts multiply-adds. In units of the last place of the largest number.
ULPS = 16
BATCH = 3


def run_all(op, f, sample):
    """(result, gradients) read only after everything was recorded."""
    OURS.manual_seed(0)
    leaves, result = forward(OURS, op, f, sample)
    flat = [t for t in OURS.tensors_in(result) if t.requires_grad]
    found = []
    if flat:
        shapes = [OURS.read_type(t) for t in flat]
        incoming = [OURS.tensor(x) for x in weights(op, sample, shapes)]
        grad = OURS.get("autograd.grad")
        found = guarded(grad, "grad", flat, leaves, incoming, allow_unused=True)
    return as_list([OURS.read(result), as_list([OURS.read(g) for g in found])])


def compare_immediate(op, sample, fo, ft):
    """One program for each op, and one for forward and backward together: the same numbers."""
    if not differentiable(sample):
        raise Skip("no input requires grad")
    with settings.override(immediate=True):
        single = run_all(op, ft, sample)
    with settings.override(immediate=False, always_compile=True):
        whole = run_all(op, ft, sample)
    found = compare.compare(single, whole, values=False)
    if not found.ok:
        raise Fail(f"deferred differs: {found.mismatch}")
    if op.name in calls.UNINITIALISED:
        return {"weak"}
    for what, a, b in zip(("result", "gradient"), single.kids, whole.kids):
        off = distance(list(draws.leaves_of(a)), list(draws.leaves_of(b)))
        if off > ULPS:
            raise Fail(f"deferred {what} differs by {off:.3g} units in the last place")
    return set()


def distance(one, other) -> float:
    """How far arrays are apart, in units of the last place of the largest number of them all."""
    top = off = 0.0
    for a, b in zip(one, other):
        a, b = a.arr, b.arr
        if np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"):
            continue
        finite = np.isfinite(a)
        if a.dtype.kind not in "fc" or not np.array_equal(finite, np.isfinite(b)):
            return np.inf
        eps = np.finfo(a.dtype).eps
        off = max(off, float(np.abs(a - b, where=finite, out=np.zeros(a.shape)).max()) / eps)
    for a in one:
        if a.arr.dtype.kind in "fc" and a.arr.size:
            top = max(top, float(np.abs(np.where(np.isfinite(a.arr), a.arr, 0)).max()))
    return off / top if off else 0.0


# ---- vmap


def batched(spec, kind):
    """Data of a spec for each place of the batch: scaled if it is floating, flipped or copied."""
    a = spec.data
    if a.dtype.kind in "fc":
        return [a, (a * 0.5).astype(a.dtype), (a * 0.875).astype(a.dtype)]
    if kind == "flip" and a.ndim:
        return [a, np.flip(a).copy(), np.flip(a, 0).copy()]
    return [a] * BATCH


def plans(sample):
    """Which tensors to batch, and how, from the most telling plan to the simplest."""
    specs = spec_tensors((sample.input, sample.args, sample.kwargs))
    if any(s.layout != "strided" or s.dtype not in compare.NUMPY for s in specs):
        raise Skip("a tensor that cannot be stacked")
    floating = [s for s in specs if s.requires_grad]
    yield specs, "flip"
    if len(specs) > len(floating):
        yield specs, "copy"
        yield floating, "copy"
    if len(floating) > 1:
        yield floating[:1], "copy"


def vmapped(bridge, op, f, sample, specs, kind, widen=False):
    """The tree of ``func.vmap`` of the call over stacks of the specs' data."""
    stacks = []
    for spec in specs:
        data = np.stack(batched(spec, kind))
        stack = TSpec(0, data, spec.dtype, False, shape=data.shape)
        stacks.append(bridge.tensor(stack, widen=widen))
    random = op.full_name in draws.RANDOM

    def one(*tensors):
        memo = {id(spec): t for spec, t in zip(specs, tensors)}
        x, args, kwargs = bridge.thaw(
            (sample.input, sample.args, sample.kwargs), False, widen, memo=memo
        )
        return f(x, *args, **kwargs)

    if random:
        bridge.manual_seed(0)
    how = {"randomness": "different"} if random else {}
    mapped = guarded(bridge.get("func.vmap"), "vmap", one, **how)
    return bridge.read(guarded(mapped, "vmap", *stacks))


def compare_vmap(op, sample, fo, ft):
    """``func.vmap`` over a batch of three gives what PyTorch's gives, where that runs."""
    reason = None
    for specs, kind in plans(sample):
        try:
            theirs = oracle(
                lambda specs=specs, kind=kind: vmapped(ORACLE, op, fo, sample, specs, kind)
            )
        except Skip as e:
            reason = reason or e
            continue
        break
    else:
        raise reason
    ours = vmapped(OURS, op, ft, sample, specs, kind)
    values = op.full_name not in draws.RANDOM and op.name not in calls.UNINITIALISED

    def ref64():
        return vmapped(ORACLE, op, fo, sample, specs, kind, True)

    found = compare.compare(theirs, ours, compare.GRAD_TOL, ref64=ref64, values=values)
    if found.ok:
        return {"weak"} if found.weak or not values else set()
    if found.mismatch.cls != "value" or op.name not in equivalents.EQUIVALENT:
        raise Fail(f"{found.mismatch.cls} of vmap: {found.mismatch}")
    for i in range(BATCH):
        same = equivalents.EQUIVALENT[op.name]
        wrong = same(place(sample, specs, kind, i), at(theirs, i), at(ours, i))
        if wrong:
            raise Fail(f"value of vmap at {i}: {wrong}")
    return set()


def place(sample, specs, kind, i):
    """The sample that stands at one place of the batch."""
    memo = {id(s): TSpec(0, batched(s, kind)[i], s.dtype, False, shape=s.shape) for s in specs}

    def swap(x):
        if isinstance(x, (list, tuple)):
            return type(x)(swap(y) for y in x)
        return memo.get(id(x), x)

    kwargs = {k: swap(v) for k, v in sample.kwargs.items()}
    return Sample(sample.op_name, i, swap(sample.input), swap(sample.args), kwargs, None)


def at(tree, i):
    """One place of a batched tree."""
    if tree.kind == "seq":
        return as_list([at(kid, i) for kid in tree.kids])
    one = copy.copy(tree)
    one.arr, one.shape = tree.arr[i], tree.shape[1:]
    return one
