"""torch._functorch: what torchlike.func is, under its private name; only settings have a place."""

from torchlike._runner.shims._functorch import config as config
