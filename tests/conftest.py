"""What every test run says and shares."""

import gc
import os
import threading
from importlib import metadata

import pytest

# Tests run in a process for each core: threads of PyTorch's would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_report_header():
    try:
        return f"oracle: torch {metadata.version('torch')}"
    except metadata.PackageNotFoundError:
        return "oracle: torch is not installed; tests that compare with it are skipped"


def pytest_configure():
    share_contexts()
    leave_seeds_alone()
    fail_as_without_cuda()


def pytest_runtest_setup(item):
    if item.get_closest_marker("cpu_oracle") and oracle_has_cuda():
        pytest.skip("PyTorch's build for CUDA says something else here")


def oracle_has_cuda() -> bool:
    """Whether the oracle is PyTorch's build for CUDA, which pip chooses on some machines."""
    try:
        import torch
    except ImportError:
        return False
    return torch.version.cuda is not None


def fail_as_without_cuda():
    """Without a GPU, it fails in other words than the build for the CPU, which the tests know."""
    if oracle_has_cuda():
        import torch

        if not torch.cuda.is_available():
            torch.cuda._lazy_init = _refuse_cuda
            torch.accelerator.current_accelerator = lambda check_available=False: None


def _refuse_cuda():
    raise AssertionError("Torch not compiled with CUDA enabled")


def leave_seeds_alone():
    """Where there is no GPU, PyTorch keeps the stack of every ``manual_seed``, for the day when one
    appears: milliseconds each under pytest's deep stacks, and memory that grows."""
    try:
        import torch
    except ImportError:
        return
    for module in (torch.cuda.random, torch.xpu.random, torch.mtia):
        module._lazy_call = lambda *args, **kwargs: None


PROGRAMS_PER_CONTEXT = 200


def share_contexts():
    """JAX fills a context with all its dialects for every program that it compiles.

    That is a tenth of a short test's time, and a megabyte for as long as the program lives. Here
    the programs of a thread share one, until its table of constants has grown.
    """
    from jax._src.interpreters import mlir

    make = getattr(mlir, "make_ir_context", None)
    if make is None:
        return
    local = threading.local()

    def make_ir_context():
        if getattr(local, "left", 0) == 0:
            local.context, local.left = make(), PROGRAMS_PER_CONTEXT
        local.left -= 1
        return local.context

    mlir.make_ir_context = make_ir_context


def pytest_collection_finish():
    """Modules and the table of tests are no garbage: each collection would look through them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _fresh_caches():
    """No module inherits programs from another, and thousands of them don't add up in memory."""
    yield
    from torchlike import compiler

    compiler.clear_caches()


@pytest.fixture(autouse=True)
def _fresh_lines():
    """No test inherits what others' steps at the same lines say of their kinds: whether a program
    is compiled at once depends on it, and with that the last bit of a first step."""
    yield
    from torchlike._engine import glances, places

    places.forget()
    glances.forget()
