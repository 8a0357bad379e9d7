"""torch.jit, torch.futures, torch.multiprocessing: the names that programs use."""

import os

import pytest

import torchlike
from torchlike import futures, jit, multiprocessing, nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(3, 2)

    def forward(self, x):
        if x.sum() > 0:
            return self.lin(x)
        return -self.lin(x)

    @jit.export
    def twice(self, x):
        return self(x) * 2

    @jit.ignore
    def helper(self):
        return 1


@pytest.mark.parametrize("make", [jit.script, lambda m: jit.trace(m, torchlike.ones(1, 3))])
def test_a_module_keeps_its_parameters_and_its_code(make):
    net, x = Net(), torchlike.ones(2, 3)
    made = make(net)
    assert isinstance(made, jit.ScriptModule) and isinstance(made, Net)
    assert made.original_name == "Net"
    assert made.state_dict().keys() == net.state_dict().keys()
    assert torchlike.equal(made(x), net(x)) and torchlike.equal(made(-x), net(-x))
    assert torchlike.equal(made.twice(x), 2 * net(x))
    made(x).sum().backward()
    assert net.lin.weight.grad is made.lin.weight.grad
    made.eval()
    assert not net.training
    assert jit.script(made) is made and jit.freeze(made) is made
    for use in (lambda: made.save("x.pt"), lambda: made.graph, lambda: jit.save(made, "x.pt")):
        with pytest.raises(torchlike.NotSupported):
            use()


def test_a_function():
    @jit.script
    def f(x, n: int = 2):
        """Doc."""
        return x * n if n > 1 else x

    assert isinstance(f, jit.ScriptFunction) and (f.name, f.__doc__) == ("f", "Doc.")
    assert f(torchlike.ones(2), 3).tolist() == [3.0, 3.0]
    assert jit.trace(lambda x: x + 1, (torchlike.ones(2),))(torchlike.ones(3)).shape == (3,)
    assert "return x * n" in f.code
    with pytest.raises(torchlike.NotSupported, match="graph"):
        _ = f.graph
    with pytest.raises(torchlike.NotSupported, match="state_dict"):
        jit.load("x.pt")
    with pytest.raises(RuntimeError, match="ScriptModule"):
        jit.freeze(Net())
    with pytest.raises(RuntimeError, match="eval"):
        jit.freeze(jit.script(Net()))
    assert jit.script_if_tracing(f) is f and jit.unused(f) is f and jit.ignore(f) is f
    assert jit.ignore(drop=True)(f) is f


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [([1], list[int], True), (["a"], list[int], False), ({"a": 1}, dict[str, int], True),
     ((1, "a"), tuple[int, str], True), ((1,), tuple[int, str], False), (None, int | None, True),
     (2.0, (int, str), False), (2, int, True)],
)  # fmt: skip
def test_isinstance(value, kind, expected):
    assert jit.isinstance(value, kind) is expected


def test_futures():
    done = jit.fork(lambda x: x + 1, 2)
    assert jit.wait(done) == 3 and done.done() and done.value() == 3
    f = futures.Future()
    later = f.then(lambda f: f.wait() * 2)
    both = futures.collect_all([f, done])
    assert not later.done() and not both.done()
    with pytest.raises(RuntimeError, match="not completed"):
        f.value()
    f.set_result(4)
    assert later.wait() == 8 and futures.wait_all(both.wait()) == [4, 3]
    with pytest.raises(RuntimeError, match="once"):
        f.set_result(5)
    failed = jit.fork(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failed.wait()
    with pytest.raises(ZeroDivisionError):
        failed.then(lambda f: f.wait()).wait()


def _write(i, folder):
    if folder is None:
        raise ValueError(f"number {i}")
    if folder == "die":
        os._exit(7)
    with open(f"{folder}/{i}", "w") as f:
        f.write(str(i))


def test_spawn(tmp_path):
    """Started by fork, as these children import nothing: a spawned one takes seconds here."""
    start = multiprocessing.start_processes
    assert start(_write, (str(tmp_path),), 2, start_method="forkserver") is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "1"]
    with pytest.raises(multiprocessing.ProcessRaisedException, match="number 0") as error:
        start(_write, (None,), 1, start_method="forkserver")
    assert error.value.error_index == 0
    with pytest.raises(multiprocessing.ProcessExitedException, match="exit code 7"):
        start(_write, ("die",), 1, start_method="forkserver")
    assert multiprocessing.get_sharing_strategy() in multiprocessing.get_all_sharing_strategies()
    with pytest.raises(AssertionError):
        multiprocessing.set_sharing_strategy("telepathy")
    assert multiprocessing.cpu_count() >= 1 and multiprocessing.Queue
