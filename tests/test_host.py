"""Calls that NumPy runs: the numbers of the compiled programs, and what then is not compiled."""

import importlib
import pkgutil

import jax
import numpy as np
import pytest

import torchlike as torch
from tests import ops
from torchlike import compiler
from torchlike._core.settings import settings
from torchlike._engine import flush, host
from torchlike._engine.host import plan
from torchlike._engine.primitives import Unsupported

table = pytest.importorskip("tests.ops.table")

# What the NumPy host leaves to XLA, one op at a time: LAPACK's, whose small programs come back
# often, FFTs, and the odd ones that only rare functions reach.
ON_XLA = {
    "eigh", "householder_product", "lu", "qr", "svd", "triangular_solve", "fft",
    "igamma_grad_a", "reduce", "bitcast_convert_type",
}  # fmt: skip

# Where the reference itself is this far from the true numbers.
# The mean of numbers near 1000, taken away again.
TOLERANCE = {"std": 3e-4, "std_mean": 3e-4, "var": 3e-4, "var_mean": 3e-4}


def all_rows():
    """Every row of every op table."""
    rows = {}
    for module in pkgutil.iter_modules(ops.__path__):
        if module.name.startswith("test_"):
            for value in vars(importlib.import_module(f"tests.ops.{module.name}")).values():
                if isinstance(value, list):
                    rows |= {id(r): r for r in value if isinstance(r, table.Row)}
    return list(rows.values())


def numbers(row, sample, seed=5):
    """Results and gradients of a sample as (dtype, array), or the error it raises."""
    function = table.find(torch, row.name)
    try:
        result, first, _ = table.gradients(torch, function, sample, seed, False)
        found = [*table.tensors_in(result), *[g for g in first if g is not None]]
        return [(t.dtype, table.to_numpy(t)) for t in found]
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.fixture
def on_host(monkeypatch):
    """Every small segment runs by NumPy, however often it comes back; yields what could not."""
    left = set()

    def run_host(call, arrays):
        try:
            return host.run_host(call, arrays)
        except Unsupported as reason:
            left.add(str(reason))
            raise

    monkeypatch.setattr(flush, "worth_compiling", lambda *args: False)
    monkeypatch.setattr(flush, "run_host", run_host)
    with settings.override(host=True, immediate=False):
        yield left


# One sample of each row: the op tables' own tests run all of them in the other modes.
@pytest.mark.parametrize(("row", "sample"), table.cases(all_rows(), limit=1))
def test_numpy_and_xla_agree(row, sample, on_host):
    ours = numbers(row, sample)
    left = set(on_host)
    with settings.override(immediate=True):
        expected = numbers(row, sample)
    if isinstance(expected, str):
        assert ours == expected
        return
    assert len(ours) == len(expected)
    for (d, a), (other, b) in zip(ours, expected, strict=True):
        assert d is other
        assert a.shape == b.shape
        if b.dtype.kind not in "fc":
            np.testing.assert_array_equal(a, b)
            continue
        tol = TOLERANCE.get(row.name, 1e-2 if d.itemsize == 2 else 3e-6)
        finite = np.abs(b[np.isfinite(b)])
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol * max(1.0, finite.max(initial=0)))
    assert left <= ON_XLA


def counted(function):
    compiler.clear_caches()
    compiler.clear_stats()
    function()
    return compiler.stats()


def test_lengths_that_grow_compile_nothing():
    w = torch.randn(8, 8)

    def grow():
        kept = torch.zeros(1, 8)
        for i in range(200):
            kept = torch.cat([kept, (kept[-1:] @ w).tanh()])
            (kept.sum() * i).item()

    stats = counted(grow)
    assert stats["compiles"] <= 1  # the first length, before the place is known to change
    assert stats["single_compiles"] == 0
    assert stats["host_ops"] >= 199 * 5


def test_exact_lines_that_run_once_compile_nothing():
    x = torch.randn(6, 4)

    def lines():
        str(x.max())
        str(x[2:4])
        str(x.argmax(-1) + 1)
        float((x > 0).sum())
        x.sort()[0].tolist()
        torch.cat([x, x]).view(-1, 2).abs().tolist()

    stats = counted(lines)
    assert stats["compiles"] == stats["single_compiles"] == 0


def test_the_same_input_gives_the_same_bits_again():
    model = torch.nn.Sequential(torch.nn.Linear(7, 9), torch.nn.Tanh(), torch.nn.Linear(9, 5))
    x = torch.randn(4, 7)
    compiler.clear_caches()
    for mode in (torch.enable_grad, torch.no_grad):
        outputs = []
        with mode():
            for _ in range(5):
                outputs.append(model(x))
                outputs[-1].tolist()
        assert all(torch.equal(y, outputs[0]) for y in outputs)


def test_what_comes_back_is_compiled():
    x = torch.randn(5)

    def twice():
        for _ in range(3):
            torch.cat([x, -x]).tolist()

    stats = counted(twice)
    assert stats["compiles"] == 1
    assert stats["programs"] == 2
    assert stats["host_ops"] == 2


def test_large_work_compiles_at_once():
    x = torch.zeros(1000, 1000)
    w = torch.zeros(1000, 1000)
    stats = counted(lambda: (x @ w).sum().item())
    assert stats["host_ops"] == 0
    assert stats["compiles"] == 1


def test_the_setting_switches_it_off():
    with settings.override(host=False):
        stats = counted(lambda: (torch.ones(3) + 1).tolist())
    assert stats["host_ops"] == 0


def test_results_share_no_memory_with_what_may_be_overwritten():
    model = torch.nn.Linear(4, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)

    def step():
        optimizer.zero_grad()
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()

    for _ in range(4):
        step()
    kept = model.weight.detach().t()  # a view of the parameter, first seen here
    before = kept.numpy().copy()
    for _ in range(3):
        step()
    rows = model.weight.detach().clone()[1:3] * 1
    seen = rows.numpy().copy()
    for _ in range(3):
        step()
    np.testing.assert_array_equal(rows.numpy(), seen)
    assert not np.array_equal(kept.numpy(), before)  # it is a view: it follows the parameter


def test_bad_indices_are_reported():
    table_of_rows, index = torch.randn(4, 3), torch.tensor([0, 1]) + 5
    with pytest.raises(IndexError, match="5 is out of bounds"):
        torch.nn.functional.embedding(index, table_of_rows).tolist()


def test_integer_edges():
    low = torch.tensor([-(2**31), 7, -7], dtype=torch.int32)
    assert (low - 1).tolist() == [2**31 - 1, 6, -8]
    assert torch.div(low, 2, rounding_mode="trunc").tolist() == [-(2**30), 3, -3]
    assert torch.fmod(low, 4).tolist() == [0, 3, -3]
    assert (torch.tensor([1, 1]) << torch.tensor([63, 64])).tolist() == [-(2**63), 0]


def test_loops_of_a_batch_end_one_by_one():
    def double(n, x):
        return jax.lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * 2), (0, x))

    n, x = np.arange(4, dtype=np.int32), np.ones((4, 2), np.float32)
    run = plan(jax.make_jaxpr(jax.vmap(double))(n, x))
    for ours, theirs in zip(run(n, x), jax.vmap(double)(n, x), strict=True):
        np.testing.assert_array_equal(ours, theirs)
