"""torch.utils.data._utils: what else libraries take from it."""
