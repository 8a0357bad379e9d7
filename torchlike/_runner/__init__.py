"""Unmodified PyTorch programs on torchlike: ``import torch`` finds this package."""
