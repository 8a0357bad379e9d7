"""torch.nn: what else libraries take from its modules."""
