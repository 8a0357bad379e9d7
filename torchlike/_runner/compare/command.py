"""python -m torchlike compare: its arguments, the two processes, and what it says."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from torchlike._runner.compare.differences import Comparison, Run, Tolerance, compare

SIDES = ("torch", "torchlike")
_NAMES = {"torch": "PyTorch", "torchlike": "torchlike"}
_TRACER = Path(__file__).with_name("tracer.py")
_SHOWN = 40  # lines of what a failed program wrote to its standard error


def main(arguments: list[str]) -> int:
    """Run a script on both libraries and report the first call, loss or gradient that differs.

    Returns 0 if all agree, 1 if they part, 2 if one side fails or there is no PyTorch.
    """
    options = _parser().parse_args(arguments)
    if not os.path.isfile(options.script):
        return _fail(options, f"can't open file '{options.script}'")
    if importlib.util.find_spec("torch") is None:
        return _fail(
            options, "there is no PyTorch in this environment: compare runs the script on both"
        )
    with tempfile.TemporaryDirectory(prefix="torchlike-compare-") as folder:
        runs = {side: _run(side, Path(folder), options) for side in SIDES}
        tolerance = Tolerance(options.rtol, options.atol)
        whole = all(end["finished"] for end in runs.values())
        with Run(Path(folder, SIDES[0])) as theirs, Run(Path(folder, SIDES[1])) as ours:
            found = compare(theirs, ours, tolerance, whole)
    return _report(options, found, runs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m torchlike compare",
        description="Runs a script on PyTorch and on torchlike, and finds the first module call,"
        " loss, gradient or step whose numbers differ.",
    )
    for name, kind, default, metavar, text in (
        ("--rtol", float, 1e-3, "X", "allowed difference, as a share of a tensor's largest number"),
        ("--atol", float, 1e-5, "X", "allowed difference, added to that"),
        ("--max-calls", int, 2000, "N", "stop both programs after this many calls"),
        ("--timeout", float, 600.0, "SECONDS", "stop a program after this time"),
    ):
        text += " (%(default)s)"
        parser.add_argument(name, type=kind, default=default, metavar=metavar, help=text)
    parser.add_argument("--seed", type=int, help="seed torch, numpy and random before the script")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("script", help="a Python file")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the script's own arguments")
    return parser


def _run(side: str, folder: Path, options) -> dict:
    """Run the script under one library; how it ended."""
    here = folder / side
    here.mkdir()
    settings = {"max_calls": max(1, options.max_calls), "seed": options.seed}
    (here / "options.json").write_text(json.dumps(settings), encoding="utf-8")
    script = [options.script, *options.arguments]
    command = [sys.executable, str(_TRACER), side, str(here), *script]
    end = {"finished": False, "timeout": False, "error": None, "status": None}
    start = time.monotonic()
    with open(here / "stdout", "wb") as out, open(here / "stderr", "wb") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=_environment(side)
        )
        try:
            end["status"] = process.wait(options.timeout)
        except subprocess.TimeoutExpired:
            end["timeout"] = True
        finally:
            process.kill()
            process.wait()
    end["seconds"] = round(time.monotonic() - start, 2)
    try:
        told = json.loads((here / "end.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if not end["timeout"]:
            lines = (here / "stderr").read_text(encoding="utf-8", errors="replace").splitlines()
            end["error"] = "\n".join([f"ended with status {end['status']}", *lines[-_SHOWN:]])
        return end
    end |= told
    end["finished"] = not told["stopped"] and not told["error"]
    return end


def _environment(side: str) -> dict:
    """The child's environment; torchlike's side can import it from where it is imported here."""
    environment = dict(os.environ)
    if side == "torchlike":
        home = str(Path(__file__).resolve().parents[3])
        paths = [environment.get("PYTHONPATH"), home]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


# ---- what is said ------------------------------------------------------------------------------


def _fail(options, message: str) -> int:
    if options.json:
        sys.stdout.write(json.dumps({"result": "error", "error": message}) + "\n")
    else:
        sys.stderr.write(f"python -m torchlike compare: {message}\n")
    return 2


def _report(options, found: Comparison, runs: dict) -> int:
    parted = found.divergence
    failed = [side for side in SIDES if runs[side]["error"]]
    statuses = {runs[side]["status"] for side in SIDES if runs[side]["finished"]}
    result, status = ("diverged", 1) if parted else ("same", 0)
    if not parted and (failed or len(statuses) > 1 or not (found.compared or _all_finished(runs))):
        result, status = "error", 2
    if options.json:
        out = {
            "result": result,
            "compared": found.compared,
            "largest_share_of_tolerance": found.largest,
            "largest_at": found.at,
            "first": None,
            "runs": runs,
        }
        if parted:
            event = parted.event
            out["first"] = {
                "what": parted.what,
                "tensor": parted.label,
                "kind": event["kind"],
                "name": event["name"],
                "type": event.get("type"),
                "line": event["line"],
                "torch": parted.theirs,
                "torchlike": parted.ours,
                "difference": parted.difference,
                "allowed": parted.allowed,
                "inputs_differ": parted.inputs_differ,
            }
        sys.stdout.write(json.dumps(out, indent=1) + "\n")
        return status
    sys.stdout.write("\n".join(_text(found, runs, result)) + "\n")
    return status


def _all_finished(runs: dict) -> bool:
    return all(runs[side]["finished"] for side in SIDES)


def _text(found: Comparison, runs: dict, result: str) -> list[str]:
    lines = []
    parted = found.divergence
    if parted:
        event = parted.event
        kind = f" ({event['type']})" if "type" in event else ""
        lines += [
            f"They part at {event['name']}{kind}, {event['line']}",
            f"  {parted.label}:",
            f"    PyTorch    {parted.theirs}",
            f"    torchlike  {parted.ours}",
        ]
        if parted.difference is not None:
            lines.append(f"  {parted.difference:.3g} apart, {parted.allowed:.3g} allowed")
        if event["kind"] == "module" and parted.what == "values":
            lines.append(
                "  its inputs differ already: look at the lines before it"
                if parted.inputs_differ
                else "  its inputs agree: look into it"
            )
        lines.append(f"{found.compared} calls before it agree.")
    elif found.compared:
        lines.append(f"{found.compared} calls, losses, gradients and steps agree.")
    elif result == "same":
        lines.append("Nothing to compare: the script calls no module and no backward().")
    if found.at:
        lines.append(f"Closest: {found.largest:.2g} of the tolerance, {found.at}.")
    for side in SIDES:
        end = runs[side]
        if end["timeout"]:
            lines.append(f"{_NAMES[side]} was stopped after {end['seconds']:g} s.")
        elif end.get("stopped"):
            lines.append(f"{_NAMES[side]} was stopped after the last call asked for (--max-calls).")
        if end["error"]:
            lines += [f"{_NAMES[side]} failed:", *(f"  {x}" for x in end["error"].splitlines())]
        elif end["finished"] and end["status"]:
            lines.append(f"{_NAMES[side]} ended with status {end['status']}.")
    return lines
