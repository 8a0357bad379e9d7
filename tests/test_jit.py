"""torch.jit, torch.futures, torch.multiprocessing: the names that programs use."""

import copy
import io
import os
import warnings
from multiprocessing.reduction import ForkingPickler

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
    assert net.training and not made.training
    assert jit.script(made) is made
    frozen = jit.optimize_for_inference(jit.freeze(made))
    assert torchlike.equal(frozen(x), net(x)) and not frozen(x).requires_grad
    assert not list(frozen.parameters()) and len(list(net.parameters())) == 2
    for use in (lambda: made.save("x.pt"), lambda: made.graph, lambda: jit.save(made, "x.pt")):
        with pytest.raises(torchlike.NotSupported, match=r"torch\.where"):  # its branch
            use()


@pytest.mark.parametrize("how", ["script", "trace"])
def test_what_is_set_on_a_module_later_is_not_set_on_what_was_made_of_it(how):
    torch = pytest.importorskip("torch")

    def seen(torch):
        layer = torch.nn.Linear(3, 2)
        with torch.no_grad():
            layer.weight.fill_(0.5)
            layer.bias.zero_()
        net = torch.nn.Sequential(layer, torch.nn.Dropout(0.5)).eval()
        x = torch.ones(1, 3)
        made = torch.jit.script(net) if how == "script" else torch.jit.trace(net, x)
        net.train()
        out = [net.training, made.training, getattr(made, "0").training, made(x).tolist()]
        made.train()
        net.eval()
        out += [net.training, made.training, getattr(made, "0").weight is layer.weight]
        with torch.no_grad():
            layer.bias.add_(1)
        made.eval()
        out.append(made(x).tolist())
        layer.weight = torch.nn.Parameter(torch.zeros(2, 3))
        out.append(made(x).tolist())
        net[0] = torch.nn.Linear(3, 2)
        return [*out, made(x).tolist()]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert seen(torchlike) == seen(torch)


def test_a_function():
    @jit.script
    def f(x, n: int = 2):
        """Doc."""
        return x * n if n > 1 else x

    assert isinstance(f, jit.ScriptFunction) and (f.name, f.__doc__) == ("f", "Doc.")
    assert f(torchlike.ones(2), 3).tolist() == [3.0, 3.0]
    assert jit.trace(lambda x: x + 1, (torchlike.ones(2),))(torchlike.ones(3)).shape == (3,)
    inputs = {"forward": [torchlike.ones(2)]}
    assert jit.trace_module(torchlike.nn.ReLU(), inputs)(torchlike.ones(3)).shape == (3,)
    assert "return x * n" in f.code and "stablehlo" in str(f.graph)
    with pytest.raises(ValueError, match="does not exist"):
        jit.load("x.pt")
    with pytest.raises(RuntimeError, match="ScriptModule"):
        jit.freeze(Net())
    with pytest.raises(RuntimeError, match="eval"):
        jit.freeze(jit.script(Net()))
    assert jit.script_if_tracing(f) is f and jit.unused(f) is f and jit.ignore(f) is f
    assert jit.ignore(drop=True)(f) is f


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.drop, self.lin = nn.Dropout(0.5), nn.Linear(4 * 16, 2)

    def forward(self, x):
        return self.lin(self.drop(self.norm(self.conv(x)).relu().flatten(1)))

    def features(self, x):
        return self.conv(x) * 2


def test_a_trace_runs_from_its_file_with_any_batch(tmp_path):
    """As PyTorch's: the mode is that of the example, which may be a batch of one."""
    net, path = Layers().eval(), tmp_path / "a.pt"
    traced = jit.trace(net, torchlike.randn(1, 3, 4, 4))
    traced.train()
    jit.save(traced, path, _extra_files={"labels": "a,b"})
    traced.eval()
    extra = {"labels": ""}
    loaded = jit.load(path, map_location="cpu", _extra_files=extra)
    assert extra == {"labels": b"a,b"} and loaded.original_name == "Layers"
    assert loaded.state_dict().keys() == net.state_dict().keys()
    assert [p.shape for p in loaded.parameters()] == [p.shape for p in net.parameters()]
    for b in (1, 3):
        x = torchlike.randn(b, 3, 4, 4)
        assert torchlike.allclose(loaded.to("cpu")(x), net(x), atol=1e-6)
    loaded.load_state_dict({k: v * 2 for k, v in net.state_dict().items()})
    loaded.save(tmp_path / "b.pt")
    again = jit.load(tmp_path / "b.pt")
    assert torchlike.equal(again.lin.weight, net.lin.weight * 2)
    assert torchlike.equal(again(x), loaded(x))
    with pytest.raises(AssertionError, match=r"size\(\)\[1\] == 3"):
        loaded(torchlike.randn(1, 2, 4, 4))
    frozen, x = jit.freeze(again.eval()), torchlike.randn(2, 3, 4, 4)
    assert torchlike.equal(frozen(x), again(x)) and not frozen(x).requires_grad
    assert torchlike.equal(copy.deepcopy(again)(x), again(x)) and "stablehlo" in again.code


def test_a_script_is_saved_as_it_was_called_in_both_modes(tmp_path):
    scripted, path = jit.script(Layers()), tmp_path / "a.pt"
    with pytest.raises(torchlike.NotSupported, match="not been called"):
        scripted.save(path)
    scripted(torchlike.randn(2, 3, 4, 4))
    loaded = jit.load(io.BytesIO(scripted.save_to_buffer()))
    x = torchlike.randn(5, 3, 4, 4)
    for mode in (True, False):
        results = []
        for module in (loaded, scripted):
            torchlike.manual_seed(0)
            results.append(module.train(mode)(x))
        assert torchlike.allclose(*results, atol=1e-6)
    assert torchlike.allclose(loaded.norm.running_var, scripted.norm.running_var)
    methods = {"forward": x, "features": x}
    jit.trace_module(scripted, methods).save(path)
    assert torchlike.allclose(jit.load(path).features(x[:2]), scripted.features(x[:2]))


def test_sizes_of_a_saved_call_stay_open_where_the_code_allows(tmp_path):
    path = str(tmp_path / "a.pt")
    a, b = torchlike.ones(2, 3), torchlike.ones(3, 4)
    jit.trace(lambda x, y: x @ y + 1, (a, b)).save(path)
    product = jit.load(path)
    assert product(torchlike.ones(5, 7), torchlike.ones(7, 2)).tolist() == [[8.0] * 2] * 5
    with pytest.raises(AssertionError, match=r"args\[1\].size\(\)\[0\] == args\[0\].size"):
        product(a, a)

    def fixed(x):
        return x.reshape(2, 3) * len([*range(x.shape[0])])

    jit.trace(fixed, a).save(path)
    assert jit.load(path)(a).tolist() == [[2.0] * 3] * 2
    with pytest.raises(AssertionError, match=r"size\(\)\[0\] == 2"):
        jit.load(path)(torchlike.ones(3, 2))


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
    with pytest.raises(RuntimeError, match="running the callback: ZeroDivisionError"):
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


def _work(i, model, slots, alone, queue):
    slots[i] = i + 1.5  # the other process writes the other slot meanwhile
    for p in model.parameters():
        p.data[i] += 1 + i
    alone[i] += 1
    queue.put((i, slots.tolist()))


def test_memory_of_several_processes():
    """What a process writes in place shows in the others; what is not shared is copied."""
    model, slots, alone = nn.Linear(2, 2), torchlike.zeros(4)[1:3], torchlike.zeros(3)
    model.share_memory()
    assert slots.share_memory_() is slots and slots.is_shared() and slots._base.is_shared()
    assert all(p.is_shared() for p in model.parameters()) and not alone.is_shared()
    before = [p.detach().clone() for p in model.parameters()]
    assert not before[0].is_shared()
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    arguments = [(i, model, slots, alone, queue) for i in range(2)]
    processes = [context.Process(target=_work, args=a) for a in arguments]
    for p in processes:
        p.start()
    found = sorted(queue.get(timeout=100) for _ in processes)
    for p in processes:
        p.join()
    assert slots.tolist() == [1.5, 2.5] and slots._base.tolist() == [0, 1.5, 2.5, 0]
    for p, old in zip(model.parameters(), before, strict=True):
        added = torchlike.tensor([1.0, 2.0]).reshape(2, *[1] * (p.ndim - 1))
        assert p.requires_grad and torchlike.allclose(p, old + added)
    with pytest.raises(RuntimeError, match="Cowardly refusing to serialize non-leaf tensor"):
        ForkingPickler.dumps(model(torchlike.ones(1, 2)))
    assert alone.tolist() == [1, 1, 0] and alone.is_shared()  # a spawned one's arguments are
    assert [f[1][f[0]] for f in found] == [1.5, 2.5]
