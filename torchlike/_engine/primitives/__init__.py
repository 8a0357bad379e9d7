"""XLA's primitives in NumPy: for each name, how to build the function that computes one equation.

A builder takes the equation's parameters and the abstract values of its operands and results, and
returns a function of arrays. The numbers must be XLA's: integers wrap, division truncates, a shift
by the whole width gives 0, nan wins in max and min, an index out of range clamps or drops.
"""

from torchlike._engine.primitives import (  # noqa: F401
    elementwise,
    factors,
    gathers,
    moves,
    order,
    products,
    reductions,
)
from torchlike._engine.primitives.registry import BUILDERS as BUILDERS
from torchlike._engine.primitives.registry import ELEMENTWISE as ELEMENTWISE
from torchlike._engine.primitives.registry import Unsupported as Unsupported
