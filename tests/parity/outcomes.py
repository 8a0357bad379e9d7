"""What a call gave: guarded calls, comparisons that say what is wrong, the tally of a check."""

from __future__ import annotations

from dataclasses import dataclass

from . import compare, equivalents
from .specs import MissingName, TargetError, describe_exc


class Skip(Exception):
    """This sample says nothing (for instance, PyTorch itself raises)."""


class Fail(Exception):
    """This sample shows a difference."""


@dataclass
class Record:
    """What one check of one op found: how many samples it had, how many passed, the first fault."""

    unit: str
    samples: int
    passed: int
    fault: str | None

    @property
    def status(self) -> str:
        """``pass``, ``fail``, or ``none`` where nothing could be asked."""
        return "none" if not self.samples else "fail" if self.fault else "pass"


class Tally:
    """Counts over the samples of one check."""

    def __init__(self):
        self.samples = self.passed = self.weak = 0
        self.fault = self.skip = None

    def run(self, ask, sample) -> None:
        """``ask(sample)`` gives a set of flags, or raises Fail, Skip, TargetError, MissingName."""
        try:
            flags = ask(sample) or ()
        except Skip as e:
            self.skip = self.skip or str(e)
            return
        except (Fail, MissingName, TargetError) as e:
            what = f"missing name {e.name}" if isinstance(e, MissingName) else str(e)
            self.fault = self.fault or f"{what} at sample {sample!r}"
            self.samples += 1
            return
        self.samples += 1
        self.passed += 1
        self.weak += "weak" in flags

    def record(self, unit) -> Record:
        """The result; the fault of a check without samples is why it had none."""
        fault = self.fault if self.samples else self.skip or "no sample"
        return Record(unit, self.samples, self.passed, fault)


def call(bridge, f, sample, grad=False, widen=False):
    """The raw result of a call on fresh inputs."""
    x, args, kwargs = sample.build(bridge, grad, widen)
    return guarded(f, "call", x, *args, **kwargs)


def guarded(f, stage, *args, **kwargs):
    """A call whose exceptions become TargetErrors that name the stage."""
    try:
        return f(*args, **kwargs)
    except (MissingName, TargetError):
        raise
    except Exception as e:
        raise TargetError(stage, e) from e


def oracle(ask):
    """Ask PyTorch something; what it raises makes the sample useless."""
    try:
        return ask()
    except TargetError as e:
        raise Skip("PyTorch raises " + describe_exc(e.exc, 120)) from e
    except (Skip, Fail, MissingName):
        raise
    except Exception as e:
        raise Skip("PyTorch raises " + describe_exc(e, 120)) from e


def same_tree(a, b) -> bool:
    """Whether two trees agree in every bit."""
    return compare.compare(a, b, tol={}, scale=0.0).ok


def check_trees(op, sample, theirs, ours, flags, ref64=None, values=True):
    """Raise Fail unless our tree conforms to PyTorch's; add flags."""
    found = compare.compare(theirs, ours, ref64=ref64, values=values)
    if not found.ok and found.mismatch.cls == "value" and op.name in equivalents.EQUIVALENT:
        # an out= call gives (outs, whether they were returned)
        unwrap = getattr(sample, "unwrap", None) or (lambda tree: tree)
        try:
            wrong = equivalents.EQUIVALENT[op.name](sample, unwrap(theirs), unwrap(ours))
        except Exception as e:
            wrong = f"not checkable: {describe_exc(e, 80)}"
        if wrong is None:
            return
        raise Fail(f"{found.mismatch} (and {wrong})")
    if not found.ok:
        raise Fail(f"{found.mismatch.cls}: {found.mismatch}")
    if not values or found.weak:
        flags.add("weak")
