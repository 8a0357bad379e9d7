"""torch._inductor: PyTorch's code generator; here XLA is, and only the settings have a place."""

from torchlike._runner.shims._inductor import config as config
