"""What every test run says and shares."""

from importlib import metadata

import pytest


def pytest_report_header():
    try:
        return f"oracle: torch {metadata.version('torch')}"
    except metadata.PackageNotFoundError:
        return "oracle: torch is not installed; tests that compare with it are skipped"


def pytest_configure():
    """Where there is no GPU, PyTorch keeps the stack of every ``manual_seed``, for the day when one
    appears: milliseconds each under pytest's deep stacks, and memory that grows."""
    try:
        import torch
    except ImportError:
        return
    for module in (torch.cuda.random, torch.xpu.random, torch.mtia):
        module._lazy_call = lambda *args, **kwargs: None


@pytest.fixture(scope="module", autouse=True)
def _fresh_caches():
    """No module inherits programs from another, and thousands of them don't add up in memory."""
    yield
    from torchlike import compiler

    compiler.clear_caches()
