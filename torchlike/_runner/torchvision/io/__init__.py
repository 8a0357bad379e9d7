"""torchvision.io: images to and from files, by Pillow."""

from torchlike._runner.torchvision.io.image import ImageReadMode as ImageReadMode
from torchlike._runner.torchvision.io.image import decode_gif as decode_gif
from torchlike._runner.torchvision.io.image import decode_image as decode_image
from torchlike._runner.torchvision.io.image import decode_jpeg as decode_jpeg
from torchlike._runner.torchvision.io.image import decode_png as decode_png
from torchlike._runner.torchvision.io.image import decode_webp as decode_webp
from torchlike._runner.torchvision.io.image import encode_jpeg as encode_jpeg
from torchlike._runner.torchvision.io.image import encode_png as encode_png
from torchlike._runner.torchvision.io.image import read_file as read_file
from torchlike._runner.torchvision.io.image import read_image as read_image
from torchlike._runner.torchvision.io.image import write_file as write_file
from torchlike._runner.torchvision.io.image import write_jpeg as write_jpeg
from torchlike._runner.torchvision.io.image import write_png as write_png
