"""torch.utils' private modules."""
