"""docs/parity.md, made from the stored results of a full run and from the names there are now."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import torch

from . import known, names
from .calls import METHOD_ONLY, NA, PROPERTY
from .checks import form_units, mode_units
from .samples import op_db

PAGE = Path(__file__).parents[2] / "docs" / "parity.md"
RESULTS = Path(__file__).with_name("results.json")

# Rows of the table of totals: what is counted, and the checks that belong to it.
TOTALS = {
    "values, float32": ("forward float32",),
    "values, int64": ("forward int64",),
    "values, bool": ("forward bool",),
    "values, complex64": ("forward complex64",),
    "gradients, float32": ("grad float32",),
    "gradients, complex64": ("grad complex64",),
    "second derivatives": ("second",),
    "op by op as in one program": ("immediate",),
    "inside `func.vmap`": ("vmap",),
    "methods": ("method",),
    "in-place forms": ("inplace",),
    "gradients of in-place forms": ("inplace_grad",),
    "`out=`": ("out",),
    "operators": ("operator",),
    "aliases": ("alias",),
    "errors": ("errors",),
}
SPACES = ("nn.functional", "linalg", "fft", "special", "signal", "masked", "sparse", "Tensor")

INTRO = """\
# Parity with PyTorch

What agrees with PyTorch {version}, op by op. The suite in `tests/parity` asks PyTorch's own
database of ops (OpInfo, {entries} entries) and the public names of its namespaces: each entry
is called here and there with the same numbers, and results, dtypes, shapes, gradients and the
kind of error must be the same. {left_out} entries are not asked: internal ops without a public
name, and such as only CUDA has. They are listed at the end.

This page is generated: `python -m tests.parity --write-results --write-docs`. Its numbers are of
a run with up to {samples} samples of each check ({asked} samples in all, {passed} of them
agree); every test run repeats it with up to {few} and fails where anything is not as it says.
"""


def read_results() -> dict:
    """The stored results: those of every entry, by name."""
    return json.loads(RESULTS.read_text())


def write_results(records, samples) -> None:
    """Store what a run found; of entries that it did not ask, the stored results remain.

    Of each entry: the numbers of samples asked and agreeing, the checks that do not agree, and
    those that could not be asked.
    """
    found = read_results()["ops"] if RESULTS.exists() else {}
    fresh: dict[str, dict] = {}
    for (op, unit), record in records.items():
        entry = fresh.setdefault(op, {"asked": 0, "passed": 0, "failed": [], "none": []})
        entry["asked"] += record.samples
        entry["passed"] += record.passed
        if record.status != "pass":
            entry["failed" if record.status == "fail" else "none"].append(unit)
    found |= fresh
    lines = ",\n".join(f"{json.dumps(op)}: {json.dumps(found[op])}" for op in sorted(found))
    version = torch.__version__.split("+")[0]
    head = f'"torch": "{version}",\n"samples": {samples},\n'
    RESULTS.write_text(f'{{\n{head}"ops": {{\n{lines}\n}}\n}}\n')


def units_of(op) -> list[str]:
    """All checks of an entry."""
    return form_units(op) + mode_units(op)


def page() -> str:
    """The text of docs/parity.md."""
    results = read_results()
    stored = results["ops"]
    ops = sorted((op for op in op_db() if op.full_name not in NA), key=lambda op: op.full_name)
    status = {}
    for op in ops:
        entry = stored.get(op.full_name, {"failed": (), "none": units_of(op)})
        for unit in units_of(op):
            mark = "fail" if unit in entry["failed"] else "pass"
            status[op.full_name, unit] = "none" if unit in entry["none"] else mark
    intro = INTRO.format(
        version=results["torch"],
        entries=len(op_db()),
        left_out=len(NA),
        samples=results["samples"],
        asked=sum(entry["asked"] for entry in stored.values()),
        passed=sum(entry["passed"] for entry in stored.values()),
        few=known.FEW,
    )
    parts = [intro, totals(ops, status), by_space(ops, status), differences(ops, status)]
    parts += [public_names(), every_op(ops, status), left_out()]
    return "\n".join(parts)


def share(good: int, count: int) -> str:
    """``good of count (percent)``; a hundred per cent only if nothing is missing."""
    if not count:
        return "-"
    percent = 100 * good / count
    text = "100 %" if good == count else f"{min(percent, 99.9):.1f} %"
    return f"{good} of {count} ({text})"


def table(head, rows) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def totals(ops, status) -> str:
    """How many ops agree in each kind of check."""
    rows = []
    for title, kinds in TOTALS.items():
        asked, good = set(), set()
        for op in ops:
            here = [
                status[op.full_name, u] for u in units_of(op) if u in kinds or u.split()[0] in kinds
            ]
            here = [s for s in here if s != "none"]
            if here:
                asked.add(op.full_name)
                if "fail" not in here:
                    good.add(op.full_name)
        rows.append([title, share(len(good), len(asked))])
    return "## Ops\n\n" + table(["what", "entries that agree"], rows)


def space_of(op) -> str:
    """The namespace of an entry."""
    for space in SPACES:
        if op.full_name.startswith(space + "."):
            return space
    if op.name in METHOD_ONLY or op.name in PROPERTY:
        return "Tensor"
    return "torch"


def by_space(ops, status) -> str:
    """Ops of each namespace whose values, gradients and second derivatives all agree."""
    rows = []
    for space in ("torch", *SPACES):
        counts = Counter()
        for op in ops:
            if space_of(op) != space:
                continue
            for kind in ("forward", "grad", "second"):
                here = [status[op.full_name, u] for u in units_of(op) if u.split()[0] == kind]
                here = [s for s in here if s != "none"]
                counts[kind] += bool(here)
                counts[kind, "good"] += bool(here) and "fail" not in here
        if counts:
            kinds = ("forward", "grad", "second")
            rows.append([f"`{space}`"] + [share(counts[k, "good"], counts[k]) for k in kinds])
    head = ["namespace", "values, in every dtype", "gradients", "second derivatives"]
    return "By namespace (`Tensor` has what is only a method):\n\n" + table(head, rows)


def differences(ops, status) -> str:
    """What does not agree, by reason."""
    groups: dict[str, list[str]] = {}
    for op in ops:
        for unit in units_of(op):
            if status[op.full_name, unit] == "fail":
                why = known.reason(op.full_name, unit) or "no reason known"
                groups.setdefault(why, []).append((op.full_name, unit))
    lines = ["## What differs\n"]
    for why, where in groups.items():
        units: dict[str, list[str]] = {}
        for name, unit in where:
            units.setdefault(name, []).append(unit)
        text = "; ".join(f"`{name}` ({', '.join(u)})" for name, u in units.items())
        lines.append(f"- {why[0].upper()}{why[1:]}: {text}.")
    return "\n".join(lines) + "\n"


def public_names() -> str:
    """The names of every namespace, and the missing ones with their reasons."""
    rows, missing = [], []
    for space in names.NAMESPACES:
        found = names.surface(space)
        count = len(found.names)
        signatures = found.signatures - len(found.other_signature)
        rows.append(
            [
                f"`{space}`",
                share(count - len(found.missing) - len(found.other_kind), count),
                share(signatures, found.signatures),
            ]
        )
        groups: dict[str, list[str]] = {}
        for name in found.missing:
            groups.setdefault(names.reason(space, name) or "no reason known", []).append(name)
        for why, group in groups.items():
            missing.append(f"- `{space}`: {', '.join(f'`{n}`' for n in group)}: {why}.")
    text = "## Public names\n\n" + table(["namespace", "names", "signatures"], rows)
    return text + "\nMissing:\n\n" + "\n".join(missing) + "\n"


def every_op(ops, status) -> str:
    """One row for each entry."""
    parts = [
        "## Every op\n\n"
        "`yes`: agrees with PyTorch; **no**: does not in some sample; empty: PyTorch has no such"
        " thing, or nothing could be asked. Values and gradients list the dtypes that agree.\n"
    ]
    head = ["op", "values", "gradient", "second", "vmap", "modes", "forms", "errors"]
    for space in ("torch", *SPACES):
        rows = [row(op, status) for op in ops if space_of(op) == space]
        if rows:
            parts.append(f"### {space}\n\n" + table(head, rows))
    return "\n".join(parts)


def row(op, status) -> list[str]:
    """The row of one entry."""
    name = op.full_name

    def list_of(units, labels) -> str:
        """The labels of units that agree; struck out what does not."""
        marks = {"pass": "{}", "fail": "**no {}**"}
        found = [(status[name, u], label) for u, label in zip(units, labels)]
        return ", ".join(marks[s].format(label) for s, label in found if s != "none")

    def one(unit) -> str:
        """``yes``, ``no``, or nothing."""
        return {"pass": "yes", "fail": "**no**"}.get(status.get((name, unit)), "")

    def of_kind(kind) -> str:
        units = [u for u in form_units(op) if u.split()[0] == kind]
        return list_of(units, [u.split()[1] for u in units])

    labels = {"method": "method", "inplace": "in-place", "inplace_grad": "in-place gradient"}
    labels |= {"out": "out", "operator": "operator"}
    units = [u for u in form_units(op) if u in labels]
    units += [u for u in form_units(op) if u.startswith("alias ")]
    forms = list_of(units, [labels.get(u) or f"`{u.split()[1]}`" for u in units])
    return [
        f"`{name}`",
        of_kind("forward"),
        of_kind("grad"),
        one("second"),
        one("vmap"),
        one("immediate"),
        forms,
        one("errors"),
    ]


def left_out() -> str:
    """Entries that are not asked."""
    lines = [f"- `{name}`: {why}." for name, why in sorted(NA.items())]
    return "## Entries that are not asked\n\n" + "\n".join(lines) + "\n"
