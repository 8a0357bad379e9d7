"""Sparse tensors: indices and values, each dense, and the rules of the ops that take them."""

from torchlike._tensor.sparse import (  # noqa: F401
    accessors,
    arithmetic,
    embedding,
    functions,
    products,
    reductions,
)
