"""Processes that share memory, and forks of a process that has computed: PyTorch's results."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
CASES = Path(__file__).parent / "sharing_cases.py"


@pytest.fixture(scope="module")
def printed():
    """What each case gives: by torch and by torchlike."""
    out = []
    for library in ("torch", "torchlike"):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(CASES), library],
            capture_output=True, text=True, timeout=400, check=False, env=os.environ,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        out.append(dict(line.split(" ", 1) for line in done.stdout.splitlines()))
    return out


NAMES = [
    "raw_array", "rows_of_an_array", "tensor_of_an_array", "shared_tensor",
    "view_of_a_shared_tensor", "named_memory", "many_tensors", "own_array", "own_tensor",
    "seen_by_workers_later", "settings_of_workers",
    "training", "a_large_product", "random_numbers", "what_was_pending", "hogwild",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_processes(printed, name):
    theirs, ours = printed
    assert len(theirs) == len(NAMES)
    assert ours[name] == theirs[name]


REFUSED = """
import multiprocessing as mp
import torchlike as torch
from torchlike._engine.primitives import BUILDERS
del BUILDERS["svd"]  # what is left are parts of rare functions
(torch.ones(300, 300) @ torch.ones(300, 300)).sum().item()
def child():
    for op in (lambda: torch.linalg.svdvals(torch.eye(3)).sum().item(), lambda: compiled(x)):
        try:
            op()
        except RuntimeError as error:
            print("spawn" in str(error), flush=True)
x = torch.ones(3)
compiled = torch.compile(lambda x: x * 2)
for _ in range(3):
    compiled(x)
process = mp.get_context("fork").Process(target=child)
process.start()
process.join()
"""


def test_what_numpy_cannot_do_raises_in_a_fork():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REFUSED],
        capture_output=True, text=True, timeout=100, check=True, env=os.environ,
    )  # fmt: skip
    assert done.stdout.split() == ["True", "True"]
