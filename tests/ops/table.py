"""The op test table's idiom: a Row says how an op is called, ``check`` derives every comparison."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest

import torchlike
from torchlike._core.settings import settings

torch = pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle of the op tables")


class T(NamedTuple):
    """A random tensor: shape, dtype, and the range its numbers are drawn from."""

    shape: tuple = ()
    dtype: str = "float32"
    low: float = -2.0
    high: float = 2.0
    grad: bool = True


class S:
    """One call: positional and keyword arguments, in which ``T`` stands for a tensor."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs

    def __repr__(self):
        parts = [repr(a) for a in self.args] + [f"{k}={v!r}" for k, v in self.kwargs.items()]
        return f"S({', '.join(parts)})"


@dataclass
class Row:
    """An op and the calls it is tested with.

    name      dotted name under torch, e.g. "add", "nn.functional.relu", "Tensor.view"
    samples   the calls; the first must be the plainest
    grad      compare gradients of floating operands, and second derivatives if ``second``
    forms     which further forms to derive: "method", "inplace", "out"
    tol       relative tolerance (absolute is a tenth of it)
    errors    calls that must raise an exception of the type that PyTorch raises
    """

    name: str
    samples: list = field(default_factory=list)
    grad: bool = True
    second: bool = True
    forms: tuple = ()
    tol: float = 2e-5
    errors: list = field(default_factory=list)


def find(module, dotted: str):
    """The object under a dotted name."""
    for part in dotted.split("."):
        module = getattr(module, part)
    return module


def numbers(spec: T, rng) -> np.ndarray:
    """The random data of a ``T``."""
    kind = np.dtype(spec.dtype if spec.dtype != "bfloat16" else "float32").kind
    if kind == "b":
        return rng.random(spec.shape) < 0.5
    if kind in "iu":
        low, high = (spec.low, spec.high) if spec.high > spec.low + 2 else (-9, 10)
        if kind == "u":
            low = max(low, 0)
        return rng.integers(int(low), int(high), spec.shape).astype(spec.dtype)
    data = rng.uniform(spec.low, spec.high, spec.shape)
    if kind == "c":
        data = data + 1j * rng.uniform(spec.low, spec.high, spec.shape)
    return data.astype(spec.dtype if spec.dtype != "bfloat16" else "float32")


def build(lib, x, rng, leaves: list, grad: bool):
    """Replace every ``T`` inside an argument by a tensor of ``lib``; dtypes by name likewise."""
    if isinstance(x, T):
        t = lib.tensor(numbers(x, rng), dtype=getattr(lib, x.dtype))
        if grad and x.grad and (t.is_floating_point() or t.is_complex()):
            t.requires_grad_()
            leaves.append(t)
        return t
    if isinstance(x, (list, tuple)):
        return type(x)(build(lib, y, rng, leaves, grad) for y in x)
    if isinstance(x, str) and x.startswith("torch."):
        return getattr(lib, x[6:])
    if isinstance(x, np.ndarray):
        return lib.tensor(x)
    return x


def arguments(lib, sample: S, seed: int, grad: bool):
    """(args, kwargs, leaves) of a sample for one library; the same numbers for both."""
    rng = np.random.default_rng(seed)
    leaves: list = []
    args = [build(lib, a, rng, leaves, grad) for a in sample.args]
    kwargs = {k: build(lib, v, rng, leaves, grad) for k, v in sample.kwargs.items()}
    return args, kwargs, leaves


def to_numpy(x) -> np.ndarray:
    """Data of a tensor of either library as numpy; bfloat16 as float32."""
    x = x.detach()
    if x.dtype in (torch.bfloat16, torchlike.bfloat16):
        x = x.float()
    if isinstance(x, torch.Tensor):
        x = x.resolve_conj().resolve_neg()
    return np.asarray(x.numpy(force=True))  # PyTorch has tensors of zeros without data


def tensors_in(x) -> list:
    """Tensors of a result, in order."""
    if isinstance(x, (torch.Tensor, torchlike.Tensor)):
        return [x]
    if isinstance(x, (tuple, list)):
        return [t for y in x for t in tensors_in(y)]
    return []


def same(ours: Any, theirs: Any, tol: float, what: str) -> None:
    """Fail unless both results have the same structure, dtypes, shapes and numbers."""
    if isinstance(theirs, (tuple, list)):
        assert isinstance(ours, (tuple, list)), f"{what}: {type(ours)} for {type(theirs)}"
        assert len(ours) == len(theirs), f"{what}: {len(ours)} results, PyTorch has {len(theirs)}"
        for name in getattr(theirs, "_fields", ()) or ():
            assert hasattr(ours, name), f"{what}: no field {name}"
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            same(a, b, tol, f"{what}[{i}]")
        return
    if not isinstance(theirs, torch.Tensor):
        assert type(ours).__name__ == type(theirs).__name__, f"{what}: {ours!r} for {theirs!r}"
        assert str(ours) == str(theirs) or ours == theirs, f"{what}: {ours!r} for {theirs!r}"
        return
    assert isinstance(ours, torchlike.Tensor), f"{what}: {type(ours)}"
    assert str(ours.dtype) == str(theirs.dtype), f"{what}: dtype {ours.dtype} for {theirs.dtype}"
    assert tuple(ours.shape) == tuple(theirs.shape), f"{what}: {ours.shape} for {theirs.shape}"
    a, b = to_numpy(ours), to_numpy(theirs)
    if theirs.dtype in (torch.bfloat16, torch.float16):
        tol = max(tol, 1e-2)
    if b.dtype.kind in "fc":
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol * 0.1, err_msg=what)
    else:
        np.testing.assert_array_equal(a, b, err_msg=what)


def differentiable(result) -> list:
    """Floating results that require grad."""
    return [t for t in tensors_in(result) if t.requires_grad]


def weighted(lib, results, seed):
    """A fixed random projection of results to one real number; None among them is left out."""
    total = None
    for i, t in enumerate(results):
        if t is None:
            continue
        rng = np.random.default_rng((seed + 1, i))
        w = lib.tensor(np.asarray(rng.uniform(0.5, 1.5, tuple(t.shape)), dtype="float32"))
        term = (t.real * w + t.imag * w).sum() if t.is_complex() else (t.to(lib.float32) * w).sum()
        total = term if total is None else total + term
    return total


def gradients(lib, call, sample, seed, second):
    """(result, gradients, second derivatives) of a sample."""
    args, kwargs, leaves = arguments(lib, sample, seed, True)
    result = call(*args, **kwargs)
    outs = differentiable(result)
    if not leaves or not outs:
        return result, [], []
    first = lib.autograd.grad(
        weighted(lib, outs, seed), leaves, create_graph=second, allow_unused=True
    )
    twice = []
    # One side may have a gradient on the tape where the other knows it to be constant.
    roots = [g if second and g is not None and g.requires_grad else None for g in first]
    if any(g is not None for g in roots):
        twice = lib.autograd.grad(weighted(lib, roots, seed + 7), leaves, allow_unused=True)
    return result, list(first), list(twice)


def compare_gradients(ours, theirs, tol, what):
    """None where PyTorch has None (or zeros), else the same numbers."""
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if b is None or a is None:
            for g in (a, b):
                assert g is None or not to_numpy(g).any(), (
                    f"{what} of operand {i}: None against {g}"
                )
        else:
            same(a, b, tol, f"{what} of operand {i}")


def check(row: Row, sample: S, immediate: bool) -> None:
    """Everything that one sample of a row promises, in one engine mode.

    All forms are recorded before the first number is read, so that in deferred mode they are
    one program. The plainest sample also runs by NumPy, after the small programs of immediate mode
    that it is compared with: these are compiled by then.
    """
    mode = {"immediate": True} if immediate else {"immediate": False, "always_compile": True}
    with settings.override(**mode):
        for compare in list(comparisons(row, sample)):
            compare()
    if immediate and sample is row.samples[0]:
        from .host import check_host  # which is made of this module's parts

        check_host(row, sample)


def comparisons(row: Row, sample: S):
    """Run every form of a sample on both sides; yields the comparisons to make afterwards."""
    seed = zlib.crc32(f"{row.name}{sample!r}".encode())
    mine, theirs = find(torchlike, row.name), find(torch, row.name)
    args, kwargs, _ = arguments(torchlike, sample, seed, False)
    their_args, their_kwargs, _ = arguments(torch, sample, seed, False)
    expected = theirs(*their_args, **their_kwargs)
    yield partial(same, mine(*args, **kwargs), expected, row.tol, row.name)
    for a, b in zip(tensors_in(args), tensors_in(their_args), strict=True):
        yield partial(same, a, b, row.tol, f"{row.name}: operand after the call")
    short = row.name.rsplit(".", 1)[-1]
    if "method" in row.forms:
        args, kwargs, _ = arguments(torchlike, sample, seed, False)
        result = getattr(args[0], short)(*args[1:], **kwargs)
        yield partial(same, result, expected, row.tol, f"Tensor.{short}")
    if "inplace" in row.forms:
        yield from compare_inplace(row, sample, short, seed)
    if "out" in row.forms and isinstance(expected, torch.Tensor):
        args, kwargs, _ = arguments(torchlike, sample, seed, False)
        dtype = getattr(torchlike, str(expected.dtype)[6:])
        out = torchlike.empty(tuple(expected.shape), dtype=dtype)
        got = mine(*args, **kwargs, out=out)
        assert got is out, f"{row.name}(out=): returned another tensor"
        yield partial(same, out, expected, row.tol, f"{row.name}(out=)")
    if row.grad:
        a = gradients(torchlike, mine, sample, seed, row.second)
        b = gradients(torch, theirs, sample, seed, row.second)
        assert [t.requires_grad for t in tensors_in(a[0])] == [
            t.requires_grad for t in tensors_in(b[0])
        ], f"{row.name}: requires_grad of results"
        yield partial(same, a[0], b[0], row.tol, f"{row.name} with grad")
        what = f"{row.name}: gradient"
        yield partial(compare_gradients, a[1], b[1], 10 * row.tol, what)
        if a[2] or b[2]:
            twice = [a[2] or [None] * len(b[2]), b[2] or [None] * len(a[2])]
            what = f"{row.name}: second derivative"
            yield partial(compare_gradients, *twice, 50 * row.tol, what)


def compare_inplace(row, sample, short, seed):
    """The in-place form: the same object, the same numbers, the same kind of error."""
    args, kwargs, _ = arguments(torchlike, sample, seed, False)
    their_args, their_kwargs, _ = arguments(torch, sample, seed, False)
    try:
        expected = getattr(their_args[0], short + "_")(*their_args[1:], **their_kwargs)
    except RuntimeError:
        with pytest.raises(RuntimeError):
            getattr(args[0], short + "_")(*args[1:], **kwargs)
        return
    got = getattr(args[0], short + "_")(*args[1:], **kwargs)
    assert got is args[0], f"{short}_ returned another tensor"
    assert got._version == expected._version, f"{short}_: version {got._version}"
    yield partial(same, got, expected, row.tol, f"{short}_")


def check_error(row: Row, sample: S) -> None:
    """A bad call raises what PyTorch raises."""
    seed = 0
    args, kwargs, _ = arguments(torch, sample, seed, False)
    with pytest.raises(Exception) as theirs:
        find(torch, row.name)(*args, **kwargs)
    args, kwargs, _ = arguments(torchlike, sample, seed, False)
    with pytest.raises(Exception) as ours:
        find(torchlike, row.name)(*args, **kwargs)
    assert isinstance(ours.value, theirs.type) or issubclass(theirs.type, ours.type), (
        f"{row.name}: {ours.type.__name__}({ours.value}) for {theirs.type.__name__}({theirs.value})"
    )


def cases(rows, limit: int | None = None):
    """pytest parameters: every sample of every row, or the first few of each."""
    return [
        pytest.param(row, sample, id=f"{row.name}-{i}")
        for row in rows
        for i, sample in enumerate(row.samples[:limit])
    ]


def error_cases(rows):
    """pytest parameters: every bad call of every row."""
    return [
        pytest.param(row, sample, id=f"{row.name}-{i}")
        for row in rows
        for i, sample in enumerate(row.errors)
    ]
