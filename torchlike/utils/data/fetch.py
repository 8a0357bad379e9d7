"""Fetchers: from the indices of a batch to the batch, on the host."""

from __future__ import annotations

import numpy as np

from torchlike._tensor.host_reads import host_data, wrap_host
from torchlike._tensor.modes import modes
from torchlike.utils.data.collate import default_collate
from torchlike.utils.data.dataset import Subset, TensorDataset


def make_fetcher(kind: tuple[bool, bool, bool], dataset, collate_fn):
    """The fetcher of a loader; kind is whether the dataset is iterable, batched, drop_last."""
    iterable, batched, drop_last = kind
    if iterable:
        return IterableFetcher(dataset, batched, collate_fn, drop_last)
    return MapFetcher(dataset, batched, collate_fn)


class MapFetcher:
    """Samples by index; those of a ``TensorDataset`` with the default collating, by one gather."""

    def __init__(self, dataset, batched: bool, collate_fn):
        self.dataset, self.batched, self.collate_fn = dataset, batched, collate_fn
        self._rows = RowGather.of(dataset) if batched and collate_fn is default_collate else None

    def fetch(self, index):
        """The batch of a list of indices, or the sample of one index if there are no batches."""
        if self._rows is not None:
            batch = self._rows.gather(index)
            if batch is not None:
                return batch
        before, modes.host = modes.host, True
        try:
            dataset = self.dataset
            if not self.batched:
                samples = dataset[index]
            elif getattr(dataset, "__getitems__", None):
                samples = dataset.__getitems__(index)
            else:
                samples = [dataset[i] for i in index]
            return self.collate_fn(samples)
        finally:
            modes.host = before


class IterableFetcher:
    """Samples as they come; raises ``StopIteration`` when no batch is left."""

    def __init__(self, dataset, batched: bool, collate_fn, drop_last: bool):
        self._samples = iter(dataset)
        self.batched, self.collate_fn, self.drop_last = batched, collate_fn, drop_last
        self.ended = False

    def fetch(self, index):
        """The next samples, as many as ``index`` has entries."""
        if self.ended:
            raise StopIteration
        before, modes.host = modes.host, True
        try:
            if not self.batched:
                return self.collate_fn(next(self._samples))
            samples = []
            for _ in index:
                try:
                    samples.append(next(self._samples))
                except StopIteration:
                    self.ended = True
                    break
            if not samples or (self.drop_last and len(samples) < len(index)):
                raise StopIteration
            return self.collate_fn(samples)
        finally:
            modes.host = before


class RowGather:
    """A ``TensorDataset``, or subsets of one, whose batch is one gather for each tensor."""

    def __init__(self, tensors, rows: np.ndarray | None):
        self.tensors, self.rows = tensors, rows

    @classmethod
    def of(cls, dataset) -> RowGather | None:
        """The gather of a dataset whose own class and methods nobody has changed, or None."""
        rows = None
        while type(dataset) is Subset:
            try:
                wanted = np.asarray(dataset.indices)
            except (ValueError, TypeError, RuntimeError):
                return None
            if wanted.ndim != 1 or wanted.dtype != np.int64:
                return None
            try:
                rows = wanted if rows is None else wanted[rows]
            except IndexError:
                return None
            dataset = dataset.dataset
        if type(dataset) is not TensorDataset or not dataset.tensors:
            return None
        return cls(dataset.tensors, rows)

    def gather(self, index) -> list | None:
        """The batch, or None where it takes more than this."""
        if index.__class__ is not list:
            return None
        out = []
        try:
            wanted = np.array(index)
            if wanted.dtype != np.int64 or wanted.ndim != 1:
                return None
            if self.rows is not None:
                wanted = self.rows.take(wanted)
            for tensor in self.tensors:
                data = host_data(tensor)
                if data is None:
                    return None
                out.append(wrap_host(data.take(wanted, 0), tensor._value.aval.dtype))
        except IndexError:  # the samples one by one raise it with PyTorch's words
            return None
        return out
