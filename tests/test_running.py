"""How the runner starts a program: arguments, devices, tracebacks, spawned processes."""

import subprocess
import sys
import textwrap

import pytest

from torchlike._core import devices
from torchlike._runner import tracebacks

pytestmark = pytest.mark.slow


def run(*arguments, cwd, text=None, code=0):
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "torchlike", *arguments],
        capture_output=True, text=True, timeout=120, cwd=cwd, input=text,
    )  # fmt: skip
    assert found.returncode == code, found.stderr
    return found


def write(folder, text, name="program.py"):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return name


# ---- --device ----------------------------------------------------------------------------------

CUDA = """
import sys
import torch
from torch import nn

assert torch.cuda.is_available() and torch.cuda.device_count() >= 1
assert torch.cuda.current_device() == 0 and torch.accelerator.current_accelerator().type == "cuda"
x = torch.ones(3).cuda()
assert x.is_cuda and str(x.device) == "cuda:0" and x.type() == "torch.cuda.FloatTensor"
y = x.cpu()
x.add_(1)  # of its own memory, though both are in the host's
assert y.tolist() == [1, 1, 1] and x.tolist() == [2, 2, 2]
a = y.numpy()
z = torch.from_numpy(a).to("cuda")
a[0] = 7
assert z.tolist() == [1, 1, 1] and y[0] == 7
try:
    x + y
except RuntimeError as error:
    assert "on the same device" in str(error)
else:
    raise AssertionError("devices were mixed")

# Indices may come from the CPU; so may a number that is written.
t = torch.arange(6.0, device="cuda").reshape(2, 3)
assert t[:, [-1]].tolist() == [[2], [5]] and t[torch.tensor([1])].is_cuda
assert t[t > 3].tolist() == t[t.cpu() > 3].tolist() == [4, 5]
t[t.cpu() > 3] = 0
t[[0]] = torch.tensor(7.0)
assert t.is_cuda and t.tolist() == [[7, 7, 7], [3, 0, 0]]
try:
    t.cpu()[torch.tensor([0]).cuda()]
except RuntimeError as error:
    assert "indices should be either on cpu or on the same device" in str(error)
else:
    raise AssertionError("an index of another device")

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 2)).cuda()
optimizer = torch.optim.Adam(model.parameters())
scaler = torch.amp.GradScaler("cuda")
for step in range(2):
    optimizer.zero_grad()
    with torch.autocast("cuda"):
        loss = model(torch.randn(6, 4, device="cuda")).square().mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
assert loss.is_cuda and model[0].weight.grad.is_cuda
torch.save(model.state_dict(), "model.pt")
assert torch.load("model.pt")["0.weight"].is_cuda
assert not torch.load("model.pt", map_location="cpu")["0.weight"].is_cuda
torch.cuda.synchronize()
torch.cuda.empty_cache()
with torch.device("cuda"):
    assert torch.zeros(1).is_cuda

# Parameters on two devices in one optimizer, as a model in two halves has them.
halves = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2, device="cuda"))]
optimizer = torch.optim.AdamW(halves, lr=0.1)
for step in range(2):
    optimizer.zero_grad()
    (halves[0].sum() + halves[1].cpu().sum()).backward()
    optimizer.step()
assert halves[0].tolist() == halves[1].tolist() and halves[0][0] < 0.81
print("done", *sys.argv[1:])
"""


def test_cuda_can_be_the_cpu(tmp_path):
    write(tmp_path, CUDA)
    assert run("--device=cpu", "program.py", "--x", cwd=tmp_path).stdout == "done --x\n"


def test_devices_that_are_not_there(tmp_path):
    for kind in ("cuda", "tpu"):
        if not devices.device_count(kind):
            found = run("--device", kind, "-c", "print(1)", cwd=tmp_path, code=1)
            assert f"JAX finds no {kind}" in found.stderr and not found.stdout
    assert "wants cpu, cuda or tpu" in run("--device", "gpu", "x.py", cwd=tmp_path, code=1).stderr
    assert "wants cpu, cuda or tpu" in run("--device", cwd=tmp_path, code=1).stderr


def test_install_can_map_it_too(tmp_path):
    code = "import torchlike; torchlike.install('cpu'); import torch; print(torch.ones(1).cuda())"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout == "tensor([1.], device='cuda:0')\n"


# ---- the program's surroundings ----------------------------------------------------------------


def test_main_exit_code_and_stdin(tmp_path):
    write(
        tmp_path,
        """
        import pickle, sys, atexit
        class Mine: pass
        atexit.register(lambda: print("exit", type(pickle.loads(pickle.dumps(Mine()))) is Mine))
        print(sys.argv, __name__, __file__, sys.stdin.read(), __builtins__ is not None)
        sys.exit(7)
        """,
    )
    found = run("program.py", "-m", "--help", cwd=tmp_path, text="hello", code=7)
    assert found.stdout == (
        f"['program.py', '-m', '--help'] __main__ {tmp_path / 'program.py'} hello True\nexit True\n"
    )
    assert not found.stderr


def test_a_program_from_stdin_and_packages(tmp_path):
    code = "import sys, torch; print(torch.ones(1), sys.argv, __name__)"
    assert run("-", "a", cwd=tmp_path, text=code).stdout == "tensor([1.]) ['-', 'a'] __main__\n"
    (tmp_path / "package").mkdir()
    write(tmp_path / "package", "", "__init__.py")
    write(tmp_path / "package", "from . import b; print(b.torch.ones(1))", "__main__.py")
    write(tmp_path / "package", "import torch", "b.py")
    assert run("-m", "package", cwd=tmp_path).stdout == "tensor([1.])\n"
    write(tmp_path, "import c; print(c.x)")
    write(tmp_path, "x = 3", "c.py")
    assert run("program.py", cwd=tmp_path).stdout == "3\n"
    (tmp_path / "folder").mkdir()
    # A class of an imported module takes over functions, and is no Tensor.
    write(tmp_path / "folder", "import d, torch; print(torch.linalg.inv(d.X()))", "__main__.py")
    write(tmp_path / "folder", "class X:\n def __torch_function__(*a): return 4", "d.py")
    assert run("folder", cwd=tmp_path).stdout == "4\n"


def test_processes_that_are_spawned_have_it_too(tmp_path):
    write(
        tmp_path,
        """
        import multiprocessing, sys
        import torch
        def work(queue):
            queue.put((torch.__version__.partition("+")[2][:9], torch.cuda.is_available()))
        if __name__ == "__main__":
            context = multiprocessing.get_context(sys.argv[1])
            queue = context.Queue()
            process = context.Process(target=work, args=(queue,))
            process.start()
            print(queue.get(timeout=60))
            process.join()
        """,
    )
    for way in ("spawn", "forkserver"):
        found = run("--device", "cpu", "program.py", way, cwd=tmp_path)
        assert found.stdout == "('torchlike', True)\n"


# ---- tracebacks --------------------------------------------------------------------------------


def test_tracebacks_end_where_pytorchs_do(tmp_path, monkeypatch):
    write(
        tmp_path,
        """
        import torch
        def wrong(x):
            try:
                return {}["key"]
            except KeyError:
                return x.view(5, 5)
        wrong(torch.ones(3))
        """,
    )
    found = run("program.py", cwd=tmp_path, code=1).stderr
    assert "_tensor" not in found and "jax" not in found.lower().replace("and jax are", "")
    places = [line.strip() for line in found.splitlines() if line.startswith("  File")]
    path = tmp_path / "program.py"
    assert places[-2:] == [
        f'File "{path}", line 8, in <module>',
        f'File "{path}", line 7, in wrong',
    ]
    assert "RuntimeError: shape '[5, 5]' is invalid for input of size 3" in found
    assert tracebacks.FULL in found
    monkeypatch.setenv(tracebacks.FULL, "full")
    assert "_tensor" in run("program.py", cwd=tmp_path, code=1).stderr
    monkeypatch.delenv(tracebacks.FULL)
    write(tmp_path, "import torch\nx = = 3\n")
    found = run("program.py", cwd=tmp_path, code=1).stderr
    assert found.startswith(f'  File "{path}", line 2\n') and "SyntaxError" in found
    write(tmp_path, "import torch\nraise SystemExit('bye')\n")
    assert run("program.py", cwd=tmp_path, code=1).stderr == "bye\n"
