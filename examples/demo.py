"""Run the examples under torchlike and, where torch is installed, the same files under torch.

Each run is a fresh process, and its time is from its start to its exit. The exit status is 1 if
a run failed.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import report

FOLDER = Path(__file__).resolve().parent
EXAMPLES = ["iris", "diabetes", "digits", "validation"]
SHOWN_EPOCHS = 8


@dataclass
class Run:
    """One finished process: what it said, how long it took, and why it failed if it did."""

    output: str
    seconds: float
    error: str | None = None
    result: dict | None = None


def run_process(command, timeout):
    start = time.perf_counter()
    try:
        # stderr stays on the terminal: it carries the progress bars and any traceback.
        process = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return Run("", timeout, error=f"still running after {timeout:g} s, stopped")
    seconds = time.perf_counter() - start
    output, _, line = process.stdout.partition("RESULT ")
    if process.returncode != 0:
        return Run(output, seconds, error=f"exit status {process.returncode}")
    if not line:
        return Run(output, seconds, error="printed no RESULT line")
    return Run(output, seconds, result=json.loads(line))


def find_torch_python():
    """Return an interpreter that has torch and all else that the examples need, or None."""
    needed = ["torch", "sklearn", "matplotlib", "tqdm"]
    probe = f"import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, {needed})))"
    # This one, or else the one that this virtual environment was made with.
    for python in dict.fromkeys([sys.executable, sys._base_executable]):
        if subprocess.run([python, "-c", probe], timeout=60).returncode == 0:
            return python
    return None


# ---- what is printed -------------------------------------------------


def thin(count, shown=SHOWN_EPOCHS):
    """Return at most `shown` positions of `count`, evenly spaced, with the first and the last."""
    if count <= shown:
        return list(range(count))
    return [round(i * (count - 1) / (shown - 1)) for i in range(shown)]


def max_relative_difference(ours, theirs):
    """Return the largest of |a - b| / |b|, infinite for a NaN or lists of unequal length."""
    if len(ours) != len(theirs) or any(map(math.isnan, ours + theirs)):
        return math.inf
    return max(abs(a - b) / max(abs(b), 1e-12) for a, b in zip(ours, theirs, strict=True))


def print_comparison(ours, theirs):
    losses = ours.result["epoch_losses"], theirs.result["epoch_losses"]
    pairs = list(zip_longest(*losses, fillvalue="-"))
    rows = [(i + 1, *pairs[i]) for i in thin(len(pairs))]
    print()
    report.print_table(["epoch", "torchlike loss", "torch loss"], rows)
    steps = ours.result["step_losses"], theirs.result["step_losses"]
    difference = max_relative_difference(*steps)
    print(f"first {len(steps[0])} step losses: largest relative difference {difference:.1e}")
    print(f"time: torchlike {ours.seconds:.2f} s, torch {theirs.seconds:.2f} s")
    return difference


def print_losses(run):
    losses = run.result["epoch_losses"]
    print()
    report.print_table(["epoch", "loss"], [(i + 1, losses[i]) for i in thin(len(losses))])
    print(f"time: {run.seconds:.2f} s")


def print_summary(rows):
    """Print rows of (example, seconds, seconds under torch, difference of losses)."""
    lines = [[*row[:3], row[1] / row[2], f"{row[3]:.1e}"] for row in rows]
    ours, theirs = (sum(row[i] for row in rows) for i in (1, 2))
    lines.append(["all", ours, theirs, ours / theirs, ""])
    print("\n==== wall time in seconds ====")
    report.print_table(
        ["example", "torchlike", "torch", "torchlike / torch", "difference of losses"],
        [[name, *(f"{number:.2f}" for number in line[:3]), line[3]] for name, *line in lines],
    )


# ---- the demo --------------------------------------------------------


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("examples", nargs="*", default=EXAMPLES, help=" ".join(EXAMPLES))
    parser.add_argument("--epochs", type=int, help="instead of each example's own number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the pictures")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one run")
    parser.add_argument("--torch-python", help="an interpreter that has torch")
    args = parser.parse_args()
    if unknown := set(args.examples) - set(EXAMPLES):
        parser.error(f"no example {', '.join(sorted(unknown))}; there are {', '.join(EXAMPLES)}")
    return args


def main():
    args = arguments()
    torch_python = args.torch_python or find_torch_python()
    if torch_python is None:
        print("torch is not installed here: the examples run under torchlike only")
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.5 * os.cpu_count():
        print("this machine was busy in the last minute: do not trust the times below")

    # matplotlib builds its font cache at its first use on a machine: here, not in a timed run.
    import matplotlib.font_manager  # noqa: F401

    options = ["--seed", str(args.seed)]
    options += ["--epochs", str(args.epochs)] if args.epochs else []
    pictures, failures, summary = [], [], []
    for name in args.examples:
        print(f"\n==== {name} ====", flush=True)
        script = str(FOLDER / f"{name}.py")
        command = [sys.executable, script, *options, "--out", str(args.out)]
        ours = run_process(command, args.timeout)
        print(ours.output, end="", flush=True)
        if ours.error:
            failures.append(f"{name} under torchlike: {ours.error}")
            continue
        pictures += ours.result["pictures"]
        if torch_python is None:
            print_losses(ours)
            continue

        shim = str(FOLDER / "under_torch.py")
        command = [torch_python, shim, script, *options, "--out", str(args.out / "torch")]
        theirs = run_process(command, args.timeout)
        if theirs.error:
            failures.append(f"{name} under torch: {theirs.error}")
            continue
        difference = print_comparison(ours, theirs)
        summary.append([name, ours.seconds, theirs.seconds, difference])

    if summary:
        print_summary(summary)
    if pictures:
        print("\npictures:", *(Path(picture).resolve() for picture in pictures), sep="\n  ")
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
