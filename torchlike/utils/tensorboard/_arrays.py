"""Tensors and the like as NumPy arrays, and pictures out of them."""

from __future__ import annotations

import io

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._tensor.tensor import Tensor
from torchlike.utils.tensorboard._needs import pillow


def array(x) -> np.ndarray:
    """A NumPy array of a tensor, an array of NumPy or JAX, a number, or a list of them."""
    if isinstance(x, Tensor):
        x = x.detach().cpu()
        return (x.float() if x.dtype is dt.bfloat16 else x).numpy()
    if isinstance(x, np.ndarray):
        return x
    if isinstance(x, (list, tuple)):
        return np.array([array(y) for y in x])
    if np.isscalar(x) and not isinstance(x, (str, bytes)):
        return np.array([x])
    if hasattr(x, "__array__"):
        return np.asarray(x)
    raise NotImplementedError(f"Got {type(x)}, but numpy array or torch tensor are expected.")


def number(x) -> float:
    """The one number in a tensor, an array or a number."""
    x = array(x)
    if x.size != 1:
        raise AssertionError("scalar should be 0D")
    return x.reshape(()).item()


def bytes_of(pixels: np.ndarray) -> np.ndarray:
    """Pixels from 0 to 255: floating ones reach from 0 to 1."""
    if pixels.dtype == np.uint8:
        return pixels
    return (pixels.astype(np.float32) * 255.0).clip(0, 255).astype(np.uint8)


def to_hwc(pixels: np.ndarray, order: str) -> np.ndarray:
    """A picture as (height, width, colours) from the order of dimensions that a text names.

    Several (an N in the text) come in rows of eight; grey ones get three equal colours.
    """
    order = order.upper()
    if len(set(order)) != len(order):
        raise AssertionError(
            f"You can not use the same dimension shorthand twice.         input_format: {order}"
        )
    if pixels.ndim != len(order):
        raise AssertionError(
            "size of input tensor and input format are different.         tensor shape: "
            f"{pixels.shape}, input_format: {order}"
        )
    if len(order) == 4:
        pixels = grid(pixels.transpose([order.index(c) for c in "NHWC"]))
    elif len(order) == 3:
        pixels = pixels.transpose([order.index(c) for c in "HWC"])
    else:
        pixels = pixels.transpose([order.index(c) for c in "HW"])[..., None]
    return np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels


def grid(pictures: np.ndarray, columns: int = 8) -> np.ndarray:
    """(n, height, width, colours) as one picture, row by row, the rest black."""
    n, height, width, colours = pictures.shape
    columns = min(n, columns)
    rows = -(-n // columns)
    canvas = np.zeros((rows * columns, height, width, colours), pictures.dtype)
    canvas[:n] = pictures
    canvas = canvas.reshape(rows, columns, height, width, colours).swapaxes(1, 2)
    return canvas.reshape(rows * height, columns * width, colours)


def png(pixels: np.ndarray) -> bytes:
    """A picture (height, width, colours) of bytes as a PNG file."""
    file = io.BytesIO()
    pillow().fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def film(frames: np.ndarray) -> np.ndarray:
    """(n, time, colours, height, width) as frames (time, height, width, colours): the n films
    beside each other in a grid of a power of two."""
    n, time, colours, height, width = frames.shape
    count = 1 << (n - 1).bit_length()
    all_of = np.zeros((count, time, colours, height, width), frames.dtype)
    all_of[:n] = frames
    rows = 1 << ((n.bit_length() - 1) // 2)
    all_of = all_of.reshape(rows, count // rows, time, colours, height, width)
    return all_of.transpose(2, 0, 4, 1, 5, 3).reshape(
        time, rows * height, count // rows * width, colours
    )


def gif(frames: np.ndarray, fps: float) -> bytes:
    """Frames (time, height, width, colours) of bytes as an animated GIF file."""
    if frames.shape[3] == 1:
        frames = np.repeat(frames, 3, 3)
    images = [pillow().fromarray(frame) for frame in frames]
    file = io.BytesIO()
    images[0].save(
        file, format="GIF", save_all=True, append_images=images[1:], duration=1000 / fps, loop=0
    )
    return file.getvalue()
