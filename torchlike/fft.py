"""torch.fft: discrete Fourier transforms."""

from torchlike._tensor.fourier import TRANSFORMS as _TRANSFORMS
from torchlike._tensor.tensor import Tensor as Tensor

fft = _TRANSFORMS["fft"]
fft2 = _TRANSFORMS["fft2"]
fftfreq = _TRANSFORMS["fftfreq"]
fftn = _TRANSFORMS["fftn"]
fftshift = _TRANSFORMS["fftshift"]
hfft = _TRANSFORMS["hfft"]
hfft2 = _TRANSFORMS["hfft2"]
hfftn = _TRANSFORMS["hfftn"]
ifft = _TRANSFORMS["ifft"]
ifft2 = _TRANSFORMS["ifft2"]
ifftn = _TRANSFORMS["ifftn"]
ifftshift = _TRANSFORMS["ifftshift"]
ihfft = _TRANSFORMS["ihfft"]
ihfft2 = _TRANSFORMS["ihfft2"]
ihfftn = _TRANSFORMS["ihfftn"]
irfft = _TRANSFORMS["irfft"]
irfft2 = _TRANSFORMS["irfft2"]
irfftn = _TRANSFORMS["irfftn"]
rfft = _TRANSFORMS["rfft"]
rfft2 = _TRANSFORMS["rfft2"]
rfftfreq = _TRANSFORMS["rfftfreq"]
rfftn = _TRANSFORMS["rfftn"]

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2",
    "ifftn", "ifftshift", "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft",
    "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip
