"""torch.fx.passes.infra: what passes are made of."""

__all__ = []
