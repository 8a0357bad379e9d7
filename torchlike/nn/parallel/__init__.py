"""torch.nn.parallel: one module on several devices of this process.

A program that wraps its model in ``DataParallel`` runs on the one device that the model is on; the
functions below it work on accelerators only, as PyTorch's do.
"""

from torchlike.nn.parallel import comm as comm
from torchlike.nn.parallel.data_parallel import DataParallel, data_parallel
from torchlike.nn.parallel.distributed import DistributedDataParallel
from torchlike.nn.parallel.parallel_apply import parallel_apply
from torchlike.nn.parallel.replicate import replicate
from torchlike.nn.parallel.scatter_gather import gather, scatter

__all__ = [
    "DataParallel",
    "DistributedDataParallel",
    "data_parallel",
    "gather",
    "parallel_apply",
    "replicate",
    "scatter",
]
