"""Every public name of PyTorch's namespaces is here, or is missing for a reason that is given."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle of the parity suite")

from . import names
from .missing import MISSING, OTHER_SIGNATURE

pytestmark = pytest.mark.filterwarnings("ignore")  # reading PyTorch's deprecated names


@pytest.mark.parametrize("space", names.NAMESPACES)
def test_names(space):
    found = names.surface(space)
    unexplained = [n for n in found.missing if names.reason(space, n) is None]
    assert not unexplained, f"missing in {space}, with no reason given"
    listed = {n for group in MISSING.get(space, {}).values() for n in group.split()}
    assert not listed - set(found.missing) - {"*"}, f"{space} has them now: remove their reasons"
    assert found.missing or not listed, f"nothing is missing in {space}: remove its reasons"
    assert not found.other_kind
    known = {n for group in OTHER_SIGNATURE.get(space, {}).values() for n in group.split()}
    assert set(found.other_signature) == known, f"signatures in {space} that are not PyTorch's"


def test_names_left_out_exist():
    for space in names.NOT_ASKED:
        everything = set(names.all_public(space))
        assert not set(names.not_asked(space)) - everything, f"not in {space} of this PyTorch"
