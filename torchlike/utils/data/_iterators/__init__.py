"""Passes over a loader: in this process, or by workers that are given tasks ahead of time."""

from torchlike.utils.data._iterators.local import LocalIterator as LocalIterator
from torchlike.utils.data._iterators.local import PassIterator as PassIterator
from torchlike.utils.data._iterators.processes import ProcessIterator as ProcessIterator
from torchlike.utils.data._iterators.processes import parts_of as parts_of
from torchlike.utils.data._iterators.tasks import TaskIterator as TaskIterator
from torchlike.utils.data._iterators.turns import TurnsIterator as TurnsIterator
