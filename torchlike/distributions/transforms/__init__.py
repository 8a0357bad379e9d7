"""torch.distributions.transforms: invertible maps with their Jacobians."""

from torchlike.distributions.transforms.base import ComposeTransform as ComposeTransform
from torchlike.distributions.transforms.base import IndependentTransform as IndependentTransform
from torchlike.distributions.transforms.base import ReshapeTransform as ReshapeTransform
from torchlike.distributions.transforms.base import Transform as Transform
from torchlike.distributions.transforms.base import _InverseTransform as _InverseTransform
from torchlike.distributions.transforms.base import identity_transform as identity_transform
from torchlike.distributions.transforms.joined import CatTransform as CatTransform
from torchlike.distributions.transforms.joined import StackTransform as StackTransform
from torchlike.distributions.transforms.pointwise import AbsTransform as AbsTransform
from torchlike.distributions.transforms.pointwise import AffineTransform as AffineTransform
from torchlike.distributions.transforms.pointwise import (
    CumulativeDistributionTransform as CumulativeDistributionTransform,
)
from torchlike.distributions.transforms.pointwise import ExpTransform as ExpTransform
from torchlike.distributions.transforms.pointwise import PowerTransform as PowerTransform
from torchlike.distributions.transforms.pointwise import SigmoidTransform as SigmoidTransform
from torchlike.distributions.transforms.pointwise import SoftplusTransform as SoftplusTransform
from torchlike.distributions.transforms.pointwise import TanhTransform as TanhTransform
from torchlike.distributions.transforms.pointwise import _clipped_sigmoid as _clipped_sigmoid
from torchlike.distributions.transforms.vectors import (
    CorrCholeskyTransform as CorrCholeskyTransform,
)
from torchlike.distributions.transforms.vectors import (
    LowerCholeskyTransform as LowerCholeskyTransform,
)
from torchlike.distributions.transforms.vectors import (
    PositiveDefiniteTransform as PositiveDefiniteTransform,
)
from torchlike.distributions.transforms.vectors import SoftmaxTransform as SoftmaxTransform
from torchlike.distributions.transforms.vectors import (
    StickBreakingTransform as StickBreakingTransform,
)

__all__ = [
    "AbsTransform", "AffineTransform", "CatTransform", "ComposeTransform", "CorrCholeskyTransform",
    "CumulativeDistributionTransform", "ExpTransform", "IndependentTransform",
    "LowerCholeskyTransform", "PositiveDefiniteTransform", "PowerTransform", "ReshapeTransform",
    "SigmoidTransform", "SoftmaxTransform", "SoftplusTransform", "StackTransform",
    "StickBreakingTransform", "TanhTransform", "Transform", "identity_transform",
]  # fmt: skip
