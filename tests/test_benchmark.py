"""torch.utils.benchmark: what it measures, and its tables against PyTorch's."""

import re

import pytest

import torchlike
from torchlike.utils import benchmark

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("torch.utils.benchmark")


def results(b):
    """Fixed times: statements of two labels, sizes, numbers of threads, one of them unsteady."""
    found = []
    for label in ("Dot", None):
        for k, description in enumerate(("mul", "a long one")):
            for size, threads in ((1, 1), (64, 1), (64, 4)):
                steps = [1 + 0.004 * k * i + (0.3 * i * (size > 1) * k) for i in range(6)]
                task = b.TaskSpec(
                    stmt="x + 1", setup="pass" if k else "y = 1", label=label,
                    sub_label=f"[{size}]", description=description, num_threads=threads,
                )  # fmt: skip
                base = (1 + k * 1.5) * size * 1.02e-5
                found.append(b.Measurement(10, [base * s for s in steps], task))
    return found


def shown(text):
    return re.sub(r"<torch.*\.Measurement object at 0x\w+>", "<Measurement>", text)


@pytest.mark.parametrize("how", ["", "trim", "column", "row", "warn", "trim warn row"])
def test_tables(how):
    tables = []
    for b in (benchmark, theirs):
        table = b.Compare(results(b)[:-1])
        table.extend_results(results(b)[-1:])
        if "trim" in how:
            table.trim_significant_figures()
        if "column" in how or "row" in how:
            table.colorize(rowwise="row" in how)
        if "warn" in how:
            table.highlight_warnings()
        tables.append(str(table))
    assert tables[0] == tables[1]
    with pytest.raises(ValueError, match="Expected an instance of `Measurement`"):
        benchmark.Compare([3])


def test_measurements():
    for a, b in zip(results(benchmark), results(theirs), strict=True):
        assert shown(repr(a)) == shown(repr(b))
        for name in ("median", "mean", "iqr", "significant_figures", "has_warnings", "title"):
            assert getattr(a, name) == pytest.approx(getattr(b, name)), name
    merged = benchmark.Measurement.merge(results(benchmark) * 2)
    assert [len(m.times) for m in merged] == [12] * 12
    for t in (3e-9, 4e-6, 5e-3, 6.0):
        assert benchmark.select_unit(t) == theirs.select_unit(t)
        assert benchmark.trim_sigfig(t * 1.234, 2) == pytest.approx(
            theirs.trim_sigfig(t * 1.234, 2)
        )


@pytest.mark.parametrize("m", [torchlike, torch], ids=["ours", "pytorchs"])
def test_timer(m):
    b = benchmark if m is torchlike else theirs
    x = m.ones(4, requires_grad=True)
    timer = b.Timer("y = x * 2\ny + z", setup="z = torch.ones(4)", globals={"x": x, "torch": m})
    found = timer.timeit(7)
    assert found.number_per_run == 7 and len(found.times) == 1 and 0 < found.median < 10
    blocks = []
    found = timer.blocked_autorange(lambda n, t: blocks.append((n, t)), min_run_time=0.01)
    assert sum(found.raw_times) >= 0.01 and len(blocks) == len(found.times)
    assert timer.adaptive_autorange(max_run_time=0.2).median > 0
    with pytest.raises(SyntaxError):
        b.Timer("x +").timeit(1)
    with pytest.raises(NameError):
        b.Timer("unknown").timeit(1)
    with pytest.raises(ValueError, match="C\\+\\+ only"):
        b.Timer("1", global_setup="2")


def test_timer_waits_for_the_work():
    """A result that nobody reads is computed all the same: a larger product takes longer."""
    small, large = (
        benchmark.Timer("x @ x", globals={"x": torchlike.ones(n, n)}).timeit(5).median
        for n in (4, 700)
    )
    assert large > 3 * small
    with pytest.raises(torchlike.NotSupported):
        benchmark.Timer("1").collect_callgrind()
