"""kornia: colours, filters, geometry, losses and augmentations."""

import kornia
import torch

torch.manual_seed(0)
image = torch.rand(2, 3, 24, 32)


def show(name, t):
    print(name, tuple(t.shape), f"{t.double().mean():.5f} {t.double().std():.5f}")


show("gray", kornia.color.rgb_to_grayscale(image))
show("hsv", kornia.color.rgb_to_hsv(image))
show("lab", kornia.color.rgb_to_lab(image))
show("blur", kornia.filters.gaussian_blur2d(image, (5, 5), (1.5, 1.5)))
show("sobel", kornia.filters.sobel(image))
show("median", kornia.filters.median_blur(image, (3, 3)))
show("canny", kornia.filters.canny(image)[0])
show("rotate", kornia.geometry.transform.rotate(image, torch.tensor([30.0, -10.0])))
show("resize", kornia.geometry.transform.resize(image, (12, 16), antialias=True))
src = torch.tensor([[[0.0, 0], [31, 0], [31, 23], [0, 23]]]).repeat(2, 1, 1)
matrix = kornia.geometry.transform.get_perspective_transform(src, src * 0.8 + 2)
show("perspective", kornia.geometry.transform.warp_perspective(image, matrix, (24, 32)))
show("harris", kornia.feature.harris_response(kornia.color.rgb_to_grayscale(image)))
show("erode", kornia.morphology.erosion(image, torch.ones(3, 3)))
show("equalize", kornia.enhance.equalize(image))
show("ssim", kornia.metrics.ssim(image, image.flip(0), 5))
x = image.clone().requires_grad_()
kornia.losses.total_variation(x).mean().backward()
show("tv gradient", x.grad)
augment = kornia.augmentation.AugmentationSequential(
    kornia.augmentation.RandomHorizontalFlip(p=0.5),
    kornia.augmentation.RandomAffine(15.0, p=1.0),
    kornia.augmentation.ColorJitter(0.1, 0.1, 0.1, 0.1, p=1.0),
)
torch.manual_seed(1)
show("augment", augment(image))
