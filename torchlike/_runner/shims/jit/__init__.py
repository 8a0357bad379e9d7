"""torch.jit: the mark of constants, which only TorchScript's compiler reads."""

from typing import Final as Final
