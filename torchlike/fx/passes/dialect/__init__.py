"""torch.fx.passes.dialect: passes by the operators that they know."""

__all__ = []
