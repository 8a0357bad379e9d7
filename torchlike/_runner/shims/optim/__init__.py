"""torch.optim: what else libraries take from its modules."""
