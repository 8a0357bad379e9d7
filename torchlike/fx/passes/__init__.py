"""torch.fx.passes: what can be found out about graphs, and changes of them."""

__all__ = []
