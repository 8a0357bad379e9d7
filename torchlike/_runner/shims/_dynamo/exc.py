"""torch._dynamo.exc: the errors of PyTorch's tracer; torch.export raises one of them."""

from torchlike._core.errors import FailOnRecompileLimitHit as FailOnRecompileLimitHit
from torchlike._core.errors import TorchDynamoException as TorchDynamoException
from torchlike._core.errors import UserError as UserError


class Unsupported(TorchDynamoException):
    """The tracer met what it does not support."""


class InternalTorchDynamoError(TorchDynamoException):
    """The tracer failed."""


class BackendCompilerFailed(TorchDynamoException):
    """The compiler behind the tracer failed."""
