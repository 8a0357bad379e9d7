"""torch.optim.lr_scheduler: learning-rate schedules."""

from torchlike.optim.lr_scheduler.composed import ChainedScheduler as ChainedScheduler
from torchlike.optim.lr_scheduler.composed import SequentialLR as SequentialLR
from torchlike.optim.lr_scheduler.cycles import (
    CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts,
)
from torchlike.optim.lr_scheduler.cycles import CyclicLR as CyclicLR
from torchlike.optim.lr_scheduler.cycles import OneCycleLR as OneCycleLR
from torchlike.optim.lr_scheduler.decay import ConstantLR as ConstantLR
from torchlike.optim.lr_scheduler.decay import CosineAnnealingLR as CosineAnnealingLR
from torchlike.optim.lr_scheduler.decay import ExponentialLR as ExponentialLR
from torchlike.optim.lr_scheduler.decay import LambdaLR as LambdaLR
from torchlike.optim.lr_scheduler.decay import LinearLR as LinearLR
from torchlike.optim.lr_scheduler.decay import MultiplicativeLR as MultiplicativeLR
from torchlike.optim.lr_scheduler.decay import MultiStepLR as MultiStepLR
from torchlike.optim.lr_scheduler.decay import PolynomialLR as PolynomialLR
from torchlike.optim.lr_scheduler.decay import StepLR as StepLR
from torchlike.optim.lr_scheduler.plateau import ReduceLROnPlateau as ReduceLROnPlateau
from torchlike.optim.lr_scheduler.scheduler import (
    EPOCH_DEPRECATION_WARNING as EPOCH_DEPRECATION_WARNING,
)
from torchlike.optim.lr_scheduler.scheduler import LRScheduler as LRScheduler
from torchlike.optim.lr_scheduler.scheduler import _LRScheduler as _LRScheduler

__all__ = [
    "EPOCH_DEPRECATION_WARNING",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]

for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__  # the name that reprs and pickles know them by
