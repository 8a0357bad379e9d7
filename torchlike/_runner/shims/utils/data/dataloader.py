"""torch.utils.data.dataloader: the names of its iterators, for ``isinstance`` and annotations."""

from collections.abc import Callable
from typing import Any, TypeAlias

_collate_fn_t: TypeAlias = Callable[[list], Any]


class _DatasetKind:
    """The two kinds of data set: by index, and one after the other."""

    Map, Iterable = 0, 1


class _BaseDataLoaderIter:
    """An iterator of PyTorch's loader; none here is one."""


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """The one without workers."""


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """The one with workers."""
