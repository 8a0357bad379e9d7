"""torch._dynamo._trace_wrapped_higher_order_op: a mode for indices that ``vmap`` maps over."""

from contextlib import nullcontext


class TransformGetItemToIndex(nullcontext):
    """Nothing: indexing with a mapped tensor works as it stands."""
