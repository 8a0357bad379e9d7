"""What ``torch.__future__`` sets: whether converting a module keeps its parameters' objects."""

from __future__ import annotations

overwrite = False  # a new Parameter for each that is converted
swap = False  # the old one, also where the new is of another kind, or assigned from a state dict
