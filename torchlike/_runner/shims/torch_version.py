"""torch.torch_version: the string ``torch.__version__``, which compares as a version."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torchlike.version import __version__ as _own

__all__ = ["TorchVersion"]

# https://packaging.python.org/en/latest/specifications/version-specifiers/
_FORM = re.compile(
    r"""\s*v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)
    (?:[-_.]?(?P<stage>alpha|a|beta|b|preview|pre|rc|c)[-_.]?(?P<pre>\d*))?
    (?:-(?P<after>\d+)|[-_.]?(?:post|rev|r)(?P<post>[-_.]?\d*))?
    (?:[-_.]?dev(?P<dev>[-_.]?\d*))?
    (?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_STAGES = {"a": 0, "alpha": 0, "b": 1, "beta": 1}  # and the others, which are candidates
_LAST = float("inf")


def _number(text: str) -> int:
    return int(text.strip("-_.") or 0)


def _key(text: str) -> tuple | None:
    """What versions are ordered by; None for what is no version."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    epoch, release, stage, pre, after, post, dev, local = found.groups()
    numbers = [int(n) for n in release.split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    if stage is not None:
        first = (_STAGES.get(stage.lower(), 2), _number(pre))
    else:  # a development version of the release itself stands before its first stage
        alone = dev is not None and after is None and post is None
        first = (-1 if alone else _LAST, 0)
    parts = re.split(r"[-_.]", local.lower()) if local else ()
    return (
        int(epoch or 0),
        numbers,
        first,
        int(after) if after else -1 if post is None else _number(post),
        _LAST if dev is None else _number(dev),
        [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts],
    )


class TorchVersion(str):
    """A string that compares as a version, with strings and with tuples of numbers."""

    __slots__ = ()
    __hash__ = str.__hash__


def _comparison(name: str):
    of_strings, of_keys = getattr(str, name), getattr(tuple, name)

    def compare(self, other):
        text = other
        if not isinstance(other, str):
            if not isinstance(other, Iterable):
                return of_strings(self, other)
            text = ".".join(map(str, other))
        mine, its = _key(str(self)), _key(text)
        if mine is None or its is None:
            return of_strings(self, other)
        return of_keys(mine, its)

    compare.__name__ = name
    return compare


for _name in ("__gt__", "__lt__", "__eq__", "__ge__", "__le__"):
    setattr(TorchVersion, _name, _comparison(_name))

TorchVersion.__module__ = "torch.torch_version"
# What programs compare with: the PyTorch whose names and behaviour these are.
__version__ = TorchVersion(f"2.13.0+torchlike.{_own}")
