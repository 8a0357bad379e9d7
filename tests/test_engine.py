"""The engine's contract: what runs when, what compiles; threads, limits and Ctrl-C."""

import gc
import itertools
import signal
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import torchlike as torch
from torchlike import compiler
from torchlike._core.settings import settings
from torchlike._engine import places, prefix, programs
from torchlike._engine.flush import clear_caches


class Perceptron:
    """A two-layer model of plain ops, with Adam."""

    def __init__(self, seed=0, width=8):
        rng = np.random.default_rng(seed)
        self.params = [
            torch.tensor(rng.normal(size=s).astype("float32") * 0.5, requires_grad=True)
            for s in ((4, width), (width,), (width, 1))
        ]
        self.optimizer = torch.optim.Adam(self.params, lr=0.01)
        self.x = torch.tensor(rng.normal(size=(16, 4)).astype("float32"))
        self.y = torch.tensor(rng.normal(size=(16, 1)).astype("float32"))

    def step(self, x=None, y=None, scale=1.0):
        w, b, v = self.params
        self.optimizer.zero_grad()
        out = torch.relu((self.x if x is None else x) @ w + b) @ v
        loss = ((out - (self.y if y is None else y)) ** 2).mean() * scale
        loss.backward()
        self.optimizer.step()
        return loss


def counted(function):
    """The statistics of one call."""
    compiler.clear_stats()
    result = function()
    return result, compiler.stats()


# ---- cost --------------------------------------------------------------------------------------


def test_steady_step_is_one_program_without_compiles_or_syncs():
    model = Perceptron()
    for _ in range(3):
        model.step()
    _, stats = counted(lambda: [model.step() for _ in range(10)])
    assert stats["programs"] == 10
    assert stats["compiles"] == stats["single_compiles"] == stats["syncs"] == stats["misses"] == 0


def test_reading_the_loss_before_backward_makes_two_programs():
    model = Perceptron()

    def step():
        w, b, v = model.params
        model.optimizer.zero_grad()
        loss = ((torch.relu(model.x @ w + b) @ v - model.y) ** 2).mean()
        loss.item()
        loss.backward()
        model.optimizer.step()

    for _ in range(3):
        step()
    _, stats = counted(lambda: [step() for _ in range(5)])
    assert stats["programs"] == 10
    assert stats["syncs"] == 5
    assert stats["compiles"] == 0


@pytest.mark.parametrize("what", ["lr", "weight decay value", "scalar", "index", "slice"])
def test_changing_numbers_never_recompiles(what):
    model = Perceptron()
    if what == "weight decay value":
        model.optimizer = torch.optim.AdamW(model.params, weight_decay=0.1)
    data = torch.randn(64, 4)
    target = torch.randn(64, 1)

    def step(i):
        if what == "lr":
            model.optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
        if what == "weight decay value":
            model.optimizer.param_groups[0]["weight_decay"] = 0.1 / (i + 1)
        if what == "index":
            return model.step(data[i].reshape(1, 4), target[i].reshape(1, 1))
        if what == "slice":
            return model.step(data[i : i + 16], target[i : i + 16])
        return model.step(scale=1.0 + i if what == "scalar" else 1.0)

    step(0)
    step(0)
    _, stats = counted(lambda: [step(i) for i in range(1, 12)])
    assert stats["compiles"] == stats["single_compiles"] == stats["misses"] == 0
    assert stats["programs"] == 11


def test_growing_length_does_not_compile_a_segment_a_step():
    w = torch.randn(8, 8)
    state = torch.zeros(1, 8)

    def run(steps):
        kept = state
        for i in range(steps):
            kept = torch.cat([kept, (kept[-1:] @ w).tanh()])
            (kept.sum() * i).item()

    _, stats = counted(lambda: run(40))
    assert stats["compiles"] <= 4


def test_dead_results_are_not_computed():
    x = torch.randn(4)
    (x * 2).sum()
    _, stats = counted(compiler.flush)
    assert stats["programs"] == 0


def test_flush_lines_are_the_users():
    compiler.clear_stats()
    (torch.ones(3) * 2).sum().item()
    (line,) = [k for k in compiler.stats()["flushes"] if "value" in k]
    assert line.rsplit(":", 1)[0].endswith("test_engine.py")


# ---- limits ------------------------------------------------------------------------------------


def test_ten_thousand_chained_ops_differentiate():
    x = torch.ones(2, requires_grad=True)
    y = x
    for _ in range(10_000):
        y = y * 1.0001
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full(2, 1.0001**10_000), rtol=1e-3)


def test_long_loops_keep_memory_flat():
    import resource

    x = torch.zeros(4)

    def run(n):
        nonlocal x
        for i in range(n):
            x = x * 0.5 + i

    run(20_000)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    prefixes = prefix.tree.size
    run(150_000)
    assert prefix.tree.size == prefixes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB
    assert np.isfinite(x.numpy()).all()


@pytest.mark.parametrize("same", [False, True])
def test_a_segment_that_is_cut_compiles_at_once_unless_it_is_a_loop(same):
    """Its ops one by one would compile as long where each has another shape."""
    total = torch.zeros(())
    parts = [torch.from_numpy(np.ones((300 + (not same) * n, 300))) for n in range(60)]
    compiler.clear_stats()
    with settings.override(max_ops=120, host=False):
        for part in parts:
            total = total + part.square().sum()
        assert total.item() == sum(part.numel() for part in parts)
    stats = compiler.stats()
    assert sum(n for place, n in stats["flushes"].items() if place.startswith("bound")) == 1
    assert (stats["single_ops"] > 0) is same, stats


def test_prefixes_and_programs_are_evicted():
    # Without the host, which would leave no programs to evict.
    with settings.override(max_prefixes=50, max_programs=5, host=False):
        for n in range(1, 40):
            torch.ones(n).add(1).mul(2).sum().item()
        assert prefix.tree.size <= 60
        assert len(programs.cache.order) <= 5
    assert torch.ones(3).add(1).sum().item() == 6


def test_what_is_used_stays_when_prefixes_go(monkeypatch):
    """Steps of ever other lengths begin as those of the one length that comes back."""
    w = torch.ones(3, requires_grad=True)

    def step(n):
        y = w * 2  # the first call of all
        loss = (torch.ones(n, 3) * y).sin().sum()
        loss.backward()
        return w.grad[0].item()

    evictions = []
    evict = prefix.Tree.evict
    monkeypatch.setattr(prefix.Tree, "evict", lambda self: (evictions.append(1), evict(self)))
    prefix.tree.clear()
    with settings.override(max_prefixes=300):
        for n in range(200):
            if n == 40:
                compiler.clear_stats()
            for length in (5 + n, 4):
                w.grad = None
                step(length)
        stats = compiler.stats()
        assert len(evictions) > 3 and prefix.tree.size <= 300
        assert stats["compiles"] == 0 and stats["hits"] >= 160


def test_what_is_compared_was_rounded_once():
    def logs(x, means, scale, weights):
        precisions = scale**2
        p = (means**2).sum(1) * precisions - 2 * (x @ means.T * precisions)
        p = p + torch.outer((x * x).sum(1), precisions)
        return -0.5 * (2 * 1.8378770664093453 + p) + 2 * torch.log(scale) + torch.log(weights)

    def best(y):
        return (y == y.max(dim=1, keepdim=True)[0]).to(y.dtype).sum(1)

    given = [[24.8636, 30.1633], [25.1272, 30.0273]], [0.266598, 0.264876], [0.5168, 0.4832]
    given = [np.random.RandomState(0).randn(200, 2) * 4 + 25, *given]
    given = [torch.tensor(x, dtype=torch.float64) for x in given]
    for _ in range(2):
        assert best(logs(*given)).tolist() == [1] * 200


def test_programs_that_compare_have_the_products_of_turned_matrices():
    a, b = torch.randn(1, 1, 1, 3), torch.randn(1, 1, 50, 3)
    with settings.override(always_compile=True):
        product = (a * 2).matmul((b * 1).mT)
        assert torch.equal(product[..., 0], product[..., 0])
    np.testing.assert_allclose(product, (a.numpy() * 2) @ np.swapaxes(b, -1, -2), 1e-5)


def test_no_clock_decides_what_is_compiled(monkeypatch):
    """A slow machine has the bits of a fast one: NumPy and programs run the same calls on both."""

    def run(seconds: float) -> dict:
        now = itertools.count()
        monkeypatch.setattr(time, "perf_counter", lambda: next(now) * seconds)
        compiler.clear_caches()
        places.forget()
        compiler.clear_stats()
        for n in range(120):
            x = torch.linspace(0, 1, 11 + n % 12)
            for _ in range(60):
                x = (x * 1.01).sin() + 0.1
            x.sum().item()
        stats = compiler.stats()
        return {name: stats[name] for name in ("compiles", "hits", "host_ops")}

    assert run(0.0) == run(1.0)


# ---- threads -----------------------------------------------------------------------------------


def test_four_threads_train_four_models():
    expected = []
    for seed in range(4):
        model = Perceptron(seed)
        expected.append([model.step().item() for _ in range(20)])
    results: dict = {}

    def work(seed):
        model = Perceptron(seed)
        results[seed] = [model.step().item() for _ in range(20)]

    threads = [threading.Thread(target=work, args=(s,), daemon=True) for s in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    for seed in range(4):
        np.testing.assert_allclose(results[seed], expected[seed], rtol=1e-5)


def test_pending_values_cross_threads():
    shared = {}

    def work():
        shared["a"] = torch.arange(4) * 3
        shared["ready"].set()
        shared["stop"].wait(10)
        shared["b"] = shared["a"] + 1

    shared["ready"], shared["stop"] = threading.Event(), threading.Event()
    t = threading.Thread(target=work, daemon=True)
    t.start()
    assert shared["ready"].wait(10)
    assert (shared["a"] + 1).tolist() == [1, 4, 7, 10]
    shared["stop"].set()
    t.join(10)
    assert shared["b"].tolist() == [1, 4, 7, 10]
    assert shared["a"].tolist() == [0, 3, 6, 9]


ROW_WRITES = {
    "view": lambda out, i: out[i].add_(1).mul_(i + 1),
    "index": lambda out, i: out.__setitem__(i, i + 1.0),
    "numbers": lambda out, i: [out.__setitem__((i, j), i + 1.0) for j in range(20)],
    "tensor index": lambda out, i: out.index_fill_(0, torch.tensor([i]), i + 1.0),
    "put": lambda out, i: out.__setitem__(torch.tensor([i]), i + 1.0),
    "numpy": lambda out, i: out[i].numpy().fill(i + 1),
    "numpy of all": lambda out, i: out.numpy()[i].fill(i + 1),
    "both": lambda out, i: out[i].numpy().fill(i + 1) if i % 2 else out[i].fill_(i + 1),
}


@pytest.mark.parametrize("write", ROW_WRITES.values(), ids=list(ROW_WRITES))
def test_threads_write_rows_of_one_tensor(write):
    def work(out, i, ready):
        ready.wait(10)
        write(out, i)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(12):
            clear_caches()  # all meet their calls for the first time
            out, ready = torch.zeros(6, 20), threading.Barrier(6)
            threads = [threading.Thread(target=work, args=(out, i, ready)) for i in range(6)]
            for t in threads:
                t.start()
            for t in threads:
                t.join(60)
            assert out[:, 0].tolist() == out[:, -1].tolist() == [1, 2, 3, 4, 5, 6]
    finally:
        sys.setswitchinterval(before)


# ---- failures ----------------------------------------------------------------------------------


def test_interrupts_leave_a_model_that_trains_on():
    model = Perceptron()
    for _ in range(3):
        model.step()
    hits = 0

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # an interrupt inside of XLA's hook on the collector is lost, and told of
    try:
        for n in range(150):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-5 + n * 7e-6)
                for _ in range(20):
                    model.step()
            except KeyboardInterrupt:
                hits += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            loss = model.step()
            assert np.isfinite(loss.item())
    finally:
        gc.enable()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert hits > 20
    assert model.step().item() < 1.0


def test_a_failed_program_names_the_op_and_spares_the_rest(monkeypatch):
    good = torch.ones(3) + 1
    bad = torch.ones(3).exp()
    op = torch._FUNCTIONS and prefix.local.segment.node.op
    assert op.name == "exp"

    def broken(self, *args):
        raise ValueError("no such kernel")

    monkeypatch.setattr(op, "run_body", broken)
    with pytest.raises(RuntimeError, match=r"exp\(\) recorded at .*test_engine.py:\d+ failed"):
        bad.tolist()
    del bad
    assert good.tolist() == [2, 2, 2]
    monkeypatch.undo()
    assert (good + 1).tolist() == [3, 3, 3]


def test_a_program_that_cannot_be_made_is_no_secret(monkeypatch):
    def broken(self):
        raise MemoryError("too large")

    monkeypatch.setattr(programs.Program, "jitted", broken)
    x = torch.full((300, 300), 0.5)
    with pytest.warns(UserWarning, match=r"calls up to .*test_engine.py:\d+ .*too large"):
        assert (x @ x).exp().sum().isfinite()


def test_a_bad_call_leaves_no_trace():
    x = torch.ones(3)
    y = x + 1
    for _ in range(3):
        with pytest.raises(RuntimeError):
            torch.ones(4) + x
    assert (y * 2).tolist() == [4, 4, 4]


# ---- donation ----------------------------------------------------------------------------------


def test_arrays_that_somebody_sees_are_not_overwritten():
    model = Perceptron()
    model.step()
    array = model.params[0].jax()
    before = np.array(array)
    alias = model.params[0].detach().clone()
    kept = model.params[1].data
    for _ in range(3):
        model.step()
    np.testing.assert_array_equal(np.asarray(array), before)
    np.testing.assert_array_equal(alias.numpy(), before)
    np.testing.assert_array_equal(kept.numpy(), model.params[1].detach().numpy())


def test_old_graphs_still_see_old_parameters():
    model = Perceptron()
    for _ in range(2):
        model.step()
    w = model.params[0]
    doubled = w.detach().clone() * 2
    saved = w.detach().numpy().copy()
    model.step()
    np.testing.assert_array_equal(doubled.numpy(), saved * 2)


# ---- inside JAX --------------------------------------------------------------------------------


def test_tensors_are_pytrees_and_ops_apply_to_tracers():
    x = torch.tensor([1.0, 2.0, 3.0])
    compiled = jax.jit(lambda t: (t * 2 + 1).sum())
    assert compiled(x).item() == 15
    gradient = jax.grad(lambda t: (t * t).sum().jax())(x)
    assert gradient.tolist() == [2, 4, 6]
    rows = jax.vmap(lambda t: t.sum())(torch.ones(2, 3))
    assert rows.tolist() == [3, 3]


def test_flushes_inside_a_trace_leak_nothing():
    y = torch.ones(3) * 2  # pending when the trace begins

    @jax.jit
    def f(a):
        return a + y.sum().item()

    assert float(f(jnp.float32(1))) == 7
    assert y.tolist() == [2, 2, 2]


def test_importing_changes_no_jax_setting():
    assert jnp.arange(3).dtype == jnp.int32
    assert (torch.arange(3) + 1).dtype is torch.int64
    assert jnp.ones(3).dtype == jnp.float32


# ---- packed numbers ----------------------------------------------------------------------------


def test_numbers_keep_their_sign_and_width():
    x = torch.ones(2, dtype=torch.float64)

    def scaled(c):
        return (x * c).numpy()

    for c in (0.0, -0.0, 0.0, 1e-300, 0.1, float("inf")):
        np.testing.assert_array_equal(np.signbit(scaled(c)), np.signbit(np.ones(2) * c))
        np.testing.assert_array_equal(scaled(c), np.ones(2) * c)
    n = torch.zeros(1, dtype=torch.int64)
    for k in (2**62 + 1, -(2**63), 5):
        assert (n + k).item() == k


def test_joins_of_short_tensors_at_hand_are_no_part_of_a_program():
    memory = [torch.tensor([float(i), 1.0]) for i in range(9)]
    picks = ([0, 1, 2, 3], [0, 1, 1, 3], [5, 5, 5, 5])  # which are one differs each time
    compiler.clear_stats()
    joined = [torch.stack([memory[i] for i in pick]) for pick in picks]
    assert compiler.stats()["ops"] == 0
    assert [x[:, 0].tolist() for x in joined] == [[float(i) for i in pick] for pick in picks]
    joined[0].zero_()
    assert memory[1].tolist() == [1.0, 1.0]  # a copy

    step = torch.compile(lambda x: torch.stack([torch.tensor(2.0)] * 4) * x)
    assert [step(torch.tensor(float(n))).tolist() for n in range(5)] == [
        [2.0 * n] * 4 for n in range(5)
    ]
