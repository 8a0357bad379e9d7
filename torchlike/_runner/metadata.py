"""What ``importlib.metadata`` answers about torch and torchvision while the runner stands in."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator

# The releases whose names and behaviour these are.
VERSIONS = {"torch": "2.13.0", "torchvision": "0.28.0"}


class Distribution(importlib.metadata.Distribution):
    """A package that is installed by name only: it has a version, and no files."""

    def __init__(self, name: str):
        self._name = name

    def read_text(self, filename: str) -> str | None:
        """The text of METADATA; None for any other file."""
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: {self._name}\nVersion: {VERSIONS[self._name]}\n"

    def locate_file(self, path):
        """Raises ``FileNotFoundError``: there are none."""
        raise FileNotFoundError(f"{self._name} is torchlike: it has no file {path}")


def distributions(context: importlib.metadata.DistributionFinder.Context) -> Iterator[Distribution]:
    """The packages that a question is about: one by name, or all."""
    asked = None if context.name is None else re.sub(r"[-_.]+", "-", context.name).lower()
    return iter([Distribution(name) for name in VERSIONS if asked in (None, name)])
