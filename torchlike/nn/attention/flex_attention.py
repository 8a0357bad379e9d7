"""Attention whose scores a function changes, and masks that know which blocks they leave empty.

The functions see numbers: one score and its batch, head, query and key. They are mapped over all of
these, and XLA compiles what they do into the attention.
"""

from __future__ import annotations

import inspect as _inspect
import itertools as _itertools
import math as _math
import warnings as _warnings
from collections.abc import Callable as _Callable
from typing import NamedTuple as _NamedTuple
from typing import TypedDict as _TypedDict

from torchlike._core import dtypes as _dt
from torchlike._tensor.forms import FUNCTIONS as _FUNCTIONS
from torchlike._tensor.tensor import Tensor as _Tensor
from torchlike.func import vmap as _vmap
from torchlike.nn.functional.vision import pad as _pad

__all__ = [
    "AuxOutput",
    "AuxRequest",
    "BlockMask",
    "FlexKernelOptions",
    "and_masks",
    "create_block_mask",
    "create_mask",
    "flex_attention",
    "noop_mask",
    "or_masks",
]

# PyTorch's own private names, which libraries import.
_DEFAULT_SPARSE_BLOCK_SIZE = 128
_mask_mod_signature = _Callable[[_Tensor, _Tensor, _Tensor, _Tensor], _Tensor]
_score_mod_signature = _Callable[[_Tensor, _Tensor, _Tensor, _Tensor, _Tensor], _Tensor]
_told: set = set()


class AuxRequest(_NamedTuple):
    """What ``flex_attention`` is to return beside its result."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(_NamedTuple):
    """What was asked for with an ``AuxRequest``: tensors (batch, heads, queries), or None."""

    lse: _Tensor | None = None
    max_scores: _Tensor | None = None


FlexKernelOptions = _TypedDict(
    "FlexKernelOptions",
    {
        **dict.fromkeys(("num_warps", "num_stages", "BLOCK_M", "BLOCK_N", "BLOCK_M1"), int),
        **dict.fromkeys(("BLOCK_N1", "BLOCK_M2", "BLOCK_N2"), int),
        **dict.fromkeys(("PRESCALE_QK", "ROWS_GUARANTEED_SAFE", "BLOCKS_ARE_CONTIGUOUS"), bool),
        **dict.fromkeys(("WRITE_DQ", "FORCE_USE_FLEX_ATTENTION", "USE_TMA"), bool),
        **dict.fromkeys(("kpack", "matrix_instr_nonkdim", "waves_per_eu"), int),
        "BACKEND": str,
    },
    total=False,
)


# ---- masks -------------------------------------------------------------------------------------


def noop_mask(batch, head, token_q, token_kv) -> _Tensor:
    """A mask that hides nothing."""
    return batch.new_ones(size=(), dtype=_dt.bool_, device=batch.device)


def and_masks(*mask_mods):
    """The mask of what all of these masks let through."""
    _check_masks(mask_mods)

    def and_mask(b, h, q_idx, kv_idx):
        result = b.new_ones((), dtype=_dt.bool_)
        for mod in mask_mods:
            result = result & mod(b, h, q_idx, kv_idx)
        return result

    return and_mask


def or_masks(*mask_mods):
    """The mask of what one of these masks lets through."""
    _check_masks(mask_mods)

    def or_mask(b, h, q_idx, kv_idx):
        result = b.new_zeros((), dtype=_dt.bool_)
        for mod in mask_mods:
            result = result | mod(b, h, q_idx, kv_idx)
        return result

    return or_mask


def _check_masks(mask_mods) -> None:
    if not all(callable(mod) for mod in mask_mods):
        raise RuntimeError(f"All inputs should be callable mask_mods: {mask_mods}")


def _mapped(mod, scored: bool):
    """A function of one score's place (and of the score first, if ``scored``) for all of them."""
    for place in (3, 2, 1, 0):  # keys are innermost
        own = [0 if n == place else None for n in range(4)]
        mod = _vmap(mod, in_dims=(0, *own) if scored else tuple(own))
    return mod


def _places(batch: int, heads: int, queries: int, keys: int, device) -> list:
    return [_FUNCTIONS["arange"](n, device=device) for n in (batch, heads, queries, keys)]


def create_mask(mod_fn, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device=None):
    """The bool tensor (B, H, Q_LEN, KV_LEN) of what a mask lets through, or of the scores that a
    score_mod does not set to -inf; None stands for 1
    (https://pytorch.org/docs/stable/nn.attention.flex_attention.html)."""
    B, H = 1 if B is None else B, 1 if H is None else H
    scored = _takes_score(mod_fn)
    places = _places(B, H, Q_LEN, KV_LEN, device)
    if scored:
        zeros = _FUNCTIONS["zeros"](B, H, Q_LEN, KV_LEN, device=device)
        return _mapped(mod_fn, True)(zeros, *places) != -_math.inf
    mask = _mapped(mod_fn, False)(*places)
    if mask.dtype is not _dt.bool_:
        raise AssertionError(f"mask.dtype must be torch.bool, got {mask.dtype}")
    return mask


def _takes_score(mod) -> bool:
    needed = [
        p for p in _inspect.signature(mod).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]  # fmt: skip
    if len(needed) not in (4, 5):
        raise AssertionError(f"Expected 4 or 5 positional args, got {len(needed)}")
    return len(needed) == 5


def create_block_mask(
    mask_mod, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device=None,
    BLOCK_SIZE: int | tuple[int, int] = _DEFAULT_SPARSE_BLOCK_SIZE, _compile: bool = False,
    separate_full_blocks: bool = True, compute_dq_write_order: bool = False,
    dq_kv_order: bool = True,
) -> BlockMask:  # fmt: skip
    """The blocks of BLOCK_SIZE (queries, keys) that a mask leaves empty, fills in part and as a
    whole (https://pytorch.org/docs/stable/nn.attention.flex_attention.html).

    The last three arguments choose an order of work in PyTorch's kernels, which do not run here.
    """
    if _takes_score(mask_mod):
        raise AssertionError(f"create_block_mask requires a mask_mod function! Got {mask_mod}")
    rows, columns = sizes = _pair(BLOCK_SIZE)
    mask = create_mask(mask_mod, B, H, Q_LEN, KV_LEN, device)
    down, across = -Q_LEN % rows, -KV_LEN % columns
    padded = _pad(mask, (0, across, 0, down), value=False)
    batch, heads, high, wide = padded.shape
    cells = padded.reshape(batch, heads, high // rows, rows, wide // columns, columns)
    count = cells.sum((-3, -1))
    full = (count == rows * columns) & separate_full_blocks
    partial = (count > 0) & ~full
    fulls = _ordered(full) if separate_full_blocks else (None, None)
    out = BlockMask.from_kv_blocks(
        *_ordered(partial), *fulls, BLOCK_SIZE=sizes, mask_mod=mask_mod,
        seq_lengths=(Q_LEN, KV_LEN),
    )  # fmt: skip
    out._exact_for = mask_mod
    return out


def _pair(size) -> tuple:
    first, second = (size, size) if isinstance(size, int) else size
    return first, second


def _ordered(dense) -> tuple[_Tensor, _Tensor]:
    """(how many blocks of each row are there, their columns first and then the others)."""
    dense = dense.to(_dt.int32)
    columns = dense.argsort(dim=-1, descending=True, stable=True)
    return dense.sum(-1).to(_dt.int32), columns.to(_dt.int32)


def _dense(count, columns) -> _Tensor:
    """The inverse: an int32 tensor with 1 where a block is there."""
    wide = columns.shape[-1]
    there = _FUNCTIONS["arange"](wide, device=columns.device) < count.unsqueeze(-1)
    at = columns.long().where(there, wide)  # the others into a column of their own
    dense = columns.new_zeros((*columns.shape[:-1], wide + 1))
    return dense.scatter(-1, at, 1)[..., :wide]


def _sliced_mask_mod_error(b, h, q_idx, kv_idx):
    """The mask of a part of a BlockMask, whose rows are no longer those that the mask knows."""
    raise RuntimeError("Cannot use mask_mod from a sliced BlockMask")


class BlockMask:
    """Which blocks of (queries, keys) attention has to compute, and the mask inside them.

    ``kv_num_blocks`` (B, H, rows) and ``kv_indices`` (B, H, rows, columns) list for each row of
    blocks those that are masked in part, ``full_kv_*`` those in which nothing is hidden, ``q_*``
    and ``full_q_*`` the same for each column
    (https://pytorch.org/docs/stable/nn.attention.flex_attention.html).
    """

    _TENSORS = ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices",
                "q_num_blocks", "q_indices", "full_q_num_blocks", "full_q_indices")  # fmt: skip
    _ORDERS = ("dq_write_order", "dq_write_order_full", "dq_kv_order", "dq_kv_order_spt")
    _exact_for = None  # the mask_mod from which the blocks were computed

    def __init__(
        self, seq_lengths: tuple[int, int], kv_num_blocks, kv_indices, full_kv_num_blocks,
        full_kv_indices, q_num_blocks, q_indices, full_q_num_blocks, full_q_indices,
        BLOCK_SIZE: tuple[int, int] = (_DEFAULT_SPARSE_BLOCK_SIZE,) * 2, mask_mod=noop_mask, *,
        dq_write_order=None, dq_write_order_full=None, dq_kv_order=None, dq_kv_order_spt=None,
    ):  # fmt: skip
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        for side, (count, columns) in {
            "kv": (full_kv_num_blocks, full_kv_indices), "q": (full_q_num_blocks, full_q_indices)
        }.items():  # fmt: skip
            if (count is None) != (columns is None):
                raise AssertionError(
                    f"full_{side}_num_blocks and full_{side}_indices must be both provided or "
                    "omitted"
                )
        self.seq_lengths = seq_lengths
        self.kv_num_blocks, self.kv_indices = kv_num_blocks, kv_indices
        self.full_kv_num_blocks, self.full_kv_indices = full_kv_num_blocks, full_kv_indices
        self.q_num_blocks, self.q_indices = q_num_blocks, q_indices
        self.full_q_num_blocks, self.full_q_indices = full_q_num_blocks, full_q_indices
        self.dq_write_order, self.dq_write_order_full = dq_write_order, dq_write_order_full
        self.dq_kv_order, self.dq_kv_order_spt = dq_kv_order, dq_kv_order_spt
        self.BLOCK_SIZE, self.mask_mod = BLOCK_SIZE, mask_mod

    @classmethod
    def from_kv_blocks(
        cls, kv_num_blocks, kv_indices, full_kv_num_blocks=None, full_kv_indices=None,
        BLOCK_SIZE: int | tuple[int, int] = _DEFAULT_SPARSE_BLOCK_SIZE, mask_mod=None,
        seq_lengths=None,
        compute_q_blocks: bool = True, *, dq_write_order=None, dq_write_order_full=None,
        dq_kv_order=None,
    ) -> BlockMask:  # fmt: skip
        """A mask of the blocks that are listed for each row of blocks; the lists by column are
        computed, unless ``compute_q_blocks`` is False."""
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        if (full_kv_num_blocks is None) != (full_kv_indices is None):
            raise AssertionError(
                "full_kv_num_blocks and full_kv_indices must be both provided or omitted"
            )
        by_column: list = [None] * 4
        if compute_q_blocks:
            by_column[:2] = _ordered(_dense(kv_num_blocks, kv_indices).transpose(-2, -1))
            if full_kv_indices is not None:
                full = _dense(full_kv_num_blocks, full_kv_indices)
                by_column[2:] = _ordered(full.transpose(-2, -1))
        sizes = _pair(BLOCK_SIZE)
        if seq_lengths is None:
            rows, columns = kv_indices.shape[-2:]
            seq_lengths = rows * sizes[0], columns * sizes[1]
        return cls(
            seq_lengths, kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices,
            *by_column, BLOCK_SIZE=sizes, mask_mod=noop_mask if mask_mod is None else mask_mod,
            dq_write_order=dq_write_order, dq_write_order_full=dq_write_order_full,
            dq_kv_order=dq_kv_order,
        )  # fmt: skip

    @property
    def shape(self) -> tuple:
        """(B, H, queries, keys)."""
        return (*self.kv_indices.shape[:-2], *self.seq_lengths)

    def numel(self) -> int:
        """How many scores there are, hidden ones included."""
        return _math.prod(self.shape)

    def sparsity(self) -> float:
        """Percent of the scores that lie in empty blocks; below 0 if blocks reach over the edge."""
        there = self.kv_num_blocks.sum()
        if self.full_kv_num_blocks is not None:
            there = there + self.full_kv_num_blocks.sum()
        return 100 * (1 - there.item() * _math.prod(self.BLOCK_SIZE) / self.numel())

    def to_dense(self) -> _Tensor:
        """An int32 tensor (B, H, rows, columns) with 1 for each block that is not empty."""
        dense = _dense(self.kv_num_blocks, self.kv_indices)
        if self.full_kv_indices is not None:
            dense = dense | _dense(self.full_kv_num_blocks, self.full_kv_indices)
        return dense

    def to(self, device) -> BlockMask:
        """The same mask with its tensors on another device."""
        return self._with({
            name: value.to(device) if isinstance(value, _Tensor) else value
            for name, value in vars(self).items()
        })  # fmt: skip

    def _with(self, attributes: dict) -> BlockMask:
        other = object.__new__(type(self))
        vars(other).update(attributes)
        return other

    def as_tuple(self, flatten: bool = True) -> tuple:
        """Everything that makes up the mask; ``flatten`` takes the two pairs of sizes apart."""
        lengths, sizes = (self.seq_lengths,), (self.BLOCK_SIZE,)
        if flatten:
            (lengths,), (sizes,) = lengths, sizes
        middle = (getattr(self, name) for name in (*self._TENSORS, *self._ORDERS))
        return (*lengths, *middle, *sizes, self.mask_mod)

    def __getitem__(self, index) -> BlockMask:
        """The mask of some batches, heads and rows of blocks; an int keeps its dimension."""
        index = index if isinstance(index, tuple) else (index,)
        index = tuple([
            slice(i, i + 1 or None) if isinstance(i, int) else i for i in index
        ])  # fmt: skip
        pick = lambda x: None if x is None else x[index]  # noqa: E731
        return BlockMask.from_kv_blocks(
            pick(self.kv_num_blocks), pick(self.kv_indices), pick(self.full_kv_num_blocks),
            pick(self.full_kv_indices), BLOCK_SIZE=self.BLOCK_SIZE, mask_mod=_sliced_mask_mod_error,
            seq_lengths=self.seq_lengths, compute_q_blocks=self.q_indices is not None,
        )  # fmt: skip

    def _adjust(self, new_q_len: int, new_kv_len: int) -> BlockMask:
        """The upper left corner, for this number of queries and keys."""
        rows, columns = (
            -(-n // size) for n, size in zip((new_q_len, new_kv_len), self.BLOCK_SIZE, strict=True)
        )
        lists: list = []
        for count, places in (
            (self.kv_num_blocks, self.kv_indices), (self.full_kv_num_blocks, self.full_kv_indices)
        ):  # fmt: skip
            lists += (None, None) if count is None else _ordered(
                _dense(count, places)[..., :rows, :columns]
            )  # fmt: skip
        out = BlockMask.from_kv_blocks(
            *lists, BLOCK_SIZE=self.BLOCK_SIZE, mask_mod=self.mask_mod,
            seq_lengths=(new_q_len, new_kv_len), compute_q_blocks=self.q_indices is not None,
        )  # fmt: skip
        smaller = new_q_len <= self.seq_lengths[0] and new_kv_len <= self.seq_lengths[1]
        out._exact_for = self._exact_for if smaller else None
        return out

    def to_string(self, grid_size: int | tuple[int, int] = (20, 20), limit: int = 4) -> str:
        """A picture of at most ``limit`` heads: full cells for blocks that are all there, shaded
        ones where some are; ``grid_size`` bounds rows and columns, -1 does not."""
        dense = self.to_dense().numpy()
        grid = _pair(grid_size)
        pictures = []
        for n, at in enumerate(_itertools.product(*map(range, dense.shape[:-2]))):
            if n == limit:
                pictures.append(
                    "...\nTo print out more, set BlockMask.to_string(limit=N)\nYou can also index "
                    "(BlockMask[batch, head]) to choose a specific batch or head"
                )
                break
            pictures.append(f"{at}\n{_picture(dense[at], grid)}\n")
        return "\n".join(pictures)

    def __str__(self) -> str:
        head = f"BlockMask(shape={self.shape}, sparsity={self.sparsity():.2f}%, "
        return f"{head}\n{self.to_string().rstrip()}\n)"

    def __repr__(self) -> str:
        lines = [
            f"    {name}={None if (x := getattr(self, name)) is None else x.shape},"
            for name in self._TENSORS
        ]
        lines += [
            f"    BLOCK_SIZE={self.BLOCK_SIZE},",
            f"    shape={self.shape},",
            f"    sparsity={self.sparsity():.2f}%,",
            f"    mask_mod={getattr(self.mask_mod, '__name__', self.mask_mod)}",
        ]
        return "\n".join(["BlockMask(", *lines, ")"])


def _picture(blocks, grid: tuple[int, int]) -> str:
    """Rows of cells, each of as many blocks as are needed for the grid's size."""
    down, across = (
        1 if most == -1 else max(1, -(-n // most))
        for n, most in zip(blocks.shape, grid, strict=True)
    )
    rows = []
    for top in range(0, blocks.shape[0], down):
        row = ""
        for left in range(0, blocks.shape[1], across):
            share = blocks[top : top + down, left : left + across].mean()
            row += ("█" if share == 1 else "░" if share else " ") * 2
        rows.append(row)
    return "\n".join(rows)


# ---- attention ---------------------------------------------------------------------------------


def flex_attention(
    query: _Tensor, key: _Tensor, value: _Tensor, score_mod=None,
    block_mask: BlockMask | None = None, scale: float | None = None, enable_gqa: bool = False,
    return_lse: bool = False, kernel_options: FlexKernelOptions | None = None, *,
    return_aux: AuxRequest | None = None,
) -> _Tensor | tuple:  # fmt: skip
    """softmax(score_mod(Q K^T * scale)) V for (B, H, L, E), (B, H, S, E) and (B, H, S, Ev), over
    the keys that ``block_mask`` lets through; queries that see none get 0
    (https://pytorch.org/docs/stable/nn.attention.flex_attention.html).

    ``score_mod(score, b, h, q_idx, kv_idx)`` returns the new score. ``kernel_options`` tune kernels
    of other libraries and change nothing here. Gradients go everywhere, also to tensors that
    score_mod uses.
    """
    _check(query, key, value, block_mask, enable_gqa)
    if return_lse and return_aux is not None:
        raise ValueError(
            "Cannot specify both return_lse and return_aux. return_lse is deprecated, please use "
            "return_aux=AuxRequest(lse=True) instead."
        )
    if return_lse and "lse" not in _told:
        _told.add("lse")
        _warnings.warn(
            "return_lse is deprecated and will be removed in v2.10. Please use "
            "return_aux=AuxRequest(lse=True) instead.",
            FutureWarning,
            stacklevel=2,
        )
    if kernel_options and "OUTPUT_LOGSUMEXP" in kernel_options:
        raise AssertionError("OUTPUT_LOGSUMEXP must not be in kernel_options")
    shared = query.shape[1] // key.shape[1]
    if shared > 1:
        key, value = (x.repeat_interleave(shared, 1) for x in (key, value))
    scale = 1 / _math.sqrt(query.shape[-1]) if scale is None else scale
    wide = _dt.float64 if query.dtype is _dt.float64 else _dt.float32
    scores = query.to(wide) @ key.to(wide).transpose(-2, -1) * scale
    places = _places(*scores.shape, scores.device)
    if score_mod is not None:
        scores = _mapped(score_mod, True)(scores, *places).to(wide)
    if block_mask is not None:
        scores = scores.where(_visible(block_mask, places), -_math.inf)
    most = scores.detach().amax(-1, keepdim=True)
    weights = (scores - most.masked_fill(most == -_math.inf, 0)).exp()
    total = weights.sum(-1, keepdim=True)
    weights = weights / total.masked_fill(total == 0, 1)  # 0 where a query sees no key
    out = (weights @ value.to(wide)).to(query.dtype)
    if return_lse:
        return out, scores.logsumexp(-1)
    if return_aux is None:
        return out
    lse = scores.logsumexp(-1) if return_aux.lse else None
    return out, AuxOutput(lse, scores.amax(-1) if return_aux.max_scores else None)


def _visible(mask: BlockMask, places: list) -> _Tensor:
    """The bool tensor of what a mask lets through: all of its full blocks, some of the others."""
    if mask._exact_for is not None and mask._exact_for is mask.mask_mod:
        return _mapped(mask.mask_mod, False)(*places)
    batch, heads, queries, keys = places
    height, width = mask.BLOCK_SIZE

    def of_elements(count, columns):
        blocks = _dense(count, columns).bool()
        lead = blocks.shape[:2]
        at = [x % n for x, n in zip((batch, heads), lead, strict=True)]  # as the kernels have it
        at += [queries // height, keys // width]
        shapes = (-1, 1, 1, 1), (-1, 1, 1), (-1, 1), (-1,)
        return blocks[tuple(i.view(shape) for i, shape in zip(at, shapes, strict=True))]

    seen = of_elements(mask.kv_num_blocks, mask.kv_indices)
    if mask.mask_mod is not noop_mask:
        seen = seen & _mapped(mask.mask_mod, False)(*places)
    if mask.full_kv_indices is not None:
        seen = seen | of_elements(mask.full_kv_num_blocks, mask.full_kv_indices)
    return seen


def _check(query, key, value, block_mask, enable_gqa: bool) -> None:
    if not query.dim() == key.dim() == value.dim() == 4:
        raise NotImplementedError("NYI: query, key, and value must be 4D tensors")
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            "Expect query and key/value to have the same embedding dimension but got "
            f"E={query.shape[-1]} and E={key.shape[-1]}."
        )
    (batch, heads), (batch_kv, heads_kv) = query.shape[:2], key.shape[:2]
    if value.shape[:2] != key.shape[:2] or value.shape[2] != key.shape[2]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: "
            f"[{batch_kv * heads_kv}, {key.shape[2]}] but got: "
            f"[{value.shape[0] * value.shape[1]}, {value.shape[2]}]."
        )
    if batch != batch_kv and not (block_mask is not None and batch_kv == 1):
        raise ValueError(
            "Expect query and key/value to have the same batch size, or non-none block_mask, but "
            f"got block_mask={block_mask}, Bq={batch}, and Bkv={batch_kv}."
        )
    if heads != heads_kv and not enable_gqa:
        raise ValueError(
            "Expect query and key/value to have the same number of heads but got "
            f"Hq={heads} and Hkv={heads_kv}. Try setting enable_gqa=True for GQA."
        )
    if heads % heads_kv:
        raise ValueError(
            "Expect number of query heads to be a multiple of kv heads for GQA but got "
            f"Hq={heads} and Hkv={heads_kv}."
        )
    if block_mask is not None:
        _check_lengths(block_mask, query.shape[-2], key.shape[-2])


def _check_lengths(mask: BlockMask, queries: int, keys: int) -> None:
    made_for = mask.seq_lengths
    if made_for == (queries, keys):
        return
    start = (
        f"block_mask was created for block_mask.shape={mask.shape} but got q_len={queries} and "
        f"kv_len={keys}. As the block mask was created for a "
    )
    if queries > made_for[0] or keys > made_for[1]:
        raise ValueError(
            f"{start}smaller length than you're using it for, you likely need to create a new "
            "block mask."
        )
    raise ValueError(
        f"{start}larger length than you're using it for, you can either 1. create a new block mask "
        "with the correct length, or 2. 'adjust' the existing block mask to the correct length by "
        "calling block_mask._adjust(q_len, kv_len). This essentially 'crops' the block mask to the "
        "upper left corner, which does not work for all mask_mods!"
    )
