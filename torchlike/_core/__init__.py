"""dtypes, devices, errors, settings: what every layer above may name; no arrays, no programs."""
