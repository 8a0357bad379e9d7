"""Stored programs: what one process has compiled, another one loads without tracing it."""

import json
import os
import subprocess
import sys

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

import torchlike
import torchlike as torch
from torchlike import compiler
from torchlike._engine import flush, prefix, programs

STEP = """
import json, sys
import torchlike as torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
optimizer = torch.optim.Adam(model.parameters(), 0.05)
words = torch.nn.Embedding(5, 4)
x, y = torch.randint(0, 5, (16,)), torch.randint(0, 3, (16,))

def step():
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(words(x)), y)
    loss.backward()
    optimizer.step()
    return loss

if sys.argv[1] == "compiled":
    step = torch.compile(step)
losses = [step().item() for _ in range(6)]
stats = torch.compiler.stats()
print(json.dumps([losses, stats["compiles"], stats["loads"]]))
"""


@pytest.mark.parametrize("mode", ["eager", "compiled"])
def test_a_second_process_compiles_nothing(mode, tmp_path):
    here = os.environ | {"TORCHLIKE_CACHE": str(tmp_path)}
    runs = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", STEP, mode],
            env=here, text=True, capture_output=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout))
    (first, compiles, loads), (second, none, loaded) = runs
    assert first == second  # bit for bit
    assert compiles > 0 and loads == 0
    assert none == 0 and loaded == compiles


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for programs; each is compiled at its first sight."""
    before = {name: getattr(jax.config, name) for name in _SETTINGS}
    for name, value in zip(_SETTINGS, (str(tmp_path), 0.0, -1), strict=True):
        jax.config.update(name, value)
    monkeypatch.setattr(programs.settings, "always_compile", True)
    forget()
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)
    forget()


_SETTINGS = (
    "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs",
    "jax_compilation_cache_max_size",
)  # fmt: skip


def forget():
    """Be as a new process: without programs, and with JAX's cache where the settings say."""
    compilation_cache.reset_cache()
    flush.flush()
    prefix.local.segment = prefix.Segment(prefix.tree)
    prefix.tree.clear()
    programs.cache.clear()
    compiler.clear_stats()


def counts(function):
    """(numbers, compiles, loads) of a program that computes ``function()`` anew."""
    forget()
    found = function().tolist()
    stats = compiler.stats()
    return found, stats["compiles"], stats["loads"]


x = torch.arange(12.0).reshape(3, 4)
LAYER = torch.nn.Linear(4, 2)

# Programs that differ in one thing each, and must never be taken for one another.
PROGRAMS = {
    "sum": lambda: x.sum(0),
    "sum_other_dim": lambda: x.sum(1),
    "sum_keepdim": lambda: x.sum(0, keepdim=True),
    "mean": lambda: x.mean(0),
    "double": lambda: x.double().sum(0),
    "rows": lambda: x[:2].sum(0),
    "clamp": lambda: torch.clamp(x, 1, 2),
    "clamp_min": lambda: torch.clamp(x, min=1),
    "grad": lambda: torch.autograd.grad(LAYER(x).square().sum(), LAYER.weight)[0],
    "grad_of_bias": lambda: torch.autograd.grad(LAYER(x).square().sum(), LAYER.bias)[0],
    "vmap": lambda: torch.vmap(lambda row: row.cumsum(0))(x),
    "vmap_over_columns": lambda: torch.vmap(lambda row: row.cumsum(0), 1)(x),
    "cond": lambda: torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,)),
    "cond_with_others": lambda: torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x * 2, (x,)),
}


def test_programs_are_told_apart(folder):
    fresh = {name: counts(function) for name, function in PROGRAMS.items()}
    again = {name: counts(function) for name, function in PROGRAMS.items()}
    for name in PROGRAMS:
        numbers, compiles, loads = fresh[name]
        assert (compiles, loads) == (1, 0), name
        assert again[name] == (numbers, 0, 1), name


def test_default_dtype_is_part_of_it(folder):
    ints = torch.arange(3)
    counts(lambda: ints / 2 + x[0, :3])
    torch.set_default_dtype(torch.float64)
    try:
        assert counts(lambda: ints / 2 + x[0, :3])[1:] == (1, 0)
    finally:
        torch.set_default_dtype(torch.float32)


def test_bad_indices_are_reported_by_a_loaded_program(folder):
    def pick():
        return x[torch.tensor([0, 1]) * n]

    n = 1
    assert counts(pick)[1:] == (1, 0)
    n = 3
    message = r"index 3 is out of bounds for dimension with size 3: .* at .*test_stored.py:\d+"
    with pytest.raises(IndexError, match=message):
        counts(pick)
    assert compiler.stats()["loads"] == 1


def test_a_damaged_file_is_compiled_anew(folder):
    numbers = counts(PROGRAMS["sum"])[0]
    (file,) = folder.glob("*-program")
    whole = file.read_bytes()
    for bad in (b"", whole[:-7], whole[:100] + b"?" + whole[101:]):
        file.write_bytes(bad)
        for other in folder.glob("*-cache"):  # JAX's; what it loads is not stored
            other.unlink()
        with pytest.warns(UserWarning, match="of no use"):
            torchlike._core.errors._given.clear()
            assert counts(PROGRAMS["sum"]) == (numbers, 1, 0)
        assert counts(PROGRAMS["sum"]) == (numbers, 0, 1)


def test_what_jax_has_loaded_is_not_stored(folder):
    numbers = counts(PROGRAMS["grad"])[0]
    for file in folder.glob("*-program"):
        file.unlink()
    assert list(folder.glob("*-cache"))
    assert counts(PROGRAMS["grad"]) == (numbers, 1, 0)
    assert not list(folder.glob("*-program"))


def test_what_calls_lapack_is_left_to_jax(folder):
    def solve():
        return torch.linalg.inv(x[:, :3] + torch.eye(3))

    numbers = counts(solve)[0]
    assert not list(folder.glob("*-program"))
    assert counts(solve) == (numbers, 1, 0)


def test_another_precision_is_compiled_for(folder):
    numbers = counts(lambda: x @ x.T)[0]
    assert counts(lambda: x @ x.T) == (numbers, 0, 1)
    assert (x @ x.T).tolist() == numbers
    loaded = [p.function for p in programs.cache.order.values()]
    with jax.default_matmul_precision("highest"):
        assert (x @ x.T).tolist() == numbers
    now = [p.function for p in programs.cache.order.values()]
    assert len(now) == len(loaded) and now != loaded  # that one would have gone on as it was


def test_no_folder_no_files(folder):
    jax.config.update("jax_compilation_cache_dir", None)
    assert counts(PROGRAMS["sum"])[1:] == (1, 0)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", 1 << 20)  # JAX counts only its own files
    assert counts(PROGRAMS["sum"])[1:] == (1, 0)
    assert not list(folder.glob("*-program"))
