"""What GPU users rely on, where no GPU is: a second device of the host stands for one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("second_device.py")
NAMES = (
    "moves", "indices_and_numbers_of_the_cpu", "two_devices_in_one_call", "files", "optimizers",
    "draws", "generators", "compiled", "compiled_on_two_devices", "layers",
)  # fmt: skip


@pytest.fixture(scope="module")
def faults() -> dict:
    run = subprocess.run(
        [sys.executable, SCRIPT], capture_output=True, text=True, timeout=600, check=True
    )
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", NAMES)
def test_it_is_as_on_the_cpu(name, faults):
    assert faults[name] is None


def test_no_program_is_left_out(faults):
    assert set(faults) == set(NAMES)
