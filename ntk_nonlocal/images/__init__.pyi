from .arrays import as_image, as_noisy_image, check_sigma
from .example import crop, example_image
from .inputs import checked_input
from .metrics import psnr, ssim
from .noise import add_noise, estimate_sigma
from .photos import Photo, check_writable, read_photo, write_photo

__all__ = [
    "Photo",
    "add_noise",
    "as_image",
    "as_noisy_image",
    "check_sigma",
    "check_writable",
    "checked_input",
    "crop",
    "estimate_sigma",
    "example_image",
    "psnr",
    "read_photo",
    "ssim",
    "write_photo",
]
