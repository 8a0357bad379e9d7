"""Compiled training steps: torchlike's whole step against hand-written JAX and torch.compile.

    python benchmarks/compile.py [--only NAME] [--quick] [--json] [--sides SIDE ...] [--eager]

Four sides take the same step from the same weights: torchlike with zero_grad, forward, loss,
backward and update in one ``torch.compile``; JAX and optax by hand, jitted, with donated state;
``torch.compile`` (where a C++ compiler is at hand); PyTorch's eager mode. Their losses must agree.
The steady step is measured in one process, in turn. The first step is measured in fresh processes,
two a side: one with an empty compilation cache, one with the cache that it filled; the second one's
peak of resident memory (on a GPU: of device memory) is the side's. Last, what a call costs beside
its program: a step with 150 parameters and next to no arithmetic.
``--eager`` leaves torchlike uncompiled; ``--device`` moves torchlike and JAX, without PyTorch.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import busy, calls_for, table, wait
from networks import ALL, DISPATCH, NETWORKS, initial, jax_step, torch_step

LIMIT = 900  # seconds a process may take
TOLERANCE = 1e-4  # of the losses, relative: the sides order their sums differently
CHECKED = 4  # steps whose losses are compared


SIDES = ("torchlike", "jax", "torch.compile", "torch")


def sides(options) -> list[str]:
    """The chosen sides that this machine can run; torchlike is always one."""
    found = [side for side in SIDES if side in ("torchlike", *(options.sides or SIDES))]
    if options.device != "cpu" or importlib.util.find_spec("torch") is None:
        return [side for side in found if side in ("torchlike", "jax")]
    if not (os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")):
        return [side for side in found if side != "torch.compile"]
    return found


def build(side: str, name: str, weights, options):
    """The step of one side, as a function without arguments."""
    if side == "jax":
        return jax_step(name, weights)
    if side == "torchlike":
        import torchlike

        return torch_step(torchlike, name, weights, "" if options.eager else "step", options.device)
    import torch

    return torch_step(torch, name, weights, "parts" if side == "torch.compile" else "")


def number(loss) -> float:
    return float(loss.detach() if hasattr(loss, "detach") else loss)


# ---- a fresh process -------------------------------------------------------------------------


def child(side: str, name: str, folder: str, started: float, options) -> dict:
    """What a fresh process measures: seconds to its first step, losses, peak memory."""
    with np.load(f"{folder}/{name}.npz") as file:
        weights = dict(file)
    step = build(side, name, weights, options)
    start = time.perf_counter()
    losses = [number(step())]
    first = time.perf_counter() - start
    process = time.time() - started
    losses += [number(step()) for _ in range(CHECKED - 1)]
    return {"first": first, "process": process, "losses": losses, "peak": peak(options.device)}


def peak(device: str) -> float:
    """The most memory that this process, or on a GPU its device, has used, in MiB."""
    if device != "cpu":
        import jax

        return jax.devices()[0].memory_stats()["peak_bytes_in_use"] / 2**20
    status = Path("/proc/self/status")
    if status.exists():  # Linux: getrusage would tell the parent's peak where that is larger
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


def fresh(side: str, name: str, folder: str, options) -> dict:
    """Run ``child`` in a process of its own, with the compilation caches in ``folder``."""
    caches = {
        "JAX_COMPILATION_CACHE_DIR": f"{folder}/{side}-{name}",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor-{name}",
    }
    command = [sys.executable, __file__, "--child", side, name, folder, repr(time.time())]
    command += ["--eager"] * options.eager + ["--device", options.device]
    done = subprocess.run(
        command, timeout=LIMIT, env=os.environ | caches, text=True, capture_output=True
    )
    if done.returncode:
        raise RuntimeError(f"{side} of {name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


# ---- one network ------------------------------------------------------------------------------


def compare(losses: dict[str, list[float]]) -> float:
    """The largest relative difference from the last side's losses; raises if it is too large."""
    *_, reference = losses.values()
    differences = {
        side: max(abs(a / b - 1) for a, b in zip(found, reference))
        for side, found in losses.items()
    }
    if not max(differences.values()) <= TOLERANCE:
        raise RuntimeError(f"the losses differ: {losses}")
    return max(differences.values())


def measure(name: str, folder: str, options) -> dict:
    """Everything about one network, as a dictionary."""
    import torchlike

    weights = initial(torchlike, name)
    np.savez(f"{folder}/{name}.npz", **weights)
    names = sides(options)
    result: dict = {"name": name, "title": ALL[name].title}
    for key in ("cold", "warm"):
        result[key] = {side: fresh(side, name, folder, options) for side in names}
    steps = {side: build(side, name, weights, options) for side in names}
    losses = {side: [number(step()) for _ in range(CHECKED)] for side, step in steps.items()}
    result["agreement"] = compare(losses)
    for key in ("cold", "warm"):
        compare({side: found["losses"] for side, found in result[key].items()})
    result["steady"] = steady(steps, options)
    return result


def steady(steps: dict, options) -> dict[str, float]:
    """Seconds a step, medians of rounds in turn.

    Every side takes one step before it is timed: PyTorch's threads spin for a while after its own.
    """
    calls = calls_for(steps.get("jax") or steps["torchlike"], 0.05 if options.quick else 0.1)
    rounds = 5 if options.quick else 15 if calls > 1 else 9
    seconds: dict[str, list[float]] = {side: [] for side in steps}
    for _ in range(rounds):
        for side, step in steps.items():
            wait(step())
            start = time.perf_counter()
            for _ in range(calls):
                loss = step()
            wait(loss)
            seconds[side].append((time.perf_counter() - start) / calls)
    return {side: float(np.median(found)) for side, found in seconds.items()}


@contextlib.contextmanager
def timed_programs():
    """Inside the block: the seconds that the engine's calls of jitted functions take, as a list."""
    from torchlike._engine import flush, programs
    from torchlike.compiler import _direct

    spent, call_into = [], programs.call_into

    def timed(*args):
        start = time.perf_counter()
        call_into(*args)
        spent.append(time.perf_counter() - start)

    flush.call_into = _direct.call_into = timed
    try:
        yield spent
    finally:
        flush.call_into = _direct.call_into = call_into


def dispatch(options, rounds: int = 400) -> dict[str, dict[str, float]]:
    """Microseconds of a step with 150 parameters.

    ``call`` until it returns, ``beside`` of these outside of ``jax.jit`` of its program, ``step``
    until the program is done. The device is idle when a call starts.
    """
    import torchlike

    (name,) = DISPATCH
    weights = initial(torchlike, name)
    steps = {side: build(side, name, weights, options) for side in ("torchlike", "jax")}
    times: dict[str, list[tuple[float, float, float]]] = {side: [] for side in steps}
    for step in steps.values():
        for _ in range(10):
            wait(step())
    with timed_programs() as spent:
        for _ in range(rounds // (4 if options.quick else 1)):
            for side, step in steps.items():
                spent.clear()
                start = time.perf_counter()
                result = step()
                call = time.perf_counter() - start
                wait(result)
                done = time.perf_counter() - start
                beside = call - sum(spent) if side == "torchlike" else 0.0
                times[side].append((call, beside, done))
    keys = ("call", "beside", "step")
    return {
        side: {key: 1e6 * float(np.median(column)) for key, column in zip(keys, zip(*rows))}
        for side, rows in times.items()
    }


# ---- tables ------------------------------------------------------------------------------------


def _row(result: dict, found: dict[str, float], form: str, scale: float = 1.0) -> list[str]:
    cells = [format(scale * value, form) for value in found.values()]
    return [result["title"], *cells]


def show(results: list[dict]) -> None:
    """Print the Markdown tables of docs/performance.md."""
    names = list(results[0]["steady"])
    rows = []
    for result in results:
        steady = result["steady"]
        ratios = [f"**{steady['torchlike'] / steady[side]:.2f}**" for side in names[1:]]
        rows.append([*_row(result, steady, ".3g", 1e3), *ratios])
    print(table(["steady step, ms", *names, *[f"/ {side}" for side in names[1:]]], rows))
    compiled = [side for side in names if side != "torch"]
    rows = []
    for result in results:
        cells = [f"{result['cold'][s]['first']:.1f} / {result['warm'][s]['first']:.1f}"
                 for s in compiled]  # fmt: skip
        ours = [result[key]["torchlike"]["process"] for key in ("warm", "cold")]
        rows.append([result["title"], *cells, f"**{ours[0] / ours[1]:.2f}**"])
    print()
    print(
        table(["first step, s: cold / warm", *compiled, "torchlike's process, warm / cold"], rows)
    )
    rows = [_row(r, {s: r["warm"][s]["peak"] for s in names}, ".0f") for r in results]
    print()
    print(table(["peak memory, MB", *names], rows))
    worst = max(result["agreement"] for result in results)
    print(f"\nlosses of {CHECKED} steps agree to {worst:.1e} (relative)")


def show_dispatch(found: dict[str, dict[str, float]]) -> None:
    rows = [[side, *[f"{value:.0f}" for value in cost.values()]] for side, cost in found.items()]
    header = ["us a step with 150 parameters", "until it returns", "beside its jitted program",
              "until it is done"]  # fmt: skip
    print()
    print(table(header, rows))


def report(results: list[dict], calls: dict | None) -> None:
    if results:
        show(results)
    if calls:
        show_dispatch(calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(ALL), metavar="NAME")
    parser.add_argument("--sides", nargs="+", choices=SIDES)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--eager", action="store_true", help="torchlike without compile")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tables", nargs="+", metavar="FILE", help="of results saved as JSON")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        side, name, folder, started = options.child
        print(json.dumps(child(side, name, folder, float(started), options)))
        return
    if options.tables:
        saved = [json.loads(Path(file).read_text()) for file in options.tables]
        results = [result for found in saved for result in found["networks"]]
        report(results, next((found["dispatch"] for found in saved if found["dispatch"]), None))
        return
    chosen = options.only or list(ALL)
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for name in chosen:
            if name in NETWORKS:
                results.append(measure(name, folder, options))
                print(f"{name}: done", file=sys.stderr)
    calls = dispatch(options) if set(chosen) & set(DISPATCH) else None
    if options.json:
        print(json.dumps({"networks": results, "dispatch": calls}, indent=1))
        return
    report(results, calls)
    print(busy())


if __name__ == "__main__":
    main()
