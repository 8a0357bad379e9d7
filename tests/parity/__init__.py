"""The parity suite: PyTorch's own databases of ops and names, asked of this library."""
