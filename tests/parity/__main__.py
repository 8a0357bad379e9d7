"""``python -m tests.parity``: every check of every op with many samples, and docs/parity.md.

python -m tests.parity                    4 samples of each check; prints what is not as known
python -m tests.parity --ops linalg --units grad      only these
python -m tests.parity --write-results    also stores what was found in results.json
python -m tests.parity --write-docs       docs/parity.md from results.json; runs nothing
python -m tests.parity --ops '^sum$' --write-results --write-docs      all that for one op
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import time
import warnings

from torchlike import compiler

from . import document, known
from .calls import NA
from .checks import form_units, mode_units, run
from .samples import op_db

SECONDS = 60  # for one check


def main() -> int:
    """The command line; 1 if anything is not as known."""
    say = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__.split("\n")[0])
    say.add_argument("--samples", type=int, default=known.MANY, help="samples of each check")
    say.add_argument("--ops", default="", metavar="REGEX", help="only these entries")
    say.add_argument("--units", default="", metavar="REGEX", help="only these checks")
    say.add_argument("--write-results", action="store_true", help="store what was found")
    say.add_argument("--write-docs", action="store_true", help="write docs/parity.md")
    options = say.parse_args()
    warnings.simplefilter("ignore")
    if options.write_results and options.units:
        say.error("results are stored of all checks of an entry only")
    bad = False
    if options.write_results or not options.write_docs:
        records = ask(options)
        bad = report(records, options.samples)
        if options.write_results:
            document.write_results(records, options.samples)
    if options.write_docs:
        document.PAGE.write_text(document.page())
    return bad


def ask(options) -> dict:
    """{(op, unit): record} of the checks asked for."""
    records = {}
    start = time.monotonic()
    signal.signal(signal.SIGALRM, too_long)
    chosen = [
        op for op in op_db() if op.full_name not in NA and re.search(options.ops, op.full_name)
    ]
    for i, op in enumerate(chosen):
        for unit in form_units(op) + mode_units(op):
            if not re.search(options.units, unit):
                continue
            forms = 1 if unit == "immediate" else max(1, options.samples // 2)
            signal.alarm(SECONDS)
            try:
                records[op.full_name, unit] = run(op, unit, options.samples, forms)
            finally:
                signal.alarm(0)
        if i % 50 == 49:
            compiler.clear_caches()
            print(f"{i + 1}/{len(chosen)} ops, {time.monotonic() - start:.0f} s", file=sys.stderr)
    return records


def too_long(*_) -> None:
    """What the alarm raises inside a check."""
    raise TimeoutError(f"a check took more than {SECONDS} s")


def report(records, samples) -> bool:
    """Print what is not as known, and the totals; whether anything is not."""
    bad = 0
    for (op, _), record in records.items():
        complaint = known.complaint(op, record, samples)
        if complaint:
            bad += 1
            print(f"{op}: {complaint}")
    asked = [r for r in records.values() if r.status != "none"]
    good = sum(r.status == "pass" for r in asked)
    print(f"{good} of {len(asked)} checks pass, {bad} are not as known")
    return bad > 0


sys.exit(main())
