"""What a call of a compiled function does to the engine while it is recorded for replay."""

from __future__ import annotations

import functools
import sys
from dis import _parse_exception_table as _tries

from torchlike._core import errors
from torchlike._engine.prefix import local
from torchlike._engine.values import Value

# Functions of what else a call may depend on: those above put theirs here.
surroundings: list = []


class Capture:
    """One call that is being recorded as one segment, and all that the segment does not tell.

    actions     what has to be done again before a replay, in order: draws of random numbers, the
                numbers of optimizers, steps of schedules (see ``draw``, ``number``, ``replayable``)
    constants   by identity, the host's Values that the call made of plain Python data
    cuts        pieces to be cut out of flat values at the end (see ``cut_from``)
    casts       what autocast keeps of the casts of weights, until the call ends
    broken      (why, user's line) of what made it impossible to keep the call in one program
    start       the number of the first tape node that the call makes
    caller      the code that runs the call
    """

    __slots__ = (
        "actions", "broken", "caller", "casts", "constants", "cuts", "gradients", "inside",
        "segment", "start", "strict",
    )  # fmt: skip

    def __init__(self, segment, strict: bool = False, start: int = 0):
        self.segment, self.strict, self.start = segment, strict, start
        self.caller = sys._getframe(1).f_code
        self.actions: list = []
        self.cuts: list = []
        self.constants: dict[int, Value] = {}
        self.casts: dict = {}
        self.broken: tuple[str, str] | None = None
        self.gradients = False  # whether somebody has looked at a ``.grad``, or set one
        self.inside = 0  # calls that are done again as a whole: what they do is not noted

    def keeps(self, why: str) -> bool:
        """Whether a flush has to wait for the end of the call."""
        if self.broken is not None:
            return False
        if why == "value":
            self.refuse("a value is needed")
        elif why == "device":
            self.refuse("tensors of several devices")
        elif why in ("clear", "memory", "profiler", "synchronize"):
            self.refuse(f"{why} in the middle of the call")
        else:
            return True
        return False

    def reads_history(self, number: int) -> None:
        """Note that the tape node of this number is looked at: another tensor's has other nodes."""
        if number < self.start:
            self.refuse("the history of a tensor is read")

    def refuse(self, why: str) -> None:
        """Note that the call cannot be replayed; an error under ``fullgraph``."""
        if self.broken is None:
            self.broken = (why, errors.user_line())
            if self.strict:
                raise errors.Unsupported(why, self.broken[1])

    def reads(self, value: Value) -> None:
        """Called when the host reads numbers: those of a constant are the same the next time."""
        if self.constants.get(id(value)) is not value and self.broken is None:
            self.refuse("a value is needed")

    def is_tried(self) -> bool:
        """Whether the call itself might catch what is raised now, in a ``try`` or a ``with``."""
        frame = sys._getframe(1)
        while frame is not None and frame.f_code is not self.caller:
            code = frame.f_code
            tries = () if code.co_filename.startswith(errors.PACKAGE) else _tries(code)
            if any(at.start <= frame.f_lasti < at.end for at in tries):
                return True
            frame = frame.f_back
        return False

    def constant(self, value: Value) -> None:
        """Note a Value made of Python data."""
        self.constants[id(value)] = value

    def draw(self, value: Value, again) -> None:
        """Note a Value of random numbers; ``again()`` draws the next array."""
        self.constants.pop(id(value), None)
        self.actions.append(("draw", value, again))

    def numbers(self, again, kinds: tuple) -> None:
        """Note that the next run-time numbers of the segment are what ``again()`` gives then."""
        floats, ints = len(self.segment.floats), len(self.segment.ints)
        self.actions.append(("numbers", again, kinds, floats, ints))


def at_hand(value: Value):
    """The array of a value on the CPU whose numbers the host may look at now, else None.

    None, too, while a call is recorded for replay: the next call may bring other numbers.
    """
    array = value.array
    if array is None or value.is_traced() or value.aval.device.type != "cpu":
        return None
    capture = local.capture
    if capture is not None and capture.constants.get(id(value)) is not value:
        return None
    return array


def replayable(method):
    """Decorator of a method that changes Python state only: a replay calls it again."""

    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        capture = local.capture
        if capture is None or capture.inside:
            return method(self, *args, **kwargs)
        capture.actions.append(("call", wrapper, self, args, kwargs))
        capture.inside += 1
        try:
            return method(self, *args, **kwargs)
        finally:
            capture.inside -= 1

    return wrapper
