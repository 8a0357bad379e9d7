"""torch.utils.deterministic: a setting without effect, as nothing here is uninitialized."""

fill_uninitialized_memory = True
