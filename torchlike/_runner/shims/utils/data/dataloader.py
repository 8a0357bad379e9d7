"""torch.utils.data.dataloader: the names of its iterators, for ``isinstance`` and annotations."""


class _BaseDataLoaderIter:
    """An iterator of PyTorch's loader; none here is one."""


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """The one without workers."""


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """The one with workers."""
