"""The user's lines that force flushes: how often, and whether what they compile pays."""

from __future__ import annotations

from torchlike._core import errors


class Place:
    """A line of the user's code that forces flushes: does compiling pay there?"""

    __slots__ = ("always", "code", "compiled", "flushes", "fresh", "line", "reused", "row", "why")

    def __init__(self, why: str, line: str, always: bool = False, code=None):
        self.why, self.line = why, line
        self.code = code  # keeps alive whose id it is found by
        self.always = always  # whether to compile at once: the user has asked for it
        self.flushes = 0  # counted into the statistics when they are asked for
        self.reused = True  # whether an earlier program has paid
        self.fresh = 0  # keys that were not compiled at once since then
        self.row = 0  # uses of programs without a new key between
        self.compiled = 0  # programs that were made since a long row; large ones count more


_places: dict = {}
_MAX_PLACES = 10_000


def place_of(why: str) -> Place:
    """The record of the user's line that is running now."""
    frame = errors.user_frame()
    # By id: the hash of a code object is that of all its names and constants, of nested ones too,
    # which takes 15 us for a script of some length.
    key = (id(frame.f_code), frame.f_lasti, why)
    place = _places.get(key)
    if place is None:
        if len(_places) > _MAX_PLACES:
            _places.clear()
        line = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        place = _places[key] = Place(why, line, code=frame.f_code)
    return place


def place_of_function(function, why: str) -> Place:
    """The record of a compiled function, whose segments are always programs."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    line = repr(function) if code is None else f"{code.co_filename}:{code.co_firstlineno}"
    place = _places[code or id(function), why] = Place(why, line, True)
    return place


def flush_lines(clear: bool = False) -> dict[str, int]:
    """How many flushes each line of the user's code forced, most first."""
    counts: dict[str, int] = {}
    for place in _places.values():
        if place.flushes:
            name = f"{place.why} at {place.line}"
            counts[name] = counts.get(name, 0) + place.flushes
            if clear:
                place.flushes = 0
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def forget() -> None:
    """Forget every line."""
    _places.clear()
