"""torch._subclasses: tensors without data."""
