"""torchvision.io.image: files and bytes as tensors (C, H, W) of bytes, by Pillow."""

from __future__ import annotations

import enum
import io
import os

import numpy as np

import torchlike as torch
from torchlike._runner.torchvision.transforms._images import pil_to_tensor, to_pil_image


class ImageReadMode(enum.Enum):
    """Which channels a decoded image has."""

    UNCHANGED = 0
    GRAY = 1
    GRAY_ALPHA = 2
    RGB = 3
    RGB_ALPHA = 4

    RGBA = RGB_ALPHA


_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def read_file(path):
    """The bytes of a file, (N,); raises ``RuntimeError`` where there is none."""
    try:
        return torch.tensor(np.fromfile(os.fspath(path), np.uint8))
    except OSError as error:
        raise RuntimeError(f"[Errno {error.errno}] {error.strerror}: '{path}'") from error


def write_file(filename, data) -> None:
    """Write bytes (N,) to a file."""
    data.cpu().numpy().tofile(os.fspath(filename))


def _decoded(content: bytes, mode, upright: bool, kinds: tuple | None = None):
    from PIL import Image, ImageOps, UnidentifiedImageError

    mode = ImageReadMode[mode.upper()] if isinstance(mode, str) else mode
    try:
        image = Image.open(io.BytesIO(content), formats=kinds)
        image.load()
    except UnidentifiedImageError as error:
        known = ", ".join(kinds) if kinds else "JPEG, PNG, GIF, WEBP"
        raise RuntimeError(f"Unsupported image file: only {known} are decoded") from error
    except OSError as error:
        raise RuntimeError(f"the image cannot be decoded: {error}") from error
    if upright:
        image = ImageOps.exif_transpose(image)
    if mode is not ImageReadMode.UNCHANGED:
        image = image.convert(_MODES[mode.value])
    elif image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    return pil_to_tensor(image)


def decode_image(input, mode=ImageReadMode.UNCHANGED, apply_exif_orientation: bool = False):
    """The image in bytes (N,), or in a file of this path, as (C, H, W) of bytes.

    Raises ``RuntimeError`` for what is no image.
    """
    data = input if isinstance(input, torch.Tensor) else read_file(input)
    return _decoded(data.cpu().numpy().tobytes(), mode, apply_exif_orientation)


def read_image(path, mode=ImageReadMode.UNCHANGED, apply_exif_orientation: bool = False):
    """The image in a file, as (C, H, W) of bytes; raises ``RuntimeError`` for none."""
    return decode_image(read_file(path), mode, apply_exif_orientation)


def decode_png(input, mode=ImageReadMode.UNCHANGED, apply_exif_orientation: bool = False):
    """The PNG image in bytes (N,)."""
    return _decoded(input.cpu().numpy().tobytes(), mode, apply_exif_orientation, ("PNG",))


def decode_jpeg(
    input, mode=ImageReadMode.UNCHANGED, device="cpu", apply_exif_orientation: bool = False
):
    """The JPEG image in bytes (N,), or of each of a list."""
    if isinstance(input, list):
        return [decode_jpeg(x, mode, device, apply_exif_orientation) for x in input]
    found = _decoded(input.cpu().numpy().tobytes(), mode, apply_exif_orientation, ("JPEG",))
    return found.to(device)


def decode_webp(input, mode=ImageReadMode.UNCHANGED):
    """The WebP image in bytes (N,)."""
    return _decoded(input.cpu().numpy().tobytes(), mode, False, ("WEBP",))


def decode_gif(input):
    """The GIF in bytes (N,), (C, H, W), or (frames, C, H, W) of several."""
    from PIL import Image, ImageSequence

    image = Image.open(io.BytesIO(input.cpu().numpy().tobytes()), formats=("GIF",))
    frames = [pil_to_tensor(f.convert("RGB")) for f in ImageSequence.Iterator(image)]
    return frames[0] if len(frames) == 1 else torch.stack(frames)


def _encoded(input, kind: str, **options):
    if input.dtype != torch.uint8:
        raise RuntimeError("Input tensor dtype should be uint8")
    if input.ndim != 3 or input.shape[0] not in (1, 3):
        raise RuntimeError(
            f"The number of channels should be 1 or 3, got: {input.shape[0]} of shape "
            f"{tuple(input.shape)}"
        )
    out = io.BytesIO()
    to_pil_image(input).save(out, kind, **options)
    return torch.tensor(np.frombuffer(out.getvalue(), np.uint8))


def encode_png(input, compression_level: int = 6):
    """(C, H, W) of bytes as the bytes of a PNG file."""
    return _encoded(input, "PNG", compress_level=compression_level)


def encode_jpeg(input, quality: int = 75):
    """(C, H, W) of bytes as the bytes of a JPEG file, or each of a list."""
    if not 1 <= quality <= 100:
        raise ValueError("Image quality should be a positive number between 1 and 100")
    if isinstance(input, list):
        return [encode_jpeg(x, quality) for x in input]
    return _encoded(input, "JPEG", quality=quality)


def write_png(input, filename, compression_level: int = 6) -> None:
    """Write (C, H, W) of bytes to a PNG file."""
    write_file(filename, encode_png(input, compression_level))


def write_jpeg(input, filename, quality: int = 75) -> None:
    """Write (C, H, W) of bytes to a JPEG file."""
    write_file(filename, encode_jpeg(input, quality))
