"""Gradients of an op against PyTorch's: first ones by ``backward``, second ones by ``grad``."""

from __future__ import annotations

import zlib

import numpy as np

from . import calls, compare, draws
from .bridge import ORACLE, OURS, Leaf
from .outcomes import Fail, Skip, guarded, oracle
from .specs import TSpec, spec_tensors


def differentiable(sample) -> bool:
    """Whether any input of the sample requires grad."""
    tensors = spec_tensors((sample.input, sample.args, sample.kwargs))
    return any(t.requires_grad for t in tensors)


def forward(bridge, op, f, sample, widen=False, seed=0):
    """(inputs that require grad, result) of a call on fresh inputs."""
    leaves = []
    x, args, kwargs = sample.build(bridge, True, widen, leaves)
    if op.full_name in draws.RANDOM:
        bridge.manual_seed(seed)
    result = guarded(f, "forward with requires_grad", x, *args, **kwargs)
    if sample.process:
        result = guarded(sample.process, "forward with requires_grad", result)
    return leaves, result


def weights(op, sample, trees, salt=""):
    """Specs of fixed random numbers, one tensor for each of the trees' leaves."""
    found = []
    for i, leaf in enumerate(trees):
        key = f"{op.full_name}|{sample.index}|{i}{salt}"
        rng = np.random.RandomState(zlib.crc32(key.encode()))
        a = rng.standard_normal(leaf.shape)
        if leaf.dtype.startswith("complex"):
            a = a + 1j * rng.standard_normal(leaf.shape)
        if calls.grad_ignores_nonfinite(op):
            a = np.where(np.isfinite(leaf.arr), a, 0)
        a = np.asarray(a, dtype=compare.NUMPY.get(leaf.dtype, "float32"))
        found.append(TSpec(i, a, leaf.dtype, False, shape=leaf.shape))
    return found


def backward(bridge, results, which, specs, widen=False) -> None:
    """``backward`` of the numbered tensors of a result with these gradients."""
    incoming = [bridge.tensor(x, widen=widen) for x in specs]
    tensors = bridge.tensors_in(results)
    tensors = [tensors[i] for i in which]
    if len(tensors) == 1:
        guarded(tensors[0].backward, "backward", incoming[0])
    else:
        guarded(bridge.get("autograd.backward"), "backward", tensors, incoming)


def as_list(kids) -> Leaf:
    """A tree of several trees."""
    return Leaf("seq", seq="list", fields=None, obj=None, kids=kids)


def grads(bridge, leaves) -> Leaf:
    """The tree of the inputs' gradients."""
    return as_list([bridge.read(guarded(getattr, "reading .grad", x, "grad")) for x in leaves])


def compare_grads(op, sample, fo, ft):
    """Result, requires_grad of results, and gradients of a fixed random projection."""
    if not differentiable(sample):
        raise Skip("no input requires grad")
    name = op.full_name
    approximate = name in draws.RANDOM_ALGORITHM

    leaves_o, result_o = oracle(lambda: forward(ORACLE, op, fo, sample))
    tree_o = oracle(lambda: ORACLE.read(result_o))
    flat_o = list(draws.leaves_of(tree_o))
    which = [i for i, leaf in enumerate(flat_o) if leaf.requires_grad]
    w = weights(op, sample, [flat_o[i] for i in which])
    if which:
        oracle(lambda: backward(ORACLE, result_o, which, w))
    grads_o = grads(ORACLE, leaves_o)

    # Do result and gradients depend on the seed?
    random = random_grads = False
    if name in draws.RANDOM:
        # (an approximating algorithm is only pinned down to 10 tolerances)
        tol, grad_tol = (compare.FORWARD_TOL, compare.GRAD_TOL) if approximate else ({}, {})
        scale = 10.0 if approximate else 0.0
        for seed in range(1, 8):
            leaves, result = forward(ORACLE, op, fo, sample, seed=seed)
            random |= not compare.compare(tree_o, ORACLE.read(result), tol=tol, scale=scale).ok
            if which:
                backward(ORACLE, result, which, w)
            other = grads(ORACLE, leaves)
            random_grads |= not compare.compare(grads_o, other, tol=grad_tol, scale=scale).ok

    leaves_t, result_t = forward(OURS, op, ft, sample)
    tree_t = OURS.read(result_t)
    scale = 100 if approximate else 1
    found = compare.compare(
        tree_o,
        tree_t,
        values=not random,
        scale=scale,
        ref64=lambda: ORACLE.read(forward(ORACLE, op, fo, sample, True)[1]),
    )
    if not found.ok:
        raise Fail(f"{found.mismatch.cls} of forward with requires_grad: {found.mismatch}")
    for i, (a, b) in enumerate(zip(flat_o, draws.leaves_of(tree_t))):
        if a.requires_grad != b.requires_grad:
            raise Fail(f"result {i}: requires_grad is {b.requires_grad}, not {a.requires_grad}")
    if which:
        backward(OURS, result_t, which, w)
    grads_t = grads(OURS, leaves_t)
    for i, (a, b) in enumerate(zip(grads_o.kids, grads_t.kids)):
        if (a.kind == "none") != (b.kind == "none"):
            raise Fail(f"grad of input {i} is {compare.describe(b)}, not {compare.describe(a)}")

    def ref64():
        leaves, result = forward(ORACLE, op, fo, sample, True)
        backward(ORACLE, result, which, w, True)
        return grads(ORACLE, leaves)

    found = compare.compare(
        grads_o, grads_t, compare.GRAD_TOL, scale=scale, ref64=ref64, values=not random_grads
    )
    if not found.ok:
        raise Fail(f"grad of input {found.mismatch}")
    if random_grads and name in draws.RANDOM_GRAD:
        first = tree_t.arr if tree_t.kind == "tensor" else tree_t.kids[0].arr
        wrong = draws.RANDOM_GRAD[name](sample.input.data, first, w[0].data, grads_t.kids[0].arr)
        if wrong:
            raise Fail(wrong)
        return set()
    return {"weak"} if random_grads or found.weak else set()


def second(bridge, op, f, sample):
    """Second derivatives of a fixed random projection, in float64; None where there are none.

    The gradient is taken with a graph, projected again, and differentiated with respect to the
    inputs and to the incoming gradients.
    """
    leaves, result = forward(bridge, op, f, sample, widen=True)
    flat = [bridge.read(t) for t in bridge.tensors_in(result)]
    which = [i for i, leaf in enumerate(flat) if leaf.requires_grad]
    if not which:
        return None
    roots = [bridge.tensors_in(result)[i] for i in which]
    incoming = [
        guarded(bridge.tensor(x).requires_grad_, "building the input")
        for x in weights(op, sample, [flat[i] for i in which])
    ]
    grad = bridge.get("autograd.grad")
    first = guarded(grad, "grad", roots, leaves, incoming, create_graph=True, allow_unused=True)
    first = [g for g in first if g is not None and g.requires_grad]
    if not first:
        return None
    trees = [bridge.read(g) for g in first]
    outgoing = [bridge.tensor(x) for x in weights(op, sample, trees, "second")]
    twice = guarded(grad, "grad of grad", first, leaves + incoming, outgoing, allow_unused=True)
    return [bridge.read(g) for g in twice]


def compare_second(op, sample, fo, ft):
    """Second derivatives against PyTorch's; one that is None stands for zeros."""
    if not differentiable(sample):
        raise Skip("no input requires grad")
    theirs = oracle(lambda: second(ORACLE, op, fo, sample))
    ours = second(OURS, op, ft, sample)
    if theirs is None and ours is None:
        raise Skip("the gradient is constant")
    count = len(theirs or ours)
    absent = Leaf("none")
    for i, (a, b) in enumerate(zip(theirs or [absent] * count, ours or [absent] * count)):
        if a.kind == "none" or b.kind == "none":
            for leaf in (a, b):
                if leaf.kind != "none" and np.any(leaf.arr):
                    raise Fail(f"second derivative of {i} is {compare.describe(b)}, not zero")
            continue
        found = compare.compare(a, b, compare.GRAD_TOL)
        if not found.ok:
            raise Fail(f"second derivative of input {i}: {found.mismatch}")
    return set()
