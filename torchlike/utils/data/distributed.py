"""A sampler for training by several processes: each gets its own share of the samples."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator

from torchlike._tensor.generators import Generator
from torchlike.utils.data.dataset import Dataset
from torchlike.utils.data.sampler import Index, Sampler

__all__ = ["DistributedSampler"]


def _process_group():
    """torchlike.distributed, if there is one and it is available."""
    try:
        found = importlib.import_module("torchlike.distributed")
    except ModuleNotFoundError:
        found = None
    if found is None or not found.is_available():
        raise ValueError(
            "Default process group has not been initialized, please make sure to call "
            "init_process_group."
        )
    return found


class DistributedSampler(Sampler[Index]):
    """The indices of one of several processes, in an order drawn from seed and epoch (https://pytorch.org/docs/stable/data.html#torch.utils.data.distributed.DistributedSampler).

    All shares are of one length: some samples are repeated for that, or with ``drop_last`` left
    out. Raises ``ValueError`` for a rank that is not below ``num_replicas``, and ``RuntimeError``
    where one of the two is not given and there is no process group to ask.
    """

    def __init__(
        self,
        dataset: Dataset,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None:
            num_replicas = _process_group().get_world_size()
        if rank is None:
            rank = _process_group().get_rank()
        if rank >= num_replicas or rank < 0:
            raise ValueError(
                f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            )
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        length = len(dataset)
        if drop_last and length % num_replicas:
            self.num_samples = math.ceil((length - num_replicas) / num_replicas)
        else:
            self.num_samples = math.ceil(length / num_replicas)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[int]:
        length = len(self.dataset)
        if self.shuffle:
            stream = Generator().manual_seed(self.seed + self.epoch).stream
            indices = stream.randperm(length).tolist()
        else:
            indices = list(range(length))
        if self.drop_last:
            indices = indices[: self.total_size]
        else:
            missing = self.total_size - len(indices)
            times = math.ceil(missing / len(indices)) if indices else 0
            indices += (indices * times)[:missing]
        if len(indices) != self.total_size:
            raise AssertionError(
                f"Number of indices ({len(indices)}) does not match total_size ({self.total_size})"
            )
        return iter(indices[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iterations."""
        self.epoch = epoch
