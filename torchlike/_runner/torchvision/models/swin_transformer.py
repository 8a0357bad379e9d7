"""torchvision.models.swin_transformer: windows that are shifted (https://arxiv.org/abs/2103.14030),
and version 2 (https://arxiv.org/abs/2111.09883)."""

from __future__ import annotations

import functools
import math
from functools import partial

import numpy as np

import torchlike as torch
from torchlike import nn
from torchlike._runner.torchvision.models._api import register
from torchlike._runner.torchvision.models.vision_transformer import init_mlp
from torchlike._runner.torchvision.ops.misc import MLP, Permute
from torchlike._runner.torchvision.ops.stochastic_depth import StochasticDepth
from torchlike.fx import wrap
from torchlike.nn import functional as F

__all__ = ["SwinTransformer"]


def _patch_merging_pad(x):
    """(..., H, W, C) as (..., H/2, W/2, 4 C), padded to even sides."""
    h, w, _ = x.shape[-3:]
    x = F.pad(x, (0, 0, 0, w % 2, 0, h % 2))
    places = ((0, 0), (1, 0), (0, 1), (1, 1))
    return torch.cat([x[..., i::2, j::2, :] for i, j in places], -1)


class PatchMerging(nn.Module):
    """Half of each side, twice the channels; a norm, then a linear layer."""

    def __init__(self, dim: int, norm_layer=nn.LayerNorm):
        super().__init__()
        self.dim = dim
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(4 * dim)

    def forward(self, x):
        return self.reduction(self.norm(_patch_merging_pad(x)))


class PatchMergingV2(nn.Module):
    """Half of each side, twice the channels; a linear layer, then a norm."""

    def __init__(self, dim: int, norm_layer=nn.LayerNorm):
        super().__init__()
        self.dim = dim
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(2 * dim)

    def forward(self, x):
        return self.norm(self.reduction(_patch_merging_pad(x)))


wrap("_patch_merging_pad")


def _windows(x, window):
    """(B, H, W, C) as (B * windows, places, C)."""
    b, h, w, c = x.shape
    x = x.view(b, h // window[0], window[0], w // window[1], window[1], c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, window[0] * window[1], c)


@functools.lru_cache(maxsize=64)
def _apart(h: int, w: int, high: int, wide: int, down: int, right: int) -> np.ndarray:
    """The mask of (h, w) in windows (high, wide) that are shifted: (windows, places, places)."""
    regions, number = np.zeros((h, w), np.float32), 0
    for top, bottom in ((0, h - high), (h - high, h - down), (h - down, h)):
        for left, end in ((0, w - wide), (w - wide, w - right), (w - right, w)):
            regions[top:bottom, left:end] = number
            number += 1
    windows = regions.reshape(h // high, high, w // wide, wide).transpose(0, 2, 1, 3)
    windows = windows.reshape(-1, high * wide)
    return np.where(windows[:, None] != windows[:, :, None], np.float32(-100), np.float32(0))


def _get_relative_position_bias(table, index, window_size):
    """The rows of a table for all pairs of places: (1, heads, places, places)."""
    count = window_size[0] * window_size[1]
    bias = table[index].view(count, count, -1)
    return bias.permute(2, 0, 1).contiguous().unsqueeze(0)


wrap("_get_relative_position_bias")


def shifted_window_attention(
    input, qkv_weight, proj_weight, relative_position_bias, window_size, num_heads, shift_size,
    attention_dropout=0.0, dropout=0.0, qkv_bias=None, proj_bias=None, logit_scale=None,
    training=True,
):  # fmt: skip
    """Attention inside windows of (B, H, W, C), which are shifted first; by the cosine if there is
    a ``logit_scale``."""
    x, window, heads = input, window_size, num_heads
    b, high, wide, c = x.shape
    down, right = (window[0] - high % window[0]) % window[0], (-wide) % window[1]
    x = F.pad(x, (0, 0, 0, right, 0, down))
    _, h, w, _ = x.shape
    shift = [0 if window[i] >= side else shift_size[i] for i, side in enumerate((h, w))]
    if sum(shift) > 0:
        x = torch.roll(x, shifts=(-shift[0], -shift[1]), dims=(1, 2))
    count, places = (h // window[0]) * (w // window[1]), window[0] * window[1]
    x = _windows(x, window)
    if logit_scale is not None and qkv_bias is not None:  # keys have none
        third = qkv_bias.numel() // 3
        none = torch.zeros_like(qkv_bias[:third])
        qkv_bias = torch.cat([qkv_bias[:third], none, qkv_bias[2 * third :]])
    qkv = F.linear(x, qkv_weight, qkv_bias).reshape(x.size(0), places, 3, heads, c // heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    if logit_scale is not None:
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        scores = scores * torch.clamp(logit_scale, max=math.log(100.0)).exp()
    else:
        scores = (q * (q.shape[-1] ** -0.5)).matmul(k.transpose(-2, -1))
    scores = scores + relative_position_bias
    if sum(shift) > 0:  # -100 between places that were no neighbours before the shift
        mask = torch.tensor(_apart(h, w, *window, *shift), dtype=x.dtype, device=x.device)
        scores = scores.view(b, count, heads, places, places) + mask[None, :, None]
        scores = scores.view(-1, heads, places, places)
    scores = F.dropout(F.softmax(scores, dim=-1), attention_dropout, training)
    x = F.linear(scores.matmul(v).transpose(1, 2).reshape(-1, places, c), proj_weight, proj_bias)
    x = F.dropout(x, dropout, training)
    x = x.view(b, h // window[0], w // window[1], window[0], window[1], c)
    x = x.permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
    if sum(shift) > 0:
        x = torch.roll(x, shifts=(shift[0], shift[1]), dims=(1, 2))
    return x[:, :high, :wide, :].contiguous()


wrap("shifted_window_attention")


class ShiftedWindowAttention(nn.Module):
    """Attention inside windows of (B, H, W, C), which are shifted first."""

    def __init__(
        self, dim, window_size, shift_size, num_heads, qkv_bias=True, proj_bias=True,
        attention_dropout=0.0, dropout=0.0,
    ):  # fmt: skip
        super().__init__()
        if len(window_size) != 2 or len(shift_size) != 2:
            raise ValueError("window_size and shift_size must be of length 2")
        self.window_size, self.shift_size, self.num_heads = window_size, shift_size, num_heads
        self.attention_dropout, self.dropout = attention_dropout, dropout
        self.qkv = nn.Linear(dim, dim * 3, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim, bias=proj_bias)
        self.define_relative_position_bias_table()
        self.define_relative_position_index()

    def define_relative_position_bias_table(self) -> None:
        """A number for each distance and head."""
        count = (2 * self.window_size[0] - 1) * (2 * self.window_size[1] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(count, self.num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def define_relative_position_index(self) -> None:
        """Which row of the table is of each pair of places."""
        high, wide = self.window_size
        grid = torch.meshgrid(torch.arange(high), torch.arange(wide), indexing="ij")
        places = torch.stack(grid).flatten(1)  # (2, places)
        apart = (places[:, :, None] - places[:, None, :]).permute(1, 2, 0)
        index = (apart[..., 0] + high - 1) * (2 * wide - 1) + apart[..., 1] + wide - 1
        self.register_buffer("relative_position_index", index.flatten())

    def get_relative_position_bias(self):
        """What is added to the scores: (1, heads, places, places)."""
        return _get_relative_position_bias(
            self.relative_position_bias_table, self.relative_position_index, self.window_size
        )

    def forward(self, x):
        return self._attend(x, self.get_relative_position_bias())

    def _attend(self, x, bias, **more):
        return shifted_window_attention(
            x, self.qkv.weight, self.proj.weight, bias, self.window_size, self.num_heads,
            shift_size=self.shift_size, attention_dropout=self.attention_dropout,
            dropout=self.dropout, qkv_bias=self.qkv.bias, proj_bias=self.proj.bias,
            training=self.training, **more,
        )  # fmt: skip


class ShiftedWindowAttentionV2(ShiftedWindowAttention):
    """The same with scores by the cosine, and a bias that a small network finds."""

    def __init__(
        self, dim, window_size, shift_size, num_heads, qkv_bias=True, proj_bias=True,
        attention_dropout=0.0, dropout=0.0,
    ):  # fmt: skip
        super().__init__(
            dim, window_size, shift_size, num_heads, qkv_bias, proj_bias, attention_dropout,
            dropout,
        )  # fmt: skip
        self.logit_scale = nn.Parameter(torch.log(10 * torch.ones((num_heads, 1, 1))))
        self.cpb_mlp = nn.Sequential(
            nn.Linear(2, 512, bias=True), nn.ReLU(inplace=True),
            nn.Linear(512, num_heads, bias=False),
        )  # fmt: skip
        if qkv_bias:
            self.qkv.bias[dim : 2 * dim].data.zero_()

    def define_relative_position_bias_table(self) -> None:
        """The distances, on a scale of logarithms."""
        far = [torch.arange(1 - n, n, dtype=torch.float32) for n in self.window_size]
        table = torch.stack(torch.meshgrid(far, indexing="ij")).permute(1, 2, 0)
        sides = torch.tensor([n - 1.0 for n in self.window_size])
        table = table.contiguous().unsqueeze(0) / sides * 8
        table = torch.sign(table) * torch.log2(torch.abs(table) + 1.0) / 3.0
        self.register_buffer("relative_coords_table", table)

    def get_relative_position_bias(self):
        """What is added to the scores: (1, heads, places, places)."""
        table = self.cpb_mlp(self.relative_coords_table).view(-1, self.num_heads)
        bias = _get_relative_position_bias(table, self.relative_position_index, self.window_size)
        return 16 * torch.sigmoid(bias)

    def forward(self, x):
        return self._attend(x, self.get_relative_position_bias(), logit_scale=self.logit_scale)


class SwinTransformerBlock(nn.Module):
    """Attention and an MLP, each after its norm and with its input added."""

    attention = ShiftedWindowAttention

    def __init__(
        self, dim, num_heads, window_size, shift_size, mlp_ratio=4.0, dropout=0.0,
        attention_dropout=0.0, stochastic_depth_prob=0.0, norm_layer=nn.LayerNorm,
        attn_layer=None,
    ):  # fmt: skip
        super().__init__()
        self.norm1 = norm_layer(dim)
        self.attn = (attn_layer or self.attention)(
            dim, window_size, shift_size, num_heads, attention_dropout=attention_dropout,
            dropout=dropout,
        )  # fmt: skip
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")
        self.norm2 = norm_layer(dim)
        self.mlp = MLP(
            dim, [int(dim * mlp_ratio), dim], activation_layer=nn.GELU, inplace=None,
            dropout=dropout,
        )  # fmt: skip
        init_mlp(self.mlp)

    def forward(self, x):
        x = x + self.stochastic_depth(self.attn(self.norm1(x)))
        return x + self.stochastic_depth(self.mlp(self.norm2(x)))


class SwinTransformerBlockV2(SwinTransformerBlock):
    """Attention and an MLP, each before its norm and with its input added."""

    attention = ShiftedWindowAttentionV2

    def forward(self, x):
        x = x + self.stochastic_depth(self.norm1(self.attn(x)))
        return x + self.stochastic_depth(self.norm2(self.mlp(x)))


class SwinTransformer(nn.Module):
    """Stages of blocks, patches merged between them: (N, 3, H, W) to (N, classes)."""

    def __init__(
        self, patch_size, embed_dim, depths, num_heads, window_size, mlp_ratio=4.0, dropout=0.0,
        attention_dropout=0.0, stochastic_depth_prob=0.1, num_classes=1000, norm_layer=None,
        block=None, downsample_layer=PatchMerging,
    ):  # fmt: skip
        super().__init__()
        self.num_classes = num_classes
        block, norm = block or SwinTransformerBlock, norm_layer or partial(nn.LayerNorm, eps=1e-5)
        layers = [
            nn.Sequential(
                nn.Conv2d(3, embed_dim, tuple(patch_size), tuple(patch_size)),
                Permute([0, 2, 3, 1]), norm(embed_dim),
            )
        ]  # fmt: skip
        total, done = sum(depths), 0
        for stage, (depth, heads) in enumerate(zip(depths, num_heads, strict=True)):
            dim, blocks = embed_dim * 2**stage, []
            for i in range(depth):
                shift = [0 if i % 2 == 0 else w // 2 for w in window_size]
                blocks.append(
                    block(
                        dim, heads, window_size=window_size, shift_size=shift,
                        mlp_ratio=mlp_ratio, dropout=dropout, attention_dropout=attention_dropout,
                        stochastic_depth_prob=stochastic_depth_prob * float(done) / (total - 1),
                        norm_layer=norm,
                    )
                )  # fmt: skip
                done += 1
            layers.append(nn.Sequential(*blocks))
            if stage < len(depths) - 1:
                layers.append(downsample_layer(dim, norm))
        self.features = nn.Sequential(*layers)
        width = embed_dim * 2 ** (len(depths) - 1)
        self.norm = norm(width)
        self.permute = Permute([0, 3, 1, 2])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten(1)
        self.head = nn.Linear(width, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.trunc_normal_(m.weight, std=0.02)
                if m.bias is not None:
                    nn.init.zeros_(m.bias)

    def forward(self, x):
        x = self.permute(self.norm(self.features(x)))
        return self.head(self.flatten(self.avgpool(x)))


_SECOND = {"block": SwinTransformerBlockV2, "downsample_layer": PatchMergingV2}


def _made(width, depth, heads, probability, window, options):
    def make(**kwargs):
        p = kwargs.pop("stochastic_depth_prob", probability)
        return SwinTransformer(
            [4, 4], width, [2, 2, depth, 2], [heads * 2**i for i in range(4)], [window, window],
            stochastic_depth_prob=p, **{**options, **kwargs},
        )  # fmt: skip

    return make


for _name, *_shape in (("t", 96, 6, 3, 0.2), ("s", 96, 18, 3, 0.3), ("b", 128, 18, 4, 0.5)):
    register(globals(), f"swin_{_name}", _made(*_shape, 7, {}))
    register(globals(), f"swin_v2_{_name}", _made(*_shape, 8, _SECOND))
