"""torch._higher_order_ops: control flow over functions of tensors, on lax."""

from torchlike._higher_order_ops.associative_scan import associative_scan
from torchlike._higher_order_ops.cond import cond
from torchlike._higher_order_ops.map import map
from torchlike._higher_order_ops.scan import scan
from torchlike._higher_order_ops.while_loop import while_loop

__all__ = ["associative_scan", "cond", "map", "scan", "while_loop"]

_shadowed = tuple(__all__)  # modules that are not found by their names: the functions have them
