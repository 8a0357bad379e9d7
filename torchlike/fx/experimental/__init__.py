"""torch.fx.experimental: larger changes of graphs."""

__all__ = []
