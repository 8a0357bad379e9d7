"""The deferred engine: values, the prefix tree, programs and when they run; knows no tensors."""
