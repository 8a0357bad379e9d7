"""From process start to exit: imports, and whole scripts, the first and the second time.

    python benchmarks/cold_start.py [--epochs N] [--programs [NAME ...]]

Each side in a fresh process, in turn. The second time has the cache of compiled programs, switched
on from outside by ``TORCHLIKE_CACHE``. ``--programs`` takes, in place of the examples, the plain
PyTorch programs of ``tests/scripts``, which torchlike's runner runs as they are.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import busy, table

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = Path(__file__).parents[1] / "tests" / "scripts"
LIMIT = 600  # seconds a process may take


def seconds(command: list[str], **environment: str) -> float:
    """Wall time of one process; raises if it fails."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *command], check=True, timeout=LIMIT, cwd=EXAMPLES,
        env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - start


def imports() -> list[str]:
    times = {"torch": [], "torchlike": []}
    for _ in range(5):
        for name, found in times.items():
            found.append(seconds(["-c", f"import {name}"]))
    a, b = (sorted(found)[2] for found in times.values())
    return ["import", f"{a:.2f}", f"{b:.2f}", "", f"**{b / a:.2f}**", ""]


def script(name: str, theirs: list[str], ours: list[str], folder: str):
    """Seconds of a script under PyTorch, here, and here with a full cache; then the ratios."""
    torch, first = seconds(theirs), seconds(ours)
    cache = {"TORCHLIKE_CACHE": f"{folder}/{name}"}
    seconds(ours, **cache)
    again = seconds(ours, **cache)
    return name, torch, first, again, first / torch, again / torch


def examples(options, folder: str):
    """The rows of the examples, which are the same files on both sides."""
    epochs = ["--epochs", str(options.epochs)] if options.epochs else []
    for name in ("iris", "diabetes", "digits", "validation"):
        args = [f"{name}.py", *epochs, "--out", folder]
        yield script(name, ["under_torch.py", *args], args, folder)


def programs(options, folder: str):
    """The rows of the plain PyTorch programs."""
    for path in sorted(PROGRAMS.glob("*.py")):
        if path.stem != "public_names" and (not options.programs or path.stem in options.programs):
            yield script(path.stem, [str(path)], ["-m", "torchlike", str(path)], folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--programs", nargs="*", metavar="NAME")
    options = parser.parse_args()
    lines = [] if options.programs is not None else [imports()]
    with tempfile.TemporaryDirectory() as folder:
        rows = list((examples if options.programs is None else programs)(options, folder))
    rows.sort(key=lambda row: -row[4])
    for name, *times, first, again in rows:
        cells = [f"{t:.2f}" for t in times]
        lines.append([name, *cells, f"**{first:.2f}**", f"**{again:.2f}**"])
    if options.programs is not None:
        medians = [f"**{statistics.median(row[k] for row in rows):.2f}**" for k in (4, 5)]
        lines.append(["median", "", "", "", *medians])
    header = ["seconds", "torch", "torchlike", "again, with cache", "ratio", "ratio again"]
    print(table(header, lines))
    print(busy())


if __name__ == "__main__":
    main()
