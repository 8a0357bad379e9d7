"""Tensor, storage and views, dispatch, the tape: the mutable facade over the engine's values."""
