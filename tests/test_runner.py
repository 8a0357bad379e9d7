"""Unmodified PyTorch programs: under the runner they print what they print under PyTorch."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forks import Forks
from torchlike._runner.shims.torch_version import TorchVersion

torch = pytest.importorskip("torch")

SCRIPTS = Path(__file__).parent / "scripts"
PROGRAMS = sorted(p.stem for p in SCRIPTS.glob("*.py") if p.stem != "public_names")
CPU_ORACLE = {"main": pytest.mark.cpu_oracle}  # it asks for a GPU
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")


def run(*arguments, check=True):
    found = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        capture_output=True, text=True, timeout=300, cwd=SCRIPTS,
    )  # fmt: skip
    assert not check or found.returncode == 0, found.stderr
    return found


@pytest.fixture(scope="module")
def libraries():
    """Processes that have imported PyTorch and torchlike; ``python -m``: see test_running.py."""
    processes = [Forks(library, SCRIPTS) for library in ("torch", "torchlike")]
    yield processes
    for process in processes:
        process.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=CPU_ORACLE.get(n, ())) for n in PROGRAMS])
def test_prints_what_pytorch_prints(name, libraries):
    theirs, ours = [library.run(f"{name}.py") for library in libraries]
    assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs)
    numbers = [[float(x) for x in NUMBER.findall(text)] for text in (ours, theirs)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-3, abs=2e-4)


CODE = """
import sys, torch, torch.nn as nn, torch.onnx
from torch.onnx import export
from torch import distributed
import torch.distributed.autograd, torch.distributed.rpc
from torch.distributed.fsdp import FullyShardedDataParallel

class Mine(torch.onnx.ONNXProgram):
    pass

print(torch.__version__, nn is torch.nn, hasattr(torch, "no_such_name"), sys.argv)
print(isinstance(3, FullyShardedDataParallel), torch.Tensor.__module__ in sys.modules)
print(torch.__version__ >= (2, 9) and torch.__version__ > "2.9", torch.version.__version__[:4])
print([x.is_available() for x in (torch.distributed, distributed.rpc, distributed.autograd)])
print(distributed.is_gloo_available(), distributed.is_backend_available("nccl"))
import torch._dynamo as dynamo
dynamo.register_backend(lambda graph, inputs: graph.forward, name="plain")
print(dynamo.is_dynamo_supported(), dynamo.optimize("plain")(torch.add)(torch.ones(1), 1).item())
for use in (lambda: export(nn.Identity()), Mine, lambda: torch.no_such_name):
    try:
        use()
    except (NotImplementedError, AttributeError) as error:
        print(type(error).__name__, error)
try:
    import torch.no_such_module
except ModuleNotFoundError as error:
    print(error)
"""


def test_names_that_are_missing_fail_when_used():
    lines = run("-m", "torchlike", "-c", CODE, "--flag").stdout.splitlines()
    assert re.match(r"2\.13\.0\+torchlike\.\S+ True False \['-c', '--flag'\]", lines[0])
    assert lines[1:] == [
        "False True",
        "True 2.13",
        "[False, False, False]",
        "False False",
        "True 2.0",
        "NotSupported torchlike does not support torch.onnx.export",
        "NotSupported torchlike does not support torch.onnx.ONNXProgram",
        "AttributeError module 'torch' has no attribute 'no_such_name'",
        "No module named 'torch.no_such_module'",
    ]


@pytest.mark.parametrize("text", ["2.13.0+cpu", "2.13", "1.10.0a", "2.13.0.dev9+cu1", "parrot"])
def test_versions_compare(text):
    others = (2, 9), (2, 13, 0), ["3"], "2.9", "2.13.0rc1", "v2.13.0-1", "2.13.0+cu9", "parrot"
    theirs, ours = torch.torch_version.TorchVersion(text), TorchVersion(text)
    for other in others:
        for name in ("__lt__", "__le__", "__eq__", "__ne__", "__ge__", "__gt__"):
            assert getattr(ours, name)(other) is getattr(theirs, name)(other)
    assert hash(ours) == hash(text)
    with pytest.raises(TypeError, match="not supported between instances of 'TorchVersion'"):
        ours >= 3  # noqa: B015


AUDIO = """
import torchaudio, torchaudio.transforms as T
from torchaudio.datasets import SPEECHCOMMANDS

class Words(SPEECHCOMMANDS):
    pass

for use in (lambda: torchaudio.load("x.wav"), T.MelSpectrogram, Words):
    try:
        use()
    except NotImplementedError as error:
        print(error)
"""


def test_torchaudio_is_there_by_name():
    lines = run("-m", "torchlike", "-c", AUDIO).stdout.splitlines()
    names = ("torchaudio.load", "torchaudio.transforms.MelSpectrogram", "SPEECHCOMMANDS")
    assert len(lines) == 3 and all(map(str.endswith, lines, names))


def test_modules_and_wrong_calls(tmp_path):
    (tmp_path / "program.py").write_text("import sys, torch; print(torch.ones(2), sys.argv[1:])")
    found = subprocess.run(
        [sys.executable, "-m", "torchlike", "-m", "program", "a"],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert found.stdout == "tensor([1., 1.]) ['a']\n"
    assert "can't open file" in run("-m", "torchlike", "none.py", check=False).stderr
    assert "usage" in run("-m", "torchlike", check=False).stdout


def test_it_comes_too_late_after_torch():
    code = "import torch, torchlike; torchlike.install()"
    assert "imported already" in run("-c", code, check=False).stderr


@pytest.mark.cpu_oracle
def test_the_table_of_names_is_pytorchs():
    fresh = run("public_names.py").stdout
    kept = SCRIPTS.parent.parent / "torchlike" / "_runner" / "names.txt"
    assert kept.read_text() == fresh, "write it again: see tests/scripts/public_names.py"
