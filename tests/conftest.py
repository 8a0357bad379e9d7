"""What every test run says and shares."""

from importlib import metadata

import pytest


def pytest_report_header():
    try:
        return f"oracle: torch {metadata.version('torch')}"
    except metadata.PackageNotFoundError:
        return "oracle: torch is not installed; tests that compare with it are skipped"


@pytest.fixture(scope="module", autouse=True)
def _fresh_caches():
    """No module inherits programs from another, and thousands of them don't add up in memory."""
    yield
    from torchlike import compiler

    compiler.clear_caches()
