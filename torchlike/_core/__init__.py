"""dtypes, devices, errors and settings: what every layer above may name; no arrays, no jax programs."""
