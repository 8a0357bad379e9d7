"""NumPy twins of the most frequent ops, and their shape rules: a new shape costs them no trace."""
TWINS: dict = {}
