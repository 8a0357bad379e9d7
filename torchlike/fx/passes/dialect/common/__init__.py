"""torch.fx.passes.dialect.common: passes for all operators."""

__all__ = []
