"""torch.utils.data.datapipes: datasets that are built by chaining small steps."""

from torchlike.utils.data.datapipes import iter as iter
from torchlike.utils.data.datapipes import map as map

__all__ = ["iter", "map"]
