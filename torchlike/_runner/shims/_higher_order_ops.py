"""``torch._higher_order_ops``: control flow over functions of tensors."""

from torchlike._higher_order_ops import associative_scan, cond, map, scan, while_loop

__all__ = ["associative_scan", "cond", "map", "scan", "while_loop"]
