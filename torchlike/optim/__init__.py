"""torch.optim: optimizers and learning-rate schedules."""

from torchlike.optim import lr_scheduler as lr_scheduler
from torchlike.optim.adam import Adam as Adam
from torchlike.optim.adam import AdamW as AdamW
from torchlike.optim.optimizer import Optimizer as Optimizer
from torchlike.optim.rmsprop import RMSprop as RMSprop
from torchlike.optim.sgd import SGD as SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]
