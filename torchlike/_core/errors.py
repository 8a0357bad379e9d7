"""Errors of our own and the way from a frame to the user's line."""

from __future__ import annotations

import copyreg
import os
import sys
import warnings

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class DeviceMismatch(RuntimeError):
    """Operands of one call are on different devices."""


class SparseOperand(NotImplementedError):
    """A sparse tensor came to what is only defined for dense ones; dispatch looks for a rule."""

    def __reduce__(self):
        return _renamed, ("SparseOperand", *self.args)


class SparseView(Exception):
    """Carries what a view op makes of a sparse tensor past the code that shares storages."""

    def __init__(self, result):
        super().__init__("a view of a sparse tensor")
        self.result = result


class _Worded:
    """An error whose ``__init__`` writes its text: a copy or one from another process has it."""

    def __reduce__(self):
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__ or None


class NotSupported(_Worded, NotImplementedError):
    """Something PyTorch has and torchlike has not: names it and the way out."""

    def __init__(self, what: str, instead: str = ""):
        super().__init__(f"torchlike does not support {what}" + (f"; {instead}" if instead else ""))


class NotTraceable(NotSupported):
    """What a function given to cond, while_loop, scan or map may not do: it is run once only."""

    def __init__(self, what: str):
        self.what = what
        super().__init__(
            f"{what} inside the function given to cond, while_loop, scan, associative_scan or map",
            "compute it outside and hand it in, or write the loop in Python",
        )


class Unsupported(_Worded, RuntimeError):
    """What stops a function compiled with ``fullgraph=True`` from being one program."""

    def __init__(self, why: str, line: str):
        super().__init__(
            f"fullgraph=True, but {why} at {line}: the call cannot be one program. Keep it out of "
            "the compiled function, or compile without fullgraph."
        )
        self.why, self.line = why, line


class TorchDynamoException(RuntimeError):
    """PyTorch's base of what its tracers raise (``torch._dynamo.exc``)."""


class FailOnRecompileLimitHit(Exception):
    """A compiled function meets another case than those recorded, which are as many as may be."""


class UserError(TorchDynamoException):
    """A function cannot be exported as it was asked for."""


class GuardOnDataDependentSymNode(RuntimeError):
    """Python code needs a number that only the run of an exported program knows."""


REQUIREMENT = "require"  # the op whose statics are the name of an error and its text
NONZERO = "_by_nonzero"  # ends the names of integer divisions that look at their divisor


class LinAlgError(RuntimeError):
    """A matrix that an algorithm cannot take: singular, or not positive-definite."""


LinAlgError.__module__, LinAlgError.__name__ = "torchlike.linalg", "_LinAlgError"
_NO_SVD = (
    "linalg.svd: The algorithm failed to converge because the input matrix contained non-finite "
    "values."
)
_NO_EIG = "torch.linalg.eig: input tensor should not contain infs or NaNs."
# What raises where LAPACK says that it could not do with a matrix: its number in the batch and the
# code are put in.
FAILURE = "refuse_failed"  # the op whose statics are one of these and the name of the function
MOST_CODES = 1 << 32  # a program reports the matrix's number times this, the code, and 1
FAILURES = {
    "inverse": (
        LinAlgError,
        "{name}: {where}The diagonal element {code} is zero, the inversion could not be completed "
        "because the input matrix is singular.",
    ),
    "solution": (
        LinAlgError,
        "{name}: {where}The solver failed because the input matrix is singular.",
    ),
    "cholesky": (
        LinAlgError,
        "{name}: {where}The factorization could not be completed because the input is not "
        "positive-definite (the leading minor of order {code} is not positive-definite).",
    ),
    "lu": (
        RuntimeError,
        "{name}: {where}U[{code},{code}] is zero and using it on lu_solve would result in a "
        "division by zero. If you still want to perform the factorization, consider calling "
        "linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)",
    ),
    "ldl": (RuntimeError, "{name}: {where}D[{code},{code}] is zero: the matrix is singular"),
}


def failure(kind: str, name: str, matrix: int | None, code: int) -> RuntimeError:
    """The error of a matrix of a batch, or of the one that there is."""
    error, text = FAILURES[kind]
    where = "" if matrix is None else f"(Batch element {matrix}): "
    return error(text.format(name=name, where=where, code=code))


# What an op that is not given numbers raises, at the next value that is looked at.
NOT_FINITE = dict.fromkeys(
    ("linalg_svd", "linalg_svdvals", "linalg_pinv", "linalg_matrix_rank"), (LinAlgError, _NO_SVD)
) | {"linalg_eig": (RuntimeError, _NO_EIG)}


class BadIndex(IndexError, RuntimeError):
    """An index out of range: PyTorch raises the one type for some ops and the other for others."""

    def __reduce__(self):
        return _renamed, ("BadIndex", *self.args)


def _renamed(kind: str, *args):
    """Of a class that does not go by its name in this file."""
    return globals()[kind](*args)


# What a program prints of an error, or the interpreter at its end, says what PyTorch's does.
for _cls, _name in (BadIndex, "IndexError"), (SparseOperand, "NotImplementedError"):
    _cls.__name__ = _cls.__qualname__ = _name
    _cls.__module__ = "builtins"


def user_frame():
    """The innermost frame outside this package, or the outermost one there is."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(PACKAGE):
        back = frame.f_back
        if back is None:
            return frame
        frame = back
    return frame


def user_line() -> str:
    """``file:line`` of the innermost frame outside this package."""
    frame = user_frame()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def argument_place(parameter: str, function: str, at: int) -> str:
    """``sum(): argument 'dim' (position 2)``, by the function that the program called.

    ``function`` and ``at`` stand where no function on the way has such a parameter.
    """
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        code = frame.f_code
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        inner = code.co_name.startswith("_") or "_ops" + os.sep in code.co_filename
        if parameter in names and not inner and code.co_name not in ("forward", "argument_place"):
            function, at = code.co_name, names.index(parameter)
        frame = frame.f_back
    return f"{function}(): argument '{parameter}' (position {at + 1})"


def not_a_tensor(error: AttributeError) -> TypeError | None:
    """What to tell of an argument that was asked for what only a tensor has; None for others.

    A function need not look at the class of its arguments first: those that are no tensors show
    themselves here, at no cost to those that are.
    """
    known = error.name in ("_value", "_sparse", "_chain", "_base") or hasattr(TENSOR[0], error.name)
    if not known or isinstance(error.obj, TENSOR[0]):
        return None
    frame, trace = sys._getframe(1), error.__traceback__
    frames = []
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    frames.reverse()  # the innermost first
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frames.append(frame)
        frame = frame.f_back
    place = None
    for frame in frames:
        code, values = frame.f_code, frame.f_locals
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        for at, name in enumerate(names):
            if values.get(name) is error.obj and not code.co_name.startswith("_"):
                place = f"{code.co_name}(): argument '{name}' (position {at + 1})"
    return place and TypeError(f"{place} must be Tensor, not {type_name(error.obj)}")


TENSOR: list = []  # the class; tensor.py puts it here


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the user's line, however deep inside this package the reason was found."""
    frame, level = sys._getframe(1), 2
    while frame.f_code.co_filename.startswith(PACKAGE) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


_given: set[str] = set()


always = False  # whether a process hears of the same again (torch.set_warn_always)


def warn_once(message: str) -> None:
    """The same, but a process hears of it only once."""
    if always or message not in _given:
        _given.add(message)
        warn(message)


_HEAP_TYPE = 1 << 9  # a class that is made at run time, as those written in Python are


def type_name(x) -> str:
    """PyTorch's name of an object's class: with its module if it is written in C."""
    kind = type(x)
    if kind.__flags__ & _HEAP_TYPE or kind.__module__ == "builtins":
        return kind.__name__
    return f"{kind.__module__}.{kind.__name__}"
