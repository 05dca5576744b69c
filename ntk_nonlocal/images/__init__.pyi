from .arrays import (
    as_image,
    as_noisy_image,
    check_sigma,
    checked_input,
    finite_array,
    finite_jax,
    real_array,
    to_jax,
    white_of,
)
from .example import crop, example_image
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
    "finite_array",
    "finite_jax",
    "psnr",
    "read_photo",
    "real_array",
    "ssim",
    "to_jax",
    "white_of",
    "write_photo",
]
