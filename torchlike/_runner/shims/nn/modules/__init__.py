"""torch.nn.modules: what else libraries take from it."""
