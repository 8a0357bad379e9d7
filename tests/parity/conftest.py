"""Keeps the memory of a run over the whole op database within bounds."""

import itertools

import pytest

_TESTS = itertools.count(1)


@pytest.fixture(autouse=True)
def _few_programs():
    """Programs of many ops add up to gigabytes, and few are used by another op."""
    yield
    if next(_TESTS) % 100 == 0:
        from torchlike import compiler

        compiler.clear_caches()
