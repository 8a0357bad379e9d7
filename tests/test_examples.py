"""The examples: they train under torchlike, and print the losses that PyTorch prints."""

import ast
import json
import re
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
UNDER_TORCH = EXAMPLES / "under_torch.py"
TIMEOUT = 240

# Enough epochs for 100 training steps.
EPOCHS = {"iris": 13, "diabetes": 10, "digits": 5, "validation": 10}


def start(script, name, out):
    options = ["--epochs", str(EPOCHS[name]), "--seed", "1", "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, *map(str, script), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Return the result that an example printed; show what else it said if it failed."""
    try:
        output, errors = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"still running after {TIMEOUT} s:\n{process.communicate()[1]}")
    assert process.returncode == 0, output + errors
    return json.loads(output.partition("RESULT ")[2])


@pytest.mark.slow
@pytest.mark.parametrize("name", EPOCHS)
def test_example(name, tmp_path):
    """Both sides run at once; the comparison is left out where torch is not installed."""
    script = EXAMPLES / f"{name}.py"
    processes = [start([script], name, tmp_path / "torchlike")]
    if util.find_spec("torch"):
        processes.append(start([UNDER_TORCH, script], name, tmp_path / "torch"))
    try:
        ours, *theirs = [finish(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()

    assert len(ours["step_losses"]) == 100
    assert len(ours["epoch_losses"]) == EPOCHS[name]
    for picture in ours["pictures"]:
        assert Path(picture).read_bytes().startswith(b"\x89PNG")
    if not theirs:
        pytest.skip("torch is not installed: the losses were compared with nothing")
    theirs = theirs[0]
    assert ours["step_losses"] == pytest.approx(theirs["step_losses"], rel=1e-4)
    assert ours["epoch_losses"] == pytest.approx(theirs["epoch_losses"], rel=1e-3)
    assert ours["metrics"].keys() == theirs["metrics"].keys()


@pytest.mark.parametrize("name", EPOCHS)
def test_only_imports_name_torchlike(name):
    source = (EXAMPLES / f"{name}.py").read_text()
    tree = ast.parse(source)
    allowed = {node.lineno for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)}
    allowed |= set(range(1, tree.body[0].end_lineno + 1))  # the docstring
    lines = {i for i, line in enumerate(source.splitlines(), 1) if "torchlike" in line}
    assert lines <= allowed


# ---- the code on the first page --------------------------------------


def readme_code():
    text = (EXAMPLES.parent / "README.md").read_text()
    return re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]


def test_readme_runs(capsys):
    exec(readme_code(), {})
    ours = float(capsys.readouterr().out)
    pytest.importorskip("torch")
    exec(readme_code().replace("torchlike", "torch"), {})
    assert ours == pytest.approx(float(capsys.readouterr().out), rel=1e-4)


# ---- the demo --------------------------------------------------------


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import demo

    return demo


@pytest.mark.parametrize(
    ("code", "timeout", "error"),
    [
        ("raise SystemExit(3)", 60, "exit status 3"),
        ("print('hello')", 60, "printed no RESULT line"),
        ("import time; time.sleep(60)", 0.2, "still running after 0.2 s, stopped"),
    ],
)
def test_demo_reports_a_failed_run(demo, code, timeout, error):
    run = demo.run_process([sys.executable, "-c", code], timeout)
    assert run.error == error
    assert run.result is None


def test_demo_reads_the_result_line(demo):
    code = "print('table'); print('RESULT {\"step_losses\": [1.5]}')"
    run = demo.run_process([sys.executable, "-c", code], timeout=60)
    assert run.error is None
    assert run.output == "table\n"
    assert run.result == {"step_losses": [1.5]}


def test_demo_fails_when_an_example_fails(demo, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(demo, "FOLDER", tmp_path)
    (tmp_path / "iris.py").write_text("raise SystemExit(3)")
    monkeypatch.setattr(sys, "argv", ["demo.py", "iris", "--out", str(tmp_path)])
    assert demo.main() == 1
    assert "FAILED iris under torchlike: exit status 3" in capsys.readouterr().err


def test_demo_thins_the_epochs(demo):
    assert demo.thin(3) == [0, 1, 2]
    assert demo.thin(300, shown=4) == [0, 100, 199, 299]


def test_demo_compares_step_losses(demo):
    assert demo.max_relative_difference([1.0, 2.0], [1.0, 2.5]) == pytest.approx(0.2)
    assert demo.max_relative_difference([1.0], [1.0, 2.0]) == float("inf")
    assert demo.max_relative_difference([float("nan")], [1.0]) == float("inf")
