"""Comparing a script's run on PyTorch with its run on torchlike."""

import json
import math
import textwrap

import numpy as np
import pytest

from torchlike._runner.compare import command
from torchlike._runner.compare.differences import Run, Tolerance, compare
from torchlike._runner.compare.tracer import Trace, noise

pytest.importorskip("torch")

TOLERANCE = Tolerance(1e-3, 1e-6)


# ---- two traces --------------------------------------------------------------------------------


def trace(folder, *events):
    """A run of module calls: (name, array or arrays, called by the user's code)."""
    folder.mkdir()
    written = Trace(str(folder), 1000)
    for name, arrays, direct, *quiet in events:
        arrays = arrays if isinstance(arrays, list) else [arrays]
        tensors = [(f"output[{i}]", np.asarray(a), 8, *quiet) for i, a in enumerate(arrays)]
        written.write("module", name, ("a.py:1", direct), tensors, type="X")
    written.close()
    return Run(folder)


def parted(tmp_path, first, second, whole=True):
    with trace(tmp_path / "a", *first) as theirs, trace(tmp_path / "b", *second) as ours:
        found = compare(theirs, ours, TOLERANCE, whole)
    return found, found.divergence


RAMP = np.arange(20, dtype=np.float32).reshape(4, 5)


def test_equal_runs(tmp_path):
    nan = np.array([math.nan, math.inf, 1.0])
    events = [("A", RAMP, True), ("B", nan, True), ("C", np.array(3), True), ("D", RAMP[:0], True)]
    close = [("A", RAMP + np.float32(1e-3), True), *events[1:]]
    found, where = parted(tmp_path, events, close)
    assert where is None and found.compared == 4 and 0 < found.largest < 0.1
    assert found.at == "output[0] of A at a.py:1"


@pytest.mark.parametrize(
    ("ours", "what", "theirs_said", "ours_said"),
    [
        (RAMP + np.float32(0.125), "values", "0.0 at [0, 0]", "0.125 at [0, 0]"),
        (RAMP.T, "shape", "shape (4, 5)", "shape (5, 4)"),
        (RAMP.astype(np.float64), "dtype", "float32", "float64"),
        (np.where(RAMP == 9, np.nan, RAMP).astype(np.float32), "values", "9.0 at [1, 4]",
         "nan at [1, 4]"),
        ([RAMP, RAMP], "tensors", "output[0]", "output[0], output[1]"),
    ],
)  # fmt: skip
def test_what_differs(tmp_path, ours, what, theirs_said, ours_said):
    _, where = parted(tmp_path, [("A", RAMP, True)], [("A", ours, True)])
    assert (where.what, where.theirs, where.ours) == (what, theirs_said, ours_said)


def test_whole_numbers_are_equal_or_not(tmp_path):
    _, where = parted(tmp_path, [("A", np.array([1, 2]), True)], [("A", np.array([1, 3]), True)])
    assert (where.theirs, where.ours) == ("2 at [1]", "3 at [1]")


def test_calls_in_another_order(tmp_path):
    a, b, c = (("A", RAMP, True), ("B", RAMP, True), ("C", RAMP, True))
    _, where = parted(tmp_path, [a, b], [a, c])
    assert (where.what, where.theirs, where.ours) == ("calls", "B at a.py:1", "C at a.py:1")


def test_a_program_that_stops_early(tmp_path):
    found, where = parted(tmp_path, [("A", RAMP, True), ("B", RAMP, True)], [("A", RAMP, True)])
    assert where.ours == "the end of the program" and found.compared == 1


def test_a_killed_program_is_compared_as_far_as_it_came(tmp_path):
    events = [("A", RAMP, True), ("B", RAMP, True)]
    with trace(tmp_path / "a", *events) as theirs, trace(tmp_path / "b", *events) as ours:
        path = tmp_path / "b" / "events.jsonl"
        path.write_text(path.read_text()[:-30])
        found = compare(theirs, ours, TOLERANCE, whole=False)
    assert found.compared == 1 and found.divergence is None


def test_a_module_of_the_library_may_call_others_inside(tmp_path):
    inner = [("L.part", RAMP, False), ("L.other", RAMP, False)]
    events = [("L", RAMP, True), ("B", RAMP, True)]
    found, where = parted(tmp_path, [*inner, *events], [inner[1], *events, ("X", RAMP, False)])
    assert where is None and found.compared == 3


def test_gradients_that_are_rounding_make_no_difference(tmp_path):
    gradients = [np.array([1.0, 1e-5, 1e-3]), np.array([1e-7, -2e-7]), None]
    quiet = noise(gradients)
    assert quiet[0].tolist() == [False, True, False] and quiet[1].all() and quiet[2] is None
    values = np.array([1.0, 1.0, 1.0])
    other = np.array([1.0, 0.5, 1.0])
    step = [("A", values, True, quiet[0])]
    assert parted(tmp_path, step, [("A", other, True, quiet[0])])[1] is None
    (tmp_path / "more").mkdir()
    _, where = parted(tmp_path / "more", step, [("A", other * 2, True, quiet[0])])
    assert where.theirs == "1.0 at [0]"


# ---- the command -------------------------------------------------------------------------------

SCRIPT = """
import sys
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.2))
        self.rnn = nn.GRU(6, 5, batch_first=True)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        h = self.body(x)
        if "other" in sys.argv and "torchlike" in torch.__version__:
            h = h * 1.5
        return self.head(self.rnn(h)[0][:, -1])

net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
criterion = nn.CrossEntropyLoss()
for step in range(3):
    loss = criterion(net(torch.randn(8, 3, 4)), torch.randint(2, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
if "fail" in sys.argv and "torchlike" in torch.__version__:
    raise ValueError("only here")
print("done")
"""


def call(tmp_path, capsys, *arguments, options=()):
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    code = command.main(["--json", "--seed", "3", *options, str(path), *arguments])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_a_script_that_agrees(tmp_path, capsys):
    code, told = call(tmp_path, capsys)
    assert code == 0 and told["result"] == "same", told
    # 7 modules, a loss, a backward and a step in each of 3 turns.
    assert told["compared"] == 3 * 10 and 0 < told["largest_share_of_tolerance"] < 0.1


@pytest.mark.slow
def test_a_script_that_does_not(tmp_path, capsys):
    code, told = call(tmp_path, capsys, "other")
    first = told["first"]
    assert code == 1 and told["result"] == "diverged" and told["compared"] == 4
    assert (first["name"], first["type"], first["kind"]) == ("Net.rnn", "GRU", "module")
    assert first["line"].endswith("script.py:17") and first["inputs_differ"]
    assert float(first["torch"].split()[0]) != float(first["torchlike"].split()[0])
    assert first["difference"] > first["allowed"]


@pytest.mark.slow
def test_a_script_that_fails_on_one_side(tmp_path, capsys):
    code, told = call(tmp_path, capsys, "fail")
    assert code == 2 and told["result"] == "error" and told["compared"] == 30
    assert told["runs"]["torch"]["error"] is None
    error = told["runs"]["torchlike"]["error"]
    assert error.startswith("Traceback") and error.endswith("ValueError: only here\n")
    assert "script.py" in error and "tracer" not in error


@pytest.mark.slow
def test_time_and_calls_are_bounded(tmp_path, capsys):
    code, told = call(tmp_path, capsys, options=["--max-calls", "5"])
    assert code == 0 and told["compared"] == 5
    assert all(run["stopped"] for run in told["runs"].values())
    path = tmp_path / "slow.py"
    path.write_text("import time; time.sleep(60)")
    assert command.main(["--timeout", "0.5", str(path)]) == 2
    assert "stopped after" in capsys.readouterr().out


def test_it_needs_a_script_and_pytorch(tmp_path, capsys, monkeypatch):
    assert command.main([str(tmp_path / "none.py")]) == 2
    assert "can't open file" in capsys.readouterr().err
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    assert command.main(["--json", __file__]) == 2
    assert "no PyTorch" in json.loads(capsys.readouterr().out)["error"]
