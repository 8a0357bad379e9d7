"""torch._dynamo.config: ``torchlike.compiler.config``, and what else programs set there."""

import sys

from torchlike.compiler import config

# Settings of PyTorch's tracer that nothing here reads.
for _name in ("optimize_ddp", "inline_inbuilt_nn_modules"):
    vars(config).setdefault(_name, True)
sys.modules[__name__] = config
