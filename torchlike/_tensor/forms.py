"""From one op record to its public forms: function, method, in-place method and ``out=``."""

from __future__ import annotations

import inspect
from collections import namedtuple
from collections.abc import Iterable
from functools import partial, wraps
from types import FunctionType

from torchlike._core import dtypes as dt
from torchlike._core.errors import PACKAGE, not_a_tensor
from torchlike._core.sizes import Size
from torchlike._ops.table import TABLE, Arrays, Dim, Dims, Dtype, Number, Op, Shape, is_input
from torchlike._tensor import dispatch, older_calls
from torchlike._tensor.host_data import check_limit
from torchlike._tensor.modes import memory_lock

FUNCTIONS: dict = {}  # public functions of the top-level namespace, by name
METHODS: dict = {}  # methods of Tensor, by name
RETURN_TYPES: dict = {}  # the named tuples of functions with several results
_LIMITS = {"clamp": ("min", "max"), "clamp_min": ("min",), "clamp_max": ("max",)}
# Ops whose kernels in PyTorch do not cast: ``out=`` must have the result's own dtype.
_EXACT = frozenset((
    "addbmm", "addmm", "addmv", "amax", "amin", "argmax", "argmin", "baddbmm",
    "bitwise_not", "bmm", "ceil", "complex", "diagonal_copy", "dot", "floor", "frac", "heaviside",
    "log_softmax", "logcumsumexp", "mm", "msort", "mv", "ormqr", "renorm", "softmax", "tril",
    "triu", "vdot",
))  # fmt: skip
# Others say it in words of their own.
_EXACT_WORDS = dict.fromkeys(
    ("hardshrink", "neg", "polar", "round", "sgn", "sign", "trunc"),
    "Found dtype {got} but expected {want}",
) | {
    **dispatch.FLAGS_OUT,
    "inner": dispatch.CONTRACTED_OUT,
    "isneginf": "isneginf does not support non-boolean outputs.",
    "isposinf": "isposinf does not support non-boolean outputs.",
    "nan_to_num": "nan_to_num: dtype of out: {got} should be same as input: {want}",
    "signbit": "signbit does not support non-boolean outputs.",
}  # fmt: skip
_UNSET = type("_Unset", (), {"__repr__": lambda self: "<unset>"})()
_SEQUENCES = (tuple, list, Size)


def structseq(name: str, fields):
    """A result type like ``torch.return_types.max``: a named tuple that prints as PyTorch's."""
    base = namedtuple(name, fields)

    def show(self):
        body = ",\n".join(f"{f}={v!r}" for f, v in zip(fields, self, strict=True))
        return f"torch.return_types.{name}(\n{body})"

    def make(cls, *results):
        if len(results) == 1:  # as PyTorch's are made
            (given,) = results
            if not isinstance(given, Iterable):
                raise TypeError("constructor requires a sequence")
            results = tuple(given)
        if len(results) != size:
            raise TypeError(
                f"torch.return_types.{name}() takes a {size}-sequence "
                f"({len(results)}-sequence given)"
            )
        return tuple.__new__(cls, results)

    size = len(base._fields)
    counts = {"n_fields": size, "n_sequence_fields": size, "n_unnamed_fields": 0}
    scope = {"__slots__": (), "__new__": make, "__repr__": show, **counts}
    scope["__module__"] = "torchlike.return_types"
    made = RETURN_TYPES[name] = type(name, (base,), scope)
    return made


def build(op: Op, form: str, name: str | None = None, fields=None):
    """The Python function of one form of an op, with PyTorch's signature.

    Its code is written and compiled at the first call: a program uses few of the many forms, and
    compiling all took half of the import.
    """
    name = name or op.name + ("_" if form == "inplace" else "")
    scope = {
        "OP": op,
        "apply": dispatch.apply_inplace if form == "inplace" else dispatch.apply,
        "copy_out": dispatch.copy_out,
        "UNSET": _UNSET,
        "SEQ": _SEQUENCES,
        "FIELDS": fields,
        "as_dtype": dt.as_dtype,
    }
    if op.name in older_calls.LEADING:
        scope["older"] = lambda *given: older_calls.rearranged(function, form, op, given)
    function = FunctionType(_first_call.__code__, scope, name)
    scope["become"] = partial(_become, function, op, form)
    function.__doc__ = op.fn.__doc__ or f"{op.name}, elementwise."
    function.__module__ = "torchlike"
    function.__qualname__ = f"Tensor.{name}" if form != "function" else name
    return function


def _first_call(*args, **kwargs):
    return become()(*args, **kwargs)  # noqa: F821  (a name of the form's own scope)


def _become(function: FunctionType, op: Op, form: str) -> FunctionType:
    """Give a form its real code and signature."""
    scope = function.__globals__
    source = _source(op, form, function.__name__, scope)
    made: dict = {}
    exec(compile(source, f"{PACKAGE}forms/{op.name}.{form}", "exec"), scope, made)
    real = made[function.__name__]
    function.__defaults__, function.__kwdefaults__ = real.__defaults__, real.__kwdefaults__
    function.__code__ = real.__code__
    return function


def _source(op: Op, form: str, name: str, scope: dict) -> str:
    """The source of a form; default values and what it calls go into its scope."""
    fields = scope["FIELDS"]
    signature, prologue, starred = [], [], False
    first_shape = next((p.name for p in op.statics if p.annotation is Shape), None)
    variadic = form in ("method", "inplace") and "variadic" in op.forms
    needed_dim = _needed_dim(op)
    older = op.name in older_calls.LEADING
    for p in op.params:
        if p.kind is p.KEYWORD_ONLY and not starred:
            signature.append("*more" if older else "*")
            starred = True
        if p.name == first_shape and variadic:
            signature.append(f"*{p.name}")
            starred = True
            prologue.append(f"if len({p.name}) == 1 and {p.name}[0].__class__ in SEQ:")
            prologue.append(f"    {p.name} = {p.name}[0]")
            continue
        text = p.name
        if p.default is not inspect.Parameter.empty:
            scope[f"D_{p.name}"] = p.default
            text += f"=D_{p.name}"
        elif p is needed_dim:
            text += "=UNSET"
        signature.append(text)
    extra = []
    if any(p.annotation in (Dim, Dims) and p.name == "dim" for p in op.params):
        extra.append("axis=UNSET")
        prologue += ["if axis is not UNSET:", "    dim = dim_as('axis', axis, dim, D_dim)"]
        scope["dim_as"] = partial(_dim_as, name)
        scope.setdefault("D_dim", _UNSET)
    if needed_dim is not None:
        message = f'{op.name}() missing 1 required positional arguments: "dim"'
        prologue += ["if dim is UNSET:", f"    raise TypeError({message!r})"]
    if any(p.name == "keepdim" for p in op.params):
        extra.append("keepdims=UNSET")
        prologue += ["if keepdims is not UNSET:", "    keepdim = keepdims"]
    if form == "function" and "out" in op.forms:
        extra.append("out=None")
    if extra and not starred:
        signature.append("*")
    signature += extra
    for p in op.params:
        # An integer where the mathematics is floating is the float of the same value.
        if p.annotation in (Shape, Dims):
            prologue.append(f"if {p.name}.__class__ is list: {p.name} = tuple({p.name})")
        if p.annotation is Dtype:
            prologue.append(f"if {p.name} is not None:")
            prologue.append(f"    {p.name} = as_dtype({op.name!r}, {p.name})")
        if p.name in _LIMITS.get(op.name, ()):
            scope["check_limit"] = check_limit
            large = f"{p.name}.__class__ in (int, float) and not -127 <= {p.name} <= 127"
            prologue.append(f"if {large}:")
            prologue.append(f"    check_limit({p.name}, input)")
    if older:
        now = f"{name}(*tensors, **numbers{', out=out' if 'out=None' in extra else ''})"
        given = ", ".join(older_calls.operands(op))
        prologue = ["if more:", f"    tensors, numbers = older({given}, *more)",
                    f"    return {now}", *prologue]  # fmt: skip
        scope[name] = scope["become"].args[0]
    operands = []
    for p in op.inputs:
        operands.append(f"*{p.name}" if p.annotation is Arrays else p.name)
    statics = [p.name for p in op.statics]
    call = f"apply(OP, ({', '.join(operands)}{',' if operands else ''}), "
    call += f"({', '.join(statics)}{',' if statics else ''}))"
    if fields is not None:
        call = f"FIELDS(*{call})"
    body = [*prologue]
    if "out=None" in extra:
        # Ops with several results find their places in the input: it must still be there.
        exact = op.name in _EXACT or _EXACT_WORDS.get(op.name, False)
        # Those with a ``dtype=`` compute in that of ``out``.
        if not exact and any(p.annotation is Dtype for p in op.params):
            body += ["if out is not None and dtype is None:", "    dtype = out.dtype"]
            exact = True
        apart = ""
        if fields is not None and operands[0] == "input" and op.name not in ("cummax", "cummin"):
            apart = ", (input,)"
        if operands and dispatch.writes_beside(op):
            apart = f", (), ({', '.join(operands)},)"
        write = f"copy_out(out, result, {exact or fields is not None!r}{apart})"
        if fields is not None:
            write = f"FIELDS(*{write})"
        body += [f"result = {call}", f"return result if out is None else {write}"]
    else:
        body.append(f"return {call}")
    return f"def {name}({', '.join(signature)}):\n" + "\n".join("    " + line for line in body)


def _dim_as(function: str, other_name: str, given, dim, default):
    """A dimension given under NumPy's name, if it is not given under its own as well."""
    if dim is not default:
        raise TypeError(f"{function}() got an unexpected keyword argument '{other_name}'")
    return given


def _needed_dim(op: Op):
    """The parameter ``dim`` if it has no default: it may still be given as ``axis``."""
    positional = [p for p in op.params if p.kind is not p.KEYWORD_ONLY]
    needed = [p for p in positional if p.default is inspect.Parameter.empty]
    if needed and needed[-1].name == "dim" and needed[-1].annotation in (Dim, Dims):
        return needed[-1]
    return None


def alias(new: str, old: str) -> None:
    """Give an op's forms a second name, as PyTorch has ``absolute`` for ``abs``."""
    for table in (FUNCTIONS, METHODS):
        for suffix in ("", "_"):
            if old + suffix in table:
                if new + suffix in table:
                    raise ValueError(f"form {new + suffix!r} is registered twice")
                table[new + suffix] = table[old + suffix]


def install() -> None:
    """Build the forms of every op in the table that asks for any, hand-written ones too."""
    for op in TABLE.values():
        fields = None
        for form in op.forms:
            if isinstance(form, tuple):
                fields = structseq(op.name, form)
        if "function" in op.forms:
            _put(FUNCTIONS, op.name, build(op, "function", fields=fields))
        if "method" in op.forms:
            _put(METHODS, op.name, build(op, "method", fields=fields))
        if "inplace" in op.forms:
            _put(METHODS, op.name + "_", build(op, "inplace"))


def _put(table, name, function):
    if name in table:
        raise ValueError(f"form {name!r} is registered twice")
    table[name] = function


_NUMPY = {"axis": "dim", "keepdims": "keepdim"}


def numpy_named(fn):
    """A hand-written function that also takes NumPy's names; itself where they are not needed."""
    return _also(fn, _NUMPY) if _needs_names(fn) else fn


def input_named(fn):
    """A function that also takes its first argument as ``input``, and NumPy's names: PyTorch's
    pages call it otherwise than PyTorch does."""
    return _also(fn, {**_NUMPY, "input": fn.__code__.co_varnames[0]})


def _needs_names(fn) -> bool:
    code = fn.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return "dim" in names and "axis" not in names and not code.co_flags & inspect.CO_VARKEYWORDS


def _also(fn, other_names):
    @wraps(fn)
    def call(*args, **kwargs):
        try:
            if not kwargs:
                return fn(*args)
            named = {other_names.get(name, name): x for name, x in kwargs.items()}
            if len(named) < len(kwargs):
                twice = next(name for name in kwargs if other_names.get(name) in kwargs)
                raise TypeError(f"{fn.__name__}() got an unexpected keyword argument '{twice}'")
            return fn(*args, **named)
        except AttributeError as error:
            raise (not_a_tensor(error) or error) from None

    return call


def in_one_sequence(fn, argument: str):
    """The function form of a method that takes an argument as several ones, too."""

    @wraps(fn)
    def call(input, *given, **named):
        if given and (len(given) > 1 or not isinstance(given[0], (tuple, list))):
            raise TypeError(
                f"{fn.__name__}() takes 2 positional arguments but {len(given) + 1} were given"
                if len(given) > 1
                else f"{fn.__name__}(): argument '{argument}' (position 2) must be tuple of ints, "
                f"not {type(given[0]).__name__}"
            )
        return fn(input, *given, **named)

    return call


def out_of(fn, check=dispatch.check_beside):
    """The function with a keyword ``out`` beside its own arguments; ``check`` as for
    ``inplace_of``."""

    @wraps(fn)
    def call(*args, out=None, **kwargs):
        try:
            result = fn(*args, **kwargs)
        except AttributeError as error:
            raise (not_a_tensor(error) or error) from None
        if out is None:
            return result
        if check is not None:
            dispatch.check_beside(out, args[:1])
            check(out, (*args[1:], *kwargs.values()))
        return dispatch.copy_out(out, result, exact=True)

    return call


def function(name: str | None = None, *, method=False, inplace=False, out=False, numpy=True,
             check=dispatch.check_beside, sequence: str | None = None):  # fmt: skip
    """Decorator: a hand-written public function over ops, and optionally its other forms.

    numpy: whether ``axis`` may stand for ``dim``, as for all that is not Python in PyTorch;
    check: what the other operands may have in common with what is written;
    sequence: the argument that only the method takes as several ones.
    """

    def wrap(fn):
        fn.__module__ = "torchlike"
        if name is not None:  # what pickle and __torch_function__ look at
            fn.__name__ = fn.__qualname__ = name
        shown = numpy_named(fn) if numpy else fn
        if sequence is not None:
            _put(FUNCTIONS, fn.__name__, in_one_sequence(fn, sequence))
            fn.__qualname__ = f"Tensor.{fn.__name__}"
        else:
            _put(FUNCTIONS, fn.__name__, out_of(shown, check) if out else shown)
        if method:
            _put(METHODS, fn.__name__, shown)
        if inplace:
            _put(METHODS, fn.__name__ + "_", inplace_of(shown, check))
        return fn

    return wrap


def method(name: str | None = None, *, inplace=False):
    """Decorator: a hand-written method of Tensor."""

    def wrap(fn):
        if name is not None and FUNCTIONS.get(fn.__name__) is not fn:
            fn.__name__, fn.__qualname__ = name, f"Tensor.{name}"
        shown = numpy_named(fn)
        _put(METHODS, name or fn.__name__, shown)
        if inplace:
            _put(METHODS, (name or fn.__name__) + "_", inplace_of(shown))
        return fn

    return wrap


def tell_methods_apart() -> None:
    """Give each method that is also a function a function object of its own: a class that takes
    over functions asks which of the two was called."""
    for name, fn in METHODS.items():
        if FUNCTIONS.get(name) is not fn or fn.__code__ is _first_call.__code__:
            continue
        own = FunctionType(fn.__code__, fn.__globals__, name, fn.__defaults__, fn.__closure__)
        own.__kwdefaults__, own.__annotations__ = fn.__kwdefaults__, fn.__annotations__
        own.__doc__, own.__module__ = fn.__doc__, fn.__module__
        own.__dict__.update(fn.__dict__)
        own.__qualname__ = f"Tensor.{name}"
        METHODS[name] = own


def inplace_of(fn, check=dispatch.check_beside):
    """The in-place form of a function of a tensor: compute, check, rebind.

    ``check``: what other operands may have in common with the first one.
    """

    def inplace(input, *args, **kwargs):
        dispatch.check_inplace(input)
        if check is not None:
            check(input, (*args, *kwargs.values()))
        with memory_lock:
            result = fn(input, *args, **kwargs)
            if result._node is not None:
                result._node.own = input._value
            return dispatch.rebind(input, dispatch.fit(input, result))

    inplace.__name__ = fn.__name__ + "_"
    inplace.__doc__ = f"In-place form of ``{fn.__name__}``."
    return inplace


_ = Number, is_input
