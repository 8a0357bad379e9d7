"""python -m torchlike doctor: its arguments, its output and its exit status."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from torchlike._runner.doctor.report import Report
from torchlike._runner.doctor.source import read
from torchlike._runner.finder import install


def main(arguments: list[str]) -> int:
    """Read source files and tell what becomes of the names of PyTorch in them.

    Returns 0, 1 if less than ``--fail-under`` percent of them are here, 2 if nothing can be read.
    """
    parser = argparse.ArgumentParser(
        prog="python -m torchlike doctor",
        description="Lists the names of PyTorch that source files use: supported, differs, missing."
        " Files are read and never run.",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a file, notebook or folder")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--html", metavar="FILE", help="write a page that needs nothing else")
    parser.add_argument(
        "--fail-under", type=float, metavar="PERCENT",
        help="exit with 1 if a smaller share of the names is here",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        reading = read(options.paths)
    except FileNotFoundError as error:
        return _complain(str(error))
    if not reading.files:
        return _complain("no .py or .ipynb file there")
    try:
        install()
    except RuntimeError:
        return _complain("this process has imported PyTorch: start the doctor in one of its own")
    report = Report(reading)
    if options.html:
        try:
            Path(options.html).write_text(report.html(), encoding="utf-8")
        except OSError as error:
            return _complain(str(error))
    if options.json:
        shown = report.json()
    else:
        shown = report.summary() if options.html else report.text()
    sys.stdout.write(shown + "\n")
    return int(options.fail_under is not None and report.percent < options.fail_under)


def _complain(what: str) -> int:
    sys.stderr.write(f"python -m torchlike doctor: {what}\n")
    return 2
