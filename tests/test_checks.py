"""torch._check and its kin: what passes, and what each raises, against PyTorch."""

import pytest

import torchlike
from tests.ops.table import torch

CALLS = [
    "L._check(True)",
    "L._check(False)",
    "L._check(False, lambda: 'no')",
    "L._check(False, 'no')",
    "L._check(1)",
    "L._check(L.tensor(True))",
    "L._check_index(False, lambda: 'far')",
    "L._check_value(False)",
    "L._check_type(False)",
    "L._check_not_implemented(False, lambda: 5)",
    "L._check_with(KeyError, False, lambda: 'k')",
    "L._check_is_size(3)",
    "L._check_is_size(-1)",
    "L._check_is_size(3, max=2)",
    "L._check_tensor_all(L.tensor([True, True]))",
    "L._check_tensor_all(L.tensor([True, False]), lambda: 'some')",
    "L._check_tensor_all(L.tensor([1]))",
    "L._check_tensor_all(True)",
    "L._assert(L.tensor(True), 'x')",
    "L._assert(L.tensor(False), 'x')",
]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("call", CALLS)
def test_a_condition_is_checked_as_by_pytorch(call):
    outcomes = []
    for library in (torch, torchlike):
        try:
            outcomes.append(eval(call, {"L": library}))
        except Exception as error:
            outcomes.append((type(error), str(error)))
    assert outcomes[1] == outcomes[0]


def test_conditions_in_compiled_and_exported_code():
    def step(x):
        torchlike._check(x.shape[0] > 2, lambda: f"{x.shape[0]} rows")
        return x + 1

    class Step(torchlike.nn.Module):
        def forward(self, x):
            return step(x)

    run = torchlike.compile(step)
    assert [run(torchlike.zeros(3)).shape for _ in range(3)] == [(3,)] * 3
    with pytest.raises(RuntimeError, match="2 rows"):
        run(torchlike.zeros(2))
    from torchlike.export import Dim, export

    sizes = ({0: Dim.DYNAMIC},)
    program = export(Step(), (torchlike.zeros(4),), dynamic_shapes=sizes).module()
    assert program(torchlike.zeros(3)).shape == (3,)
    with pytest.raises(AssertionError, match="Guard failed"):
        program(torchlike.zeros(2))
