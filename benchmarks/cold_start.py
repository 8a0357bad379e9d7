"""From process start to exit: imports, and whole example scripts, the first and the second time.

    python benchmarks/cold_start.py [--epochs N]

Each side in a fresh process, in turn. The second time has JAX's persistent compilation cache,
switched on from outside by its environment variables.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import busy, table

EXAMPLES = Path(__file__).parents[1] / "examples"
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


def script(name: str, epochs: list[str], folder: str) -> list[str]:
    args = [f"{name}.py", *epochs, "--out", folder]
    theirs = seconds(["under_torch.py", *args])
    first = seconds(args)
    cache = {
        "JAX_COMPILATION_CACHE_DIR": folder + "/cache",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    seconds(args, **cache)
    second = seconds(args, **cache)
    return [f"{name}.py", f"{theirs:.2f}", f"{first:.2f}", f"{second:.2f}",
            f"**{first / theirs:.2f}**", f"**{second / theirs:.2f}**"]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    epochs = ["--epochs", str(options.epochs)] if options.epochs else []
    rows = [imports()]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("iris", "diabetes", "digits", "validation"):
            rows.append(script(name, epochs, folder))
    header = ["seconds", "torch", "torchlike", "again, with cache", "ratio", "ratio again"]
    print(table(header, rows))
    print(busy())


if __name__ == "__main__":
    main()
