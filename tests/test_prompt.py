"""Prompt programs: what is read at once runs on the calling thread, with everybody's bits."""

import gc
import threading

import jax
import numpy as np
import pytest

import torchlike as torch
from torchlike import compiler
from torchlike._core.settings import settings
from torchlike._engine import prompt, values
from torchlike._engine.prompt import PromptProgram
from torchlike.compiler import _direct


@pytest.fixture(autouse=True)
def seen(monkeypatch):
    """The prompt programs that run in a test, in order."""
    found = []
    run = PromptProgram.run

    def noted(self, segment, arrays):
        found.append(self)
        return run(self, segment, arrays)

    monkeypatch.setattr(PromptProgram, "run", noted)
    compiler.clear_caches()
    assert prompt.prompt_device() is not None
    return found


def network(width=16):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 3), torch.nn.Softmax(-1)
    )


READS = {
    "a sum": lambda x: (x * 1.5).sum(),
    "several": lambda x: torch.stack([x.mean(), x.std(), x.logsumexp(0).max()]),
    "a product": lambda x: x @ x.T,
    "integers": lambda x: (x > 0).sum() // 3 + x.argmax(),
    "bfloat16": lambda x: x.bfloat16().softmax(-1),
    "complex": lambda x: torch.complex(x, x.sin()) ** 2,
    "a factorization": lambda x: torch.linalg.svd(x).S,
    "the input again": lambda x: x.clone(),
    "one number of its own": lambda x: x.cos() * 0.3 + 7,
}


@pytest.mark.parametrize("name", READS)
def test_the_bits_are_those_of_jaxs_client(name, seen, monkeypatch):
    x = torch.randn(40, 24)
    found = []
    for suits in (prompt.suits, lambda *_: False):
        monkeypatch.setattr("torchlike._engine.flush.suits", suits)
        compiler.clear_caches()
        with settings.override(always_compile=True):
            # The third time parameters and numbers have a place where the program runs.
            found += [READS[name](x).float().numpy().tobytes() for _ in range(3)]
    assert len(set(found)) == 1
    assert len(seen) == 3


def test_models_in_use_are_prompt_and_steps_are_not(seen):
    model, x = network(), torch.randn(5, 4)
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    outputs = []
    for _ in range(4):
        with torch.no_grad():
            outputs.append(model(x))
        used = len(seen)
        loss = model(x).square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        assert len(seen) == used  # the step is JAX's, which computes while Python goes on
    assert len(seen) == 4
    # Each call saw the parameters as they were, copies of none that have changed since.
    assert len({out.numpy().tobytes() for out in outputs}) == 4


def test_parameters_are_copied_once_and_forgotten(seen):
    model, x = network(), torch.randn(5, 4)
    with torch.no_grad():
        for _ in range(3):
            model(x)
        held = [c for _, c in prompt._copies.values() if c is not None]
        assert held and all(c.devices() == {prompt.prompt_device()} for c in held)
        arrays = {id(p._value.array) for p in model.parameters()}
        assert arrays <= prompt._copies.keys()
        for p in model.parameters():
            p.mul_(2)
        changed = model(x)
    assert arrays.isdisjoint({id(p._value.array) for p in model.parameters()})
    fresh = network()
    with torch.no_grad():
        for p in fresh.parameters():
            p.mul_(2)
        assert torch.equal(fresh(x), changed)
    del model, fresh, p, changed, held
    gc.collect()
    compiler.clear_caches()
    assert arrays.isdisjoint(prompt._copies)


def test_what_numpy_writes_later_is_seen(seen):
    data = np.ones(300, np.float32)
    x = torch.from_numpy(data)
    with settings.override(always_compile=True):
        for k in range(4):
            data[0] = k
            assert x.sin().sum().item() == pytest.approx(float(np.sin(data).sum()), rel=1e-5)
    assert len(seen) == 4


def test_many_or_large_inputs_stay_with_jax(seen):
    some = [torch.randn(200, 200) for _ in range(40)]  # 6 MB
    with settings.override(always_compile=True):
        for _ in range(2):
            sum(x.sum() for x in some).item()
        assert not seen
        for _ in range(2):
            torch.stack(some[:8]).sin().sum().item()
    assert len(seen) == 2
    assert not any(x._value.array.__class__ is not np.ndarray and c is not None
                   for x in some for _, c in [prompt._copies.get(id(x._value.array), (0, None))]
                   if x._value.array.nbytes > prompt._SMALL)  # fmt: skip


def test_wrong_indices_are_told_of(seen):
    table = torch.randn(3, 4)
    with settings.override(always_compile=True):
        for _ in range(2):
            with pytest.raises(IndexError, match="index 9 is out of bounds"):
                rows = torch.arange(2.0).mul(9).long()
                table[rows].sin().sum().item()
    assert len(seen) == 2


def test_another_precision_is_compiled_for(seen):
    x = torch.randn(8, 8)
    with settings.override(always_compile=True):
        (x @ x).sum().item()
        with jax.default_matmul_precision("float32"):
            (x @ x).sum().item()
        (program,) = set(seen)
        assert program.fixed == "float32"
        (x @ x).sum().item()
    assert program.fixed == ""


def test_threads_read_at_once(seen):
    model = network()
    inputs = [torch.randn(n + 1, 4) for n in range(4)]
    found = {}
    with settings.override(always_compile=True), torch.no_grad():
        wanted = [model(x).numpy() for x in inputs]

        def use(n):
            with torch.no_grad():
                found[n] = [model(inputs[n]).numpy() for _ in range(30)]

        threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
    assert sorted(found) == [0, 1, 2, 3]
    for n, results in found.items():
        for result in results:
            np.testing.assert_array_equal(result, wanted[n])


# ---- compiled calls ----------------------------------------------------------------------------


def compiled_step(torch=torch):
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    x, y = torch.randn(6, 4), torch.randint(0, 3, (6,))

    @torch.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = -model(x).log()[torch.arange(6), y].mean()
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, lambda: step(x, y), step.compiled


def pretend_waits(compiled, result) -> None:
    """Let it seem that a read had to wait for the result."""
    values.awaited.array = id(result._value.array)
    assert values.awaited.array in compiled.replays[0].fast.last


def nothing(model, optimizer):
    return None


def changed(model, optimizer):
    with torch.no_grad():
        model[0].weight.mul_(0.5)


def loaded(model, optimizer):
    model.load_state_dict({k: v * 0.9 for k, v in model.state_dict().items()})


def eager_step(model, optimizer):
    model(torch.ones(2, 4)).square().sum().backward()
    optimizer.step()


def slower(model, optimizer):
    optimizer.param_groups[0]["lr"] = 0.01


def looked_at(model, optimizer):
    return [p.tolist() for p in model.parameters()], [p.grad.tolist() for p in model.parameters()]


def kept(model, optimizer):
    return [p.detach().clone() for p in model.parameters()], [p.grad for p in model.parameters()]


def precise(model, optimizer):
    jax.config.update("jax_default_matmul_precision", "highest")


BETWEEN = [nothing, changed, loaded, eager_step, slower, looked_at, kept, precise]


@pytest.mark.parametrize("between", BETWEEN, ids=lambda f: f.__name__)
def test_compiled_steps_that_are_waited_for_become_prompt(between, monkeypatch):
    found = []
    try:
        for waits in (True, False):
            monkeypatch.setattr(_direct, "_WAITS", 2 if waits else 10**9)
            model, optimizer, step, compiled = compiled_step()
            losses, seen = [], []
            for n in range(14):
                losses.append(step())
                fast = compiled.replays[0].fast if compiled.replays else None
                if waits and fast is not None and fast.waits is not None and n > 2:
                    pretend_waits(compiled, losses[-1])
                if n in (8, 9, 12):
                    seen.append(between(model, optimizer))
            assert compiled.replays[0].fast.prompt is waits
            flats = jax.tree.map(
                lambda t: t.numpy().tobytes() if isinstance(t, torch.Tensor) else t,
                (losses_of(losses), optimizer.state_dict()["state"], dict(model.state_dict()),
                 [p.grad for p in model.parameters()]),
                is_leaf=lambda t: isinstance(t, torch.Tensor),
            )  # fmt: skip
            found.append((flats, repr(seen)))
            jax.config.update("jax_default_matmul_precision", None)
    finally:
        jax.config.update("jax_default_matmul_precision", None)
    assert found[0] == found[1]


def losses_of(losses):
    return [loss.detach().clone() for loss in losses]


def test_compiled_forwards_that_are_waited_for_become_prompt(monkeypatch):
    monkeypatch.setattr(_direct, "_WAITS", 2)
    model = network().eval()
    forward = torch.compile(torch.no_grad()(lambda x: model(x)))
    seen = []
    for n in range(12):
        x = torch.full((5, 4), float(n))
        out = forward(x)
        fast = forward.compiled.replays[0].fast if forward.compiled.replays else None
        if fast is not None and fast.waits is not None and fast.last:
            pretend_waits(forward.compiled, out)
        if n == 8:
            with torch.no_grad():
                model[0].bias.add_(1)
        seen.append(out)
    assert fast.prompt and seen[-1]._value.array.__class__ is np.ndarray
    other = network().eval()
    forward = torch.compile(torch.no_grad()(lambda x: other(x)))
    for n, out in enumerate(seen):
        assert torch.equal(forward(torch.full((5, 4), float(n))), out)
        if n == 8:
            with torch.no_grad():
                other[0].bias.add_(1)


def test_bad_indices_of_a_prompt_compiled_call_raise(monkeypatch):
    monkeypatch.setattr(_direct, "_WAITS", 1)
    table = torch.randn(5, 3)
    look_up = torch.compile(lambda i: torch.nn.functional.embedding(i, table) * 2)
    index = torch.tensor([0, 4])
    for _ in range(5):
        out = look_up(index)
        fast = look_up.compiled.replays[0].fast if look_up.compiled.replays else None
        if fast is not None and fast.waits is not None and fast.last:
            pretend_waits(look_up.compiled, out)
    assert fast.prompt
    with pytest.raises(IndexError, match="out of bounds"):
        look_up(torch.tensor([0, 5])).tolist()
    assert torch.equal(look_up(index), out)
