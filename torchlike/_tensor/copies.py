"""The ``*_copy`` twins of views, pieces that may be written to, and tensors that change in size."""

from __future__ import annotations

from math import prod

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported, warn
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, tape, views
from torchlike._tensor.creation import as_leaf, check_size, zeros
from torchlike._tensor.dispatch import apply, into
from torchlike._tensor.forms import FUNCTIONS, METHODS, function, method
from torchlike._tensor.modes import modes, no_grad
from torchlike._tensor.parts import split_with_sizes
from torchlike._tensor.restriding import _reshow, _shares, _writable
from torchlike._tensor.shapes import shape_of, sizes_argument, wrap_dim

# ---- twins of views ----------------------------------------------------------------------------


def _slice(input, dim=0, start=None, end=None, step=1):
    at = (slice(None),) * wrap_dim(dim, input._value.aval.ndim)
    return input[(*at, slice(start, end, step))]


def _squeeze(input, dim=None):
    return FUNCTIONS["squeeze"](input, dim)


def _view(input, size):
    how = "view" if isinstance(size, dt.dtype) else "reshape"  # which takes any strides
    return METHODS[how](input, size)


_VIEWS = {
    "alias": lambda input: input,
    "as_strided": FUNCTIONS["as_strided"],
    "detach": lambda input: input,  # PyTorch's copy stays on the tape
    "expand": lambda input, size, *, implicit=False: METHODS["expand"](input, size),
    "permute": FUNCTIONS["permute"],
    "select": FUNCTIONS["select"],
    "slice": _slice,
    "squeeze": _squeeze,
    "t": FUNCTIONS["t"],
    "transpose": FUNCTIONS["transpose"],
    "unfold": METHODS["unfold"],
    "unsqueeze": FUNCTIONS["unsqueeze"],
    "view": _view,
    "view_as_complex": FUNCTIONS["view_as_complex"],
    "view_as_real": FUNCTIONS["view_as_real"],
    "split": lambda input, split_size, dim=0: FUNCTIONS["split"](input, int(split_size), dim),
    "split_with_sizes": split_with_sizes,
    "unbind": FUNCTIONS["unbind"],
}


def _copying(name, view):
    def copied(part, input):
        out, shown = apply(TABLE["clone"], (part,)), part._node
        if out._node is not None:
            of_view = f"{name.title()}Backward0" if part is input else shown.name()
            out._node.label = f"{of_view}_copy"
        return out

    def twin(input, *args, out=None, **kwargs):
        found = view(input, *args, **kwargs)
        if not isinstance(found, tuple):
            return into(out, copied(found, input), exact=True)
        copies = tuple(copied(part, input) for part in found)
        if out is None:
            return copies
        dispatch.copy_out(out, copies)
        return None

    twin.__name__ = f"{name}_copy"
    twin.__doc__ = f"A copy of what ``{name}`` shows."
    function(twin.__name__)(twin)


for _name, _view in _VIEWS.items():
    _copying(_name, _view)


FUNCTIONS["split_with_sizes"] = split_with_sizes


@function(method=True)
def unsafe_split_with_sizes(input, split_sizes, dim: int = 0):
    """``split_with_sizes`` whose pieces autograd lets one write to."""
    parts = split_with_sizes(input, split_sizes, dim)
    return _writable(input, parts, "UnsafeSplitWithSizesBackward0")


# ---- functions that are methods elsewhere ------------------------------------------------------


@function()
def detach(input):
    """The same storage, off the tape."""
    return input.detach()


@function()
def detach_(input):
    """Take the tensor itself off the tape."""
    return input.detach_()


FUNCTIONS["as_strided_"] = METHODS["as_strided_"]
FUNCTIONS["addmv_"] = METHODS["addmv_"]


# ---- changes of size ---------------------------------------------------------------------------


@method("resize_")
def resize_(self, *size, memory_format=None):
    """Another size over the same memory in row-major order; what is new is zero."""
    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    size = check_size(sizes_argument(size))
    if size == shape_of(self):
        return self
    offset = views.geometry(self)[1]
    whole = (self._value if self._storage is None else self._storage.value).aval.numel
    count = prod(size)
    if count + offset <= whole:
        dispatch.check_inplace(self)
        # What a smaller tensor does not show stays in its memory, for when it grows again.
        kept = 0 < count < whole or _shares(self)
        shown = METHODS["as_strided"](self, size, views.contiguous_strides(size), offset)
        return _reshow(self, shown, kept)
    if self._base is not None or _shares(self):
        raise NotSupported(
            "growing a tensor that shares its storage with others by resize_", "clone() it first"
        )
    flat = METHODS["as_strided"](self, (whole,), (1,), 0)
    more = zeros(offset + count - whole, dtype=self.dtype, device=self.device)
    version = views.version_of(self)
    self.data = FUNCTIONS["cat"]([flat, more])[offset:].reshape(size)
    self._version_count = version + 1
    return self


@method("resize")
def resize(self, *sizes):
    """Another shape of as many elements: ``view`` under its oldest name."""
    warn("non-inplace resize is deprecated")
    return METHODS["reshape"](self, *sizes)


@method("resize_as")
def resize_as(self, tensor):
    """The shape of another tensor of as many elements."""
    return resize(self, *shape_of(tensor))


@method("set_")
def set_(self, source=None, storage_offset=0, size=None, stride=None):
    """Let this tensor show the memory of another, or a strided reading of it; of none: be empty.

    Raises for another dtype, as PyTorch does.
    """
    dispatch.check_inplace(self)
    if source is None:
        source = zeros(0, dtype=self.dtype, device=self.device)
    elif not isinstance(source, dispatch._Tensor):
        if not hasattr(source, "as_tensor"):
            raise TypeError(
                "set_() received an invalid combination of arguments - got "
                f"({type(source).__name__})"
            )
        source = source.as_tensor(self.dtype)
    elif source.dtype is not self.dtype:
        raise RuntimeError(
            f"Could not set tensor of type {dt.C_NAMES.get(source.dtype, source.dtype)} to a "
            f"tensor of type {dt.C_NAMES.get(self.dtype, self.dtype)}"
        )
    with no_grad():
        if size is not None:
            size = check_size(sizes_argument((size,)))
            steps = views.contiguous_strides(size) if stride is None else tuple(stride)
            source = METHODS["as_strided"](source, size, steps, storage_offset)
        self.data = source
    if modes.grad and (self._node is not None or source.requires_grad):
        self._node = tape.Refused("NotImplemented", "derivative for set_ is not implemented")
        self._index = 0
    return self


@function("resize_as_", method=True)
def resize_as_(input, the_template, *, memory_format=None):
    """``resize_`` to the shape of another tensor."""
    if input.is_sparse and the_template.is_sparse:
        return METHODS["resize_as_sparse_"](input, the_template)
    return resize_(input, shape_of(the_template))


@function()
def empty_permuted(size, physical_layout, *, dtype=None, layout=None, device=None,
                   pin_memory=False, requires_grad=False):  # fmt: skip
    """A tensor of zeros whose dimensions lie in memory in the order of ``physical_layout``."""
    size, order = check_size((size,)), tuple(physical_layout)
    if len(size) != len(order):
        raise RuntimeError(
            "Number of dimensions in size does not match the length of the physical_layout; i.e. "
            f"len(size) = {len(size)} is not equal to len(physical_layout) = {len(order)}"
        )
    if sorted(order) != list(range(len(order))):
        bad = next((d for d in order if not 0 <= d < len(order)), None)
        if bad is not None:
            raise RuntimeError(
                f"Dimension out of range (expected to be between 0 and {len(order) - 1}, but got "
                f"{bad}).  NB: negative dims not currently supported; file an issue if you want it."
            )
        raise RuntimeError("Duplicate dim not allowed")
    base = zeros([size[d] for d in order], dtype=dtype, device=device)
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return as_leaf(FUNCTIONS["permute"](base, inverse), requires_grad)
