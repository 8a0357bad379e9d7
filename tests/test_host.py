"""Calls that NumPy runs: what then is not compiled, and edges; its numbers: see ops/host.py."""

import jax
import numpy as np
import pytest

import torchlike as torch
from torchlike import compiler
from torchlike._core import devices
from torchlike._core.settings import settings
from torchlike._engine import flush, inference
from torchlike._engine.host import plan
from torchlike._engine.twins import TWINS
from torchlike._engine.values import aval
from torchlike._ops.table import TABLE


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


def test_the_same_input_gives_the_same_bits_again_where_modules_change():
    nn = torch.nn
    compiler.clear_caches()
    for n in range(1, 9):
        for act in (nn.GELU(), nn.Softmax(-1), nn.Tanh()):
            model = nn.Sequential(nn.Linear(16 * n, 32), act, nn.LayerNorm(32), nn.Linear(32, 8))
            x = torch.randn(6, 16 * n)
            with torch.no_grad():
                first = model(x)
                second = model(x)
            assert torch.equal(first, second)


def test_what_comes_back_is_compiled():
    array = np.random.default_rng(0).standard_normal(10_000)

    def twice():
        for _ in range(3):
            x = torch.from_numpy(array)
            torch.cat([x, -x]).tolist()

    stats = counted(twice)
    assert stats["compiles"] == 1
    assert stats["programs"] == 2
    assert stats["host_ops"] == 2


@pytest.mark.parametrize("seconds, compiles", [(0.0, 20), (1e3, 0)])
def test_among_many_kinds_what_comes_back_is_compiled_once_that_pays(
    seconds, compiles, monkeypatch
):
    monkeypatch.setattr(flush, "_COMPILE_SINGLE", seconds)
    for name in ("_COMPILE", "_START"):
        monkeypatch.setattr(flush, name, 0.0)
    kinds = [np.random.default_rng(n).standard_normal(10_000 + n) for n in range(20)]

    def many():
        for _ in range(6):
            for array in kinds:
                x = torch.from_numpy(array)
                torch.cat([x, -x]).tolist()

    stats = counted(many)
    assert stats["compiles"] == compiles
    assert stats["programs"] == 4 * compiles  # from the third time on
    assert stats["host_ops"] == 2 * (120 - 4 * compiles)


def test_a_loop_that_grows_compiles_nothing_when_it_is_repeated():
    """Text that is generated twice, in windows that slide: no program for each length."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8))

    @torch.no_grad()
    def generate():
        x = torch.ones(1, 8)
        for _ in range(30):
            x = torch.cat([x, model(x)[-1:]])
        return x.tolist()

    generate()
    stats = counted(lambda: [generate() for _ in range(2)])
    assert stats["compiles"] <= 2
    assert stats["single_compiles"] == 0


def test_conditions_that_never_change_do_not_cut_a_program():
    steps = torch.tensor([0.25, 0.5, 1.0])
    y = torch.ones(3)

    def run(turns):
        x = y
        for _ in range(turns):
            x = y * 1
            for step in steps:
                x = x * 0.5 if step == 1.0 else (x + step * y).exp()
            x.tolist()
        return x

    compiler.clear_caches()
    want = run(1).tolist()
    run(5)
    compiler.clear_stats()
    assert run(10).tolist() == want
    stats = compiler.stats()
    assert stats["programs"] == 10
    assert stats["compiles"] == stats["misses"] == 0


def test_conditions_that_go_both_ways_are_right_and_bounded():
    torch.manual_seed(0)
    masks = torch.rand(40, 20) > 0.5
    x = torch.arange(20.0)

    def total(mask):
        out = torch.zeros(())
        for i in range(20):
            if mask[i]:
                out = out + x[i]
        return out.item()

    compiler.clear_caches()
    assert [total(m) for m in masks[:20]] == [float((x * m).sum()) for m in masks[:20]]
    compiler.clear_stats()
    assert [total(m) for m in masks[20:]] == [(x * m).sum().item() for m in masks[20:]]
    stats = compiler.stats()
    assert stats["compiles"] <= 4
    assert stats["misses"] < 60


def test_a_number_read_again_is_todays():
    x = torch.zeros(2)
    seen = []
    for n in range(12):
        if n >= 8:
            x[0] = n
        y = x * 2  # pending when the number is asked for
        seen.append((bool(x[0] > 0), (x[0] + 1).item(), y.sum().item()))
    assert seen == [(n >= 8, n + 1.0 if n >= 8 else 1.0, 2.0 * n * (n >= 8)) for n in range(12)]


def test_many_small_calls_of_ever_other_shapes_compile_nothing():
    def step(length):
        w = torch.ones(3, requires_grad=True)
        optimizer = torch.optim.SGD([w], lr=0.1)
        x = w
        for _ in range(length):
            x = (x * 0.9 + w).tanh()
        x.sum().backward()
        optimizer.step()
        return w.tolist()

    stats = counted(lambda: [step(60 + n % 5) for n in range(20)])
    assert stats["compiles"] <= 4


def test_what_masks_select_compiles_little():
    def farthest(points, count):
        nearest, at, found = torch.full((64,), 1e9).double(), 0, []
        for _ in range(count):
            distance = ((points - points[at]) ** 2).sum(1)
            mask = distance < nearest
            nearest[mask] = distance[mask]
            at = nearest.max(0)[1]
            found.append(at)
        return torch.stack(found).tolist()

    def expected(points, count):
        nearest, at, found = np.full(64, 1e9), 0, []
        for _ in range(count):
            nearest = np.minimum(nearest, ((points - points[at]) ** 2).sum(1))
            at = int(nearest.argmax())
            found.append(at)
        return found

    clouds = [np.random.default_rng(n).normal(size=(64, 3)) for n in range(12)]
    found = []
    stats = counted(lambda: found.extend(farthest(torch.tensor(c), 12) for c in clouds))
    assert found == [expected(c, 12) for c in clouds]
    assert stats["compiles"] <= 8
    assert stats["single_compiles"] == 0


def test_counts_of_rows_that_change_give_the_same_gradients():
    def train():
        torch.manual_seed(0)
        experts = [torch.nn.Linear(4, 3, bias=n < 2) for n in range(3)]
        experts[0].weight.requires_grad_(False)
        mean = torch.zeros(4, requires_grad=True)
        optimizer = torch.optim.SGD([mean, *(p for e in experts for p in e.parameters())], lr=0.1)
        for _ in range(12):
            x = torch.randn(20, 4) - mean
            routes = torch.randint(3, (20,))
            parts = [e(x[routes == n]) for n, e in enumerate(experts)]
            optimizer.zero_grad()
            (torch.cat(parts) ** 2).mean().backward()
            optimizer.step()
        return [p.tolist() for p in (mean, *(p for e in experts for p in e.parameters()))]

    with settings.override(host=False):
        expected = train()
    found = []
    stats = counted(lambda: found.extend(train()))
    assert stats["compiles"] <= 8
    assert stats["single_compiles"] == 0
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_indices_that_nobody_has_seen_are_numpys():
    def read(n):
        x, order = torch.arange(n + 5.0), torch.randn(n + 5).argsort()
        x[order[:3]] = -1.0
        return x[order[0]].item() + x.index_select(0, order * 1).sum().item()

    stats = counted(lambda: [read(n) for n in range(20)])
    assert stats["single_ops"] == 0
    with pytest.raises(IndexError, match="index 9"):
        torch.arange(5)[torch.arange(8, 11) + 1].tolist()


def test_reductions_by_a_function():
    def earlier(a, b):
        first = a[0] <= b[0]
        return tuple(jax.numpy.where(first, x, y) for x, y in zip(a, b, strict=True))

    x = np.random.default_rng(0).integers(0, 9, (3, 7, 2)).astype("int32")
    for axes, shape in (((0,), (3, 7, 2)), ((1,), (3, 7, 2)), ((0, 2), (3, 7, 2)), ((0,), (0, 4))):
        pair = x[:1].reshape(-1)[:0].reshape(shape) if 0 in shape else x, np.arange(len(x.flat))
        pair = pair[0], pair[1][: pair[0].size].reshape(shape).astype("int32")

        def reduced(a, b, axes=axes):
            return jax.lax.reduce((a, b), (np.int32(5), np.int32(-1)), earlier, axes)

        ours = plan(jax.make_jaxpr(reduced)(*pair))(*pair)
        assert np.array_equal(ours[0], reduced(*pair)[0])


def test_the_direction_of_lbfgs():
    slots, n = 4, 6
    data = np.random.default_rng(0).normal(size=(2 * slots + 1, n)).astype("float32")
    data[[slots, 2 * slots]] = 0  # an empty slot
    numbers = [np.float32(v) for v in (0.7, 1.5, 0.2, 3.0, 0.0)]
    operands = [data[0], numbers[0], *data[1:], *numbers[1:]]
    avals = tuple(aval(np.shape(x), torch.float32, devices.CPU) for x in operands)
    assert torch.optim.LBFGS  # which brings the op
    twin = TWINS["lbfgs_direction"]((slots,), avals, (avals[0],))
    arrays = [np.asarray(x) for x in operands]
    ours, theirs = twin(*arrays), TABLE["lbfgs_direction"].run(arrays, (slots,))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


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


@pytest.mark.parametrize("which", [[0, 1, 2, 5, -1], [True, False, True, True, False], 1])
def test_one_of_several_is_chosen(which):
    cases = [np.arange(5.0) + 10 * n for n in range(2 if np.asarray(which).dtype == bool else 3)]
    which = np.asarray(which)
    chosen = plan(jax.make_jaxpr(jax.lax.select_n)(which, *cases))(which, *cases)[0]
    np.testing.assert_array_equal(chosen, jax.lax.select_n(which, *cases))


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


def test_a_read_tells_of_a_bad_index_before_it():
    weight, flag = torch.ones(3, 2), torch.tensor(1.0)
    for n in range(6):
        index = torch.tensor([0, 5 if n == 5 else 1])
        y = torch.nn.functional.embedding(index + 0, weight)  # what is pending is not looked at
        if n < 5:
            assert flag > 0
        else:
            with pytest.raises(IndexError, match="5 is out of bounds"):
                bool(flag > 0)
        del y


def test_rows_are_written_where_they_are():
    """A loop that fills a large array copies it once, not for each row, and compiles nothing."""
    row = torch.ones(500)

    def filled(n):
        x = torch.zeros(n, 500)
        kept = x + 0
        for i in range(n):
            x[i] = row * i
        return x, kept

    filled(3)
    compiler.clear_stats()
    x, kept = filled(700)  # longer than a segment
    stats = compiler.stats()
    assert x.sum(1).tolist() == [500.0 * i for i in range(700)]
    assert kept.sum().item() == 0
    assert stats["single_ops"] == stats["compiles"] == 0


def test_what_else_is_read_of_an_array_is_not_written():
    copies = []
    zeros = np.zeros((3, 2))
    write = TWINS["write_view"](
        ((("index_basic", 1, ((("int",), ("all",)),), 0),),),
        (aval((3, 2), torch.float64, devices.CPU), aval((2,), torch.float64, devices.CPU), int),
        (aval((3, 2), torch.float64, devices.CPU),),
    )
    for held in (True, False):
        arrays = [zeros.copy(), np.ones(2), np.int64(1)]
        first = arrays[0] if held else None
        address = arrays[0].ctypes.data
        (out,) = write(*arrays)
        copies.append(out.ctypes.data != address)
        assert first is None or first.sum() == 0
        assert out.tolist() == [[0, 0], [1, 1], [0, 0]]
    assert copies == [True, False]


OUT_OF_RANGE = {
    "a cell": lambda x, i: x[i[0], i[1]],
    "cells of a table": lambda x, i: x[i[:, None], i],
    "rows": lambda x, i: x[i],
    "rows from the end": lambda x, i: x[-i - 1],
    "selected": lambda x, i: x.index_select(0, i),
    "gathered": lambda x, i: x.gather(1, i[None].expand(4, 2)),
    "added": lambda x, i: x.index_add(0, i, torch.ones(2, 4)),
    "put": lambda x, i: x.index_put((i,), torch.ones(4), accumulate=True),
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_indices_that_are_results_are_checked_by_numpy(name):
    """The twin raises where the program does, and gives its numbers where it does not."""
    x, run = torch.randn(4, 4), OUT_OF_RANGE[name]
    found = []
    for host in (True, False):
        with settings.override(host=host):
            compiler.clear_caches()
            found.append(run(x, torch.tensor([1, 2]) + 1).tolist())
            bad = run(x, torch.tensor([1, 3]) + 1)
            with pytest.raises(IndexError):
                bad.tolist()
    assert found[0] == found[1]


FACTORS = {
    "cholesky": lambda a, h, b: (torch.linalg.cholesky(h), torch.cholesky_inverse(h)),
    "failed": lambda a, h, b: torch.linalg.cholesky_ex(-h),
    "lu": lambda a, h, b: (*torch.linalg.lu_factor(a), *torch.linalg.lu(a)),
    "inv": lambda a, h, b: (torch.linalg.inv(a), torch.cholesky_solve(b, h)),
    "solve": lambda a, h, b: (torch.linalg.solve(a, b), torch.linalg.solve(a, b.mT, left=False)),
    "triangular": lambda a, h, b: (
        torch.linalg.solve_triangular(a, b, upper=False),
        torch.linalg.solve_triangular(a, b.mT, upper=True, left=False, unitriangular=True),
    ),
    "eigh": lambda a, h, b: (*torch.linalg.eigh(h), torch.linalg.eigvalsh(h, "U")),
    "eig": lambda a, h, b: (*torch.linalg.eig(a), torch.linalg.eigvals(a)),
    "svd": lambda a, h, b: (*torch.linalg.svd(b), *torch.linalg.svd(b.mT, False)),
    "qr": lambda a, h, b: (*torch.linalg.qr(b), *torch.linalg.qr(b, "complete")),
    "reflections": lambda a, h, b: (torch.linalg.householder_product(b, b[..., 0, :]),),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_factors_have_the_bits_of_programs(dtype, monkeypatch):
    rng = np.random.default_rng(3)

    def matrix(*shape):
        x = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if "c" in dtype else 0)
        return torch.tensor(x.astype(dtype))

    for shape in ((1, 1), (5, 5), (2, 3, 4, 4), (70, 70)):
        a, b = matrix(*shape), matrix(*shape[:-1], max(1, shape[-1] // 2))
        given = a, (a @ a.mH + torch.eye(shape[-1])).to(a.dtype), b
        for name, call in FACTORS.items():
            with monkeypatch.context() as patch, settings.override(host=True, immediate=False):
                patch.setattr(flush, "worth_compiling", lambda *args: False)
                compiler.clear_stats()
                ours = [x.resolve_conj().numpy().tobytes() for x in call(*given)]
                stats = compiler.stats()
                assert stats["single_compiles"] == stats["programs"] == 0, name
            with settings.override(host=False, immediate=True):
                assert ours == [x.resolve_conj().numpy().tobytes() for x in call(*given)], name


def test_control_flow_is_staged_where_calls_are_traced_through():
    call = TABLE["rnn_layer"]
    rows, hidden = torch.randn(9, 2, 4), torch.zeros(2, 3)
    seen = []

    def traced(op, *rest):
        closed, sizes = real(op, *rest)
        seen.append((op, [eqn.primitive.name for eqn in closed.jaxpr.eqns]))
        return closed, sizes

    real = inference.traced
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "traced", traced)
        compiler.clear_caches()
        call.inferred.clear()
        torch.nn.RNN(4, 3)(rows, hidden[None])
    loops = [names for op, names in seen if op is call]
    assert loops and all("scan" in names and "pjit" not in names for names in loops)


def test_an_evaluation_computes_nothing_twice():
    """What ``item()`` reads at the end of a batch is not computed again by the next forward."""
    net = torch.nn.Linear(6, 3).eval()
    images, labels = torch.randn(40, 8, 6), torch.randint(0, 3, (40, 8))

    @torch.no_grad()
    def evaluate():
        right = 0
        for x, y in zip(images, labels, strict=True):
            _, found = net(x).max(1)
            right += (found == y).sum().item()
        return right

    for _ in range(4):
        evaluate()
    compiler.clear_stats()
    evaluate()
    stats = compiler.stats()
    assert stats["programs"] <= 41 and stats["compiles"] == 0  # one of all batches' parts
    assert stats["host_ops"] <= 3 * 40 + 2
