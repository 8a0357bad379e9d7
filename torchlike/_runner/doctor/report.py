"""The doctor's findings: what they add up to, and how they are shown."""

from __future__ import annotations

import html
import json
from collections import defaultdict
from dataclasses import dataclass, field

from torchlike._runner.doctor.source import Reading, Use
from torchlike._runner.doctor.verdicts import (
    DIFFERS,
    MISSING,
    MODULE,
    SUPPORTED,
    Verdict,
    judge_call,
)

_ORDER = (MISSING, DIFFERS, SUPPORTED)
_PLACES = 3  # shown of a name in the text; JSON and HTML have all


@dataclass
class Entry:
    """A name, its verdict, and where it is used."""

    verdict: Verdict
    certain: bool
    uses: list[Use] = field(default_factory=list)

    @property
    def guarded(self) -> bool:
        """Whether the program is ready for its absence, wherever it is used."""
        return all(u.guarded for u in self.uses)


class Report:
    """All names of a reading, worst first; ``percent`` of the certain ones that are here."""

    def __init__(self, reading: Reading):
        found: dict[tuple, Entry] = {}
        for use in reading.uses:
            verdict = judge_call(use.symbol, use.given)
            if verdict.status != MODULE:
                key = (verdict.name, use.certain)
                found.setdefault(key, Entry(verdict, use.certain)).uses.append(use)
        self.files, self.errors = reading.files, reading.errors
        self.entries = sorted(
            found.values(), key=lambda e: (_ORDER.index(e.verdict.status), e.verdict.name)
        )
        self.certain = [e for e in self.entries if e.certain]
        self.possible = [e for e in self.entries if not e.certain]

    def count(self, status: str) -> int:
        """How many of the certain names have a status."""
        return sum(e.verdict.status == status for e in self.certain)

    @property
    def percent(self) -> float:
        """The share of the certain names that are supported or differ; 100 where there are none."""
        if not self.certain:
            return 100.0
        return 100 * (1 - self.count(MISSING) / len(self.certain))

    # ---- text ------------------------------------------------------------------------------

    def text(self) -> str:
        """For people: what is missing and what differs with places, the rest in one list."""
        lines = []
        for status, title in ((MISSING, "Missing"), (DIFFERS, "Differs")):
            chosen = [e for e in self.certain if e.verdict.status == status]
            if chosen:
                lines += [f"{title}:", *(line for e in chosen for line in _lines(e)), ""]
        unsure = [e for e in self.possible if e.verdict.status != SUPPORTED]
        if unsure:
            title = "Possible (methods of what may be no tensor):"
            lines += [title, *(line for e in unsure for line in _lines(e)), ""]
        fine = [e for e in self.certain if e.verdict.status == SUPPORTED]
        if fine:
            lines += ["Supported:"]
            lines += _wrapped([f"{e.verdict.name} ({len(e.uses)})" for e in fine])
            lines += [""]
        if self.errors:
            lines += ["Not read:", *(f"  {place}: {what}" for place, what in self.errors), ""]
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        """One line: files, names, and the percentage."""
        names = len(self.certain)
        return (
            f"{self.percent:.1f} % of {names} names in {self.files} files: "
            f"{self.count(SUPPORTED)} supported, {self.count(DIFFERS)} differ, "
            f"{self.count(MISSING)} missing; {len(self.possible)} possible methods of tensors"
            + (f"; {len(self.errors)} places not read" if self.errors else "")
        )

    # ---- JSON ------------------------------------------------------------------------------

    def json(self) -> str:
        """For programs: the same, with every place."""
        return json.dumps(
            {
                "percent": round(self.percent, 2),
                "files": self.files,
                "counts": {status: self.count(status) for status in (*_ORDER,)},
                "names": [
                    {
                        "name": e.verdict.name,
                        "status": e.verdict.status,
                        "note": e.verdict.note,
                        "certain": e.certain,
                        "guarded": e.guarded,
                        "fails_when_looked_up": e.verdict.fails_early,
                        "places": [u.place for u in e.uses],
                    }
                    for e in self.entries
                ],
                "errors": [{"place": place, "error": what} for place, what in self.errors],
            },
            indent=1,
        )

    # ---- HTML ------------------------------------------------------------------------------

    def html(self) -> str:
        """One page that needs nothing else: a table, its places folded."""
        groups = defaultdict(list)
        for e in self.entries:
            groups[e.verdict.status if e.certain else "possible"].append(e)
        parts = []
        for status in (*_ORDER, "possible"):
            rows = "".join(map(_row, groups[status]))
            if rows:
                opened = " open" if status in (MISSING, DIFFERS) else ""
                parts.append(
                    f"<details{opened}><summary class={status}>{status} "
                    f"({len(groups[status])})</summary><table>{rows}</table></details>"
                )
        if self.errors:
            rows = "".join(f"<tr><td>{_e(place)}<td>{_e(what)}" for place, what in self.errors)
            parts.append(
                f"<details open><summary>not read</summary><table>{rows}</table></details>"
            )
        share = self.percent
        return (
            f"<!doctype html><html lang=en><meta charset=utf-8><title>torchlike doctor</title>"
            f"<style>{_STYLE}</style><h1>{share:.1f} %</h1>"
            f"<div class=bar><div style='width:{share:.1f}%'></div></div>"
            f"<p>{_e(self.summary())}</p>{''.join(parts)}</html>\n"
        )


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{margin:0}.bar{background:#d9534f;height:.6rem}.bar div{background:#3c8d50;height:100%}
summary{font-weight:600;cursor:pointer;margin:.6rem 0}.missing{color:#b02a25}.differs{color:#8a6100}
table{border-collapse:collapse;width:100%}td{padding:.2rem .6rem;vertical-align:top;
border-top:1px solid #ddd}td:first-child{font-family:monospace}td details summary{margin:0;
font-weight:400}ul{margin:0;padding-left:1.2rem;font-family:monospace;font-size:13px}
"""


def _row(e: Entry) -> str:
    places = "".join(f"<li>{_e(u.place)}" for u in e.uses)
    return (
        f"<tr><td>{_e(e.verdict.name)}<td>{_e(_note(e))}"
        f"<td><details><summary>{len(e.uses)}</summary><ul>{places}</ul></details>"
    )


def _e(text: str) -> str:
    return html.escape(text, quote=True)


def _note(e: Entry) -> str:
    parts = [e.verdict.note] if e.verdict.note else []
    if e.verdict.status == MISSING:
        if e.guarded:
            parts.append("the program is ready for that")
        elif e.verdict.fails_early and e.certain:
            parts.append("fails when it is imported or looked up")
    return "; ".join(parts)


def _lines(e: Entry) -> list[str]:
    note = _note(e)
    places = [u.place for u in e.uses[:_PLACES]]
    more = len(e.uses) - len(places)
    return [
        f"  {e.verdict.name}" + (f": {note}" if note else ""),
        "    " + "  ".join(places) + (f"  and {more} more" if more else ""),
    ]


def _wrapped(words: list[str], width: int = 100) -> list[str]:
    lines, line = [], " "
    for word in words:
        if len(line) + len(word) + 2 > width:
            lines.append(line)
            line = " "
        line += f" {word}"
    return [*lines, line]
