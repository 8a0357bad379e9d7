"""The doctor: names found in sources of every shape, and verdicts that the package itself gives."""

import importlib
import json
import subprocess
import sys
import textwrap

import pytest

from torchlike._runner.doctor import main, verdicts
from torchlike._runner.doctor.source import read

torch = pytest.importorskip("torch")


def uses(tmp_path, text, certain=True):
    """{symbol: lines} of a source text."""
    path = tmp_path / "source.py"
    path.write_text(textwrap.dedent(text))
    found = read([str(path)])
    assert not found.errors
    out = {}
    for use in found.uses:
        if use.certain is certain:
            out.setdefault(use.symbol, []).append(use.line)
    return out


# ---- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("import torch\ntorch.nn.functional.relu", ["torch", "torch.nn.functional.relu"]),
        ("import torch.nn as nn\nnn.Linear(1, 2)", ["torch.nn", "torch.nn.Linear"]),
        ("from torch.nn import functional as F\nF.relu(1)",
         ["torch.nn.functional", "torch.nn.functional.relu"]),
        ("import torch.fx\ntorch.ones(1)", ["torch.fx", "torch.ones"]),
        ("from torch import *\nzeros(3), nothing, max(1, 2)",
         ["torch", "torch.zeros", "torch.max"]),
        ("from torch.nn import *\nReLU()", ["torch.nn", "torch.nn.ReLU"]),
        ("import torch as t\nf = t.nn.functional\nf.gelu",
         ["torch", "torch.nn.functional", "torch.nn.functional.gelu"]),
        ("def f():\n    return nn.ReLU\nfrom torch import nn", ["torch.nn", "torch.nn.ReLU"]),
        ("import torch\ndef f(torch):\n    return torch.gone", ["torch"]),
        ("import torch\ntorch.backends.cudnn.benchmark = True",
         ["torch", "torch.backends.cudnn.benchmark"]),
        ("import torch\ngetattr(torch, 'fft2')\nhasattr(torch, 'no')", ["torch", "torch.fft2"]),
        ("import torch\nclass A(torch.nn.Module):\n    x = torch.pi",
         ["torch", "torch.nn.Module", "torch.pi"]),
        ("import torch\ndef f(x: 'torch.Tensor | None'): ...", ["torch", "torch.Tensor"]),
        ("from torchvision import models\nmodels.resnet18()",
         ["torchvision.models", "torchvision.models.resnet18"]),
        ("import torchaudio\ntorchaudio.load('x')", ["torchaudio", "torchaudio.load"]),
        ("from .torch import x\nimport numpy as torch\ntorch.ones", []),
    ],
)  # fmt: skip
def test_names_are_found(tmp_path, text, symbols):
    assert sorted(uses(tmp_path, text)) == sorted(
        {*symbols} | ({"torch"} if "import torch\n" in text else set())
    )


def test_methods_of_tensors(tmp_path):
    text = """\
    import torch
    from torch import nn, Tensor
    import torch.nn.functional as F

    class Net(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(3, 3)
            self.register_buffer("mask", torch.ones(3))

        def forward(self, x: Tensor, y, z: Tensor | None = None):
            x.tril_()
            y.triu_()
            y.copy()
            self.fc(y).new_zeros(1)
            self.mask.masked_fill(1, 2).logit_()
            (F.relu(y) + 1)[0].T.bool()
            z.expm1_()
            h = torch.zeros(2)
            for _ in range(2):
                h.erf_()
                h = self.other(h)
            y.arctan2_(y)
            return h

        def arctan2_(self, y):
            return y.view(-1)
    """
    found = uses(tmp_path, text)
    methods = {s.removeprefix("torch.Tensor."): n for s, n in found.items() if "Tensor." in s}
    assert methods == {
        "tril_": [11], "new_zeros": [14], "masked_fill": [15], "logit_": [15], "T": [16],
        "bool": [16], "expm1_": [17],
    }  # fmt: skip
    # Not known to be tensors; copy and view have others too, arctan2_ is the program's own.
    assert uses(tmp_path, text, certain=False) == {
        "torch.Tensor.triu_": [12],
        "torch.Tensor.erf_": [20],
    }


def test_what_a_program_is_ready_for(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        "import torch\ntry:\n    from torch import gone\nexcept ImportError:\n    gone = None\n"
        "if hasattr(torch, 'x'):\n    torch.x()\ngone()\n"
    )
    found = {(u.symbol, u.line): u.guarded for u in read([str(path)]).uses}
    assert found == {
        ("torch", 1): False, ("torch.gone", 3): True, ("torch", 6): True, ("torch.x", 7): True,
        ("torch.gone", 8): True,
    }  # fmt: skip


# ---- files -------------------------------------------------------------------------------------


def test_trees_notebooks_and_what_cannot_be_read(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.py").write_text("import torch; torch.never")
    (tmp_path / "package" / "good.py").write_bytes(b"# coding: latin-1\nimport torch # \xe4\n")
    (tmp_path / "package" / "bad.py").write_text("import torch\nprint 'x'\n")
    (tmp_path / "package" / "null.py").write_bytes(b"x = 1\0")
    (tmp_path / "package" / "deep.py").write_text("x = " + "(" * 500 + "1" + ")" * 500)
    cells = [
        {"cell_type": "markdown", "source": ["import torch"]},
        {
            "cell_type": "code",
            "source": ["!pip install x\n", "%matplotlib inline\n", "import torch"],
        },
        {"cell_type": "code", "source": "%%bash\nls"},
        {"cell_type": "code", "source": "if (:"},
        {"cell_type": "code", "source": "def f():\n    return torch.ones(1)"},
    ]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "b.ipynb").write_text("[]")
    found = read([str(tmp_path)])
    assert found.files == 6
    places = [u.place.replace(str(tmp_path), "").replace("\\", "/") for u in found.uses]
    assert places == ["/a.ipynb[2]:3", "/a.ipynb[5]:2", "/package/good.py:2"]
    wrong = {place.replace(str(tmp_path), ""): what for place, what in found.errors}
    assert wrong.keys() >= {"/a.ipynb[4]:1", "/b.ipynb", "/package/bad.py:2"}
    assert any(place.startswith("/package/null.py") for place in wrong)
    with pytest.raises(FileNotFoundError):
        read([str(tmp_path / "none")])


# ---- verdicts ----------------------------------------------------------------------------------

SPACES = ("", ".nn", ".nn.functional", ".optim", ".linalg", ".jit", ".hub", ".distributed")
EXPECTED = {
    "torch.nn.Linear": ("supported", None),
    "torch.Tensor.unsqueeze": ("supported", None),
    "torch.__version__.split": ("supported", "torch.__version__"),
    "torch.optim.Adam.step": ("supported", None),
    "torch.nn.functional": ("module", None),
    "torch.jit.script": ("differs", None),
    "torch.jit.save": ("supported", None),
    "torch.onnx.export": ("missing", None),
    "torch.nested.nested_tensor": ("missing", None),
    "torch.sparse.spsolve": ("missing", None),
    "torch.Tensor.to_mkldnn": ("missing", None),
    "torch._six.string_classes": ("missing", "torch._six"),
    "torch.no_such_name": ("missing", None),
    "torchaudio.load": ("missing", None),
}
JUDGE = """
import json, sys
import torchlike
torchlike.install()
import importlib
from torchlike._runner.doctor import verdicts
found, works = {}, {}
for name in json.load(sys.stdin):
    verdict = verdicts.judge(name)
    found[name] = verdict.name, verdict.status, verdict.note
    module, _, last = name.rpartition(".")
    try:
        module = importlib.import_module(module)
    except (ImportError, ValueError):
        continue
    works[name] = type(getattr(module, last, None)).__name__
for call in (("torch.nn.EmbeddingBag", ("mode", "sum")),
             ("torch.nn.EmbeddingBag", ("scale_grad_by_freq",))):
    verdict = verdicts.judge_call(*call)
    found[str(call)] = verdict.name, verdict.status, verdict.note
json.dump([found, works], sys.stdout)
"""


@pytest.fixture(scope="module")
def judged():
    """The verdicts on all names of this file, and what a program finds, in one fresh process."""
    names = {*EXPECTED, *NOTED}
    for space in SPACES:
        theirs = importlib.import_module("torch" + space)
        names |= {f"torch{space}.{n}" for n in dir(theirs) if n[:2] != "__"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", JUDGE],
        input=json.dumps(sorted(names)), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _bare(note):
    return note.partition("(")[0].removesuffix(".*")


NOTED = {_bare(name) for table in verdicts.notes().values() for name in table}


@pytest.mark.slow
def test_verdicts(judged):
    found, _ = judged
    for symbol, (status, name) in EXPECTED.items():
        assert found[symbol][:2] == [name or symbol, status]
        assert found[symbol][2] or status in ("supported", "module")


@pytest.mark.slow
def test_verdicts_of_calls(judged):
    _, plain, special = [v for k, v in judged[0].items() if "EmbeddingBag" in k][-3:]
    assert plain[1] == "supported"
    assert special[:2] == ["torch.nn.EmbeddingBag(scale_grad_by_freq)", "differs"]


@pytest.mark.slow
def test_verdicts_are_what_programs_find(judged):
    """A name is missing where a program gets an error or a stand-in for it, or it only raises."""
    found, works = judged
    kinds = {"missing": 0, "supported": 0, "differs": 0, "module": 0}
    for name, (shown, status, _) in found.items():
        if name not in works or shown != name:
            continue
        kinds[status] += 1
        if works[name] in ("NoneType", "StandIn"):
            assert status == "missing" or getattr_of(name) is None, name
        elif status == "missing":
            assert works[name] in ("function", "type"), name
    assert min(kinds.values()) > 5


def getattr_of(name):
    """What PyTorch has under a name; None is a value too."""
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


@pytest.mark.slow
def test_every_note_is_needed(judged):
    """A name that differs is here, one that has a substitute is not, and PyTorch has it."""
    found, _ = judged
    for name, text in verdicts.notes()["differs"].items():
        assert found[_bare(name)][1] in ("supported", "differs", "module"), name
        assert text, name
    for name in verdicts.notes()["instead"]:
        if not name.endswith(".*"):
            assert found[name][1] in ("missing", "module"), f"{name} is here now: no note needed"
        if name.startswith("torch.") and "_six" not in name:
            assert _has(_bare(name)), name


def _has(name):
    module, _, rest = name.partition(".")
    found = importlib.import_module(module)
    for part in rest.split("."):
        module = f"{module}.{part}"
        if not hasattr(found, part):
            try:
                importlib.import_module(module)
            except ModuleNotFoundError:
                return False
            except ImportError:  # it is there, and wants something that is not
                return True
        found = getattr(found, part)
    return True


# ---- the command -------------------------------------------------------------------------------

PROGRAM = """\
import torch
from torch import nn
from torch._six import string_classes

step = torch.jit.script(nn.Linear(2, 2))
torch.onnx.export(step)
isinstance("<script>", string_classes)
raise SystemExit(9)  # nothing is run
"""


def doctor(*arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "torchlike", "doctor", *map(str, arguments)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.mark.slow
def test_reports(tmp_path):
    (tmp_path / "a.py").write_text(PROGRAM)
    (tmp_path / "b<i>.py").write_text("import torch\ntorch.gone(")
    told = json.loads(doctor(tmp_path, "--json", "--fail-under", "50"))
    entries = {e["name"]: e for e in told["names"]}
    assert told["counts"] == {"missing": 2, "differs": 1, "supported": 1}
    assert told["percent"] == 50 and len(told["errors"]) == 1
    assert entries["torch._six"]["places"] == [f"{tmp_path}/a.py:{n}" for n in (3, 7)]
    assert entries["torch._six"]["fails_when_looked_up"] and not entries["torch._six"]["guarded"]
    text = doctor(tmp_path, "--fail-under", "51", code=1)
    assert "torch.onnx.export" in text and "a.py:6" in text and "50.0 % of 4 names" in text
    page = tmp_path / "page.html"
    doctor(tmp_path, "--html", page)
    text = page.read_text()
    assert "torch.onnx.export" in text and "b&lt;i&gt;.py" in text and "<i>" not in text
    assert "http" not in text and "<script" not in text


def test_what_it_cannot_do(tmp_path, capsys):
    assert main([str(tmp_path / "none")]) == 2
    assert main([str(tmp_path)]) == 2
    (tmp_path / "a.py").write_text("")
    assert main([str(tmp_path)]) == 2  # this process has PyTorch
    assert capsys.readouterr().err.count("python -m torchlike doctor: ") == 3
