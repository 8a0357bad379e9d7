"""torch.random: seeds and states of the generators."""

from torchlike._tensor.generators import default_generator as default_generator
from torchlike._tensor.generators import fork_rng as fork_rng
from torchlike._tensor.generators import get_rng_state as get_rng_state
from torchlike._tensor.generators import initial_seed as initial_seed
from torchlike._tensor.generators import manual_seed as manual_seed
from torchlike._tensor.generators import seed as seed
from torchlike._tensor.generators import set_rng_state as set_rng_state
from torchlike._tensor.generators import thread_safe_generator as thread_safe_generator

__all__ = [
    "default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed",
    "set_rng_state", "thread_safe_generator",
]  # fmt: skip
