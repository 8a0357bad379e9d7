"""Modules under PyTorch's private or unfinished names that unmodified programs import."""
