"""torch.utils.data.dataloader: the names of its iterators, for ``isinstance`` and annotations."""

from collections.abc import Callable
from typing import Any, TypeAlias

from torchlike.utils.data._iterators import LocalIterator as _SingleProcessDataLoaderIter  # noqa: F401
from torchlike.utils.data._iterators import PassIterator as _BaseDataLoaderIter  # noqa: F401
from torchlike.utils.data._iterators import TaskIterator as _MultiProcessingDataLoaderIter  # noqa: F401

_collate_fn_t: TypeAlias = Callable[[list], Any]


class _DatasetKind:
    """The two kinds of data set: by index, and one after the other."""

    Map, Iterable = 0, 1
