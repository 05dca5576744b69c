from .arrays import (
    as_image,
    as_noisy_image,
    check_sigma,
    checked_input,
    finite_array,
    finite_jax,
    plain_array,
    real_array,
    to_jax,
    white_of,
)
from .example import crop, example_image
from .growth import noise_grows
from .metrics import psnr, ssim
from .noise import LUMA, add_noise, as_mask, estimate_sigma, masked_image, middle_range, neighbours_of, outlying
from .photos import Photo, Photos, check_writable, open_photos, open_writer, read_photo, write_photo
from .poisson import PoissonGaussian, estimate_poisson_gaussian

__all__ = [
    "LUMA",
    "Photo",
    "Photos",
    "PoissonGaussian",
    "add_noise",
    "as_image",
    "as_mask",
    "as_noisy_image",
    "check_sigma",
    "check_writable",
    "checked_input",
    "crop",
    "estimate_poisson_gaussian",
    "estimate_sigma",
    "example_image",
    "finite_array",
    "finite_jax",
    "masked_image",
    "middle_range",
    "neighbours_of",
    "noise_grows",
    "open_photos",
    "open_writer",
    "outlying",
    "plain_array",
    "psnr",
    "read_photo",
    "real_array",
    "ssim",
    "to_jax",
    "white_of",
    "write_photo",
]
