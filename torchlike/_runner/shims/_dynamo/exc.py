"""torch._dynamo.exc: the errors of PyTorch's tracer, which never runs here."""


class TorchDynamoException(RuntimeError):
    """The base of them."""


class Unsupported(TorchDynamoException):
    """The tracer met what it does not support."""


class InternalTorchDynamoError(TorchDynamoException):
    """The tracer failed."""


class BackendCompilerFailed(TorchDynamoException):
    """The compiler behind the tracer failed."""


class UserError(Unsupported):
    """The program did what may not be traced."""
