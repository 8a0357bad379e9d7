"""torch.utils.data: what else libraries take from it."""
