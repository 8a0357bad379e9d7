"""Prompt programs: what is read at once runs on the calling thread, with everybody's bits."""

import gc
import threading

import jax
import numpy as np
import pytest

import torchlike as torch
from torchlike import compiler
from torchlike._core.settings import settings
from torchlike._engine import prompt
from torchlike._engine.prompt import PromptProgram


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
