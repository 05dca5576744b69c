"""Denoise my photo

From an image file to an image file, and what can be asked about the result on the way. Put the name of your own file
in the place of `photo.png`; everything else stays. On the command line all of this is
`ntk-nonlocal denoise photo.png -o clean.png --compare comparison.png`.
"""

import sys
from pathlib import Path

import numpy as np

import ntk_nonlocal as nnl
from ntk_nonlocal.denoisers import draw_side_by_side

# So that this page runs as it stands, it first makes a photograph of its own: a part of the bundled portrait, with
# noise of standard deviation 20 in 8-bit units. `sigma` lives on the scale of the image, [0, 1]. A file cannot hold
# values beyond black and white: `write_photo` clips them, as a camera does.

size = int(sys.argv[1]) if len(sys.argv) > 1 else 160  # pixels on a side
clean = nnl.crop(nnl.example_image(512), size, center=(100, 240))
nnl.write_photo("photo.png", nnl.add_noise(clean, sigma=20 / 255))

# `read_photo` takes PNG, JPEG, TIFF and WebP, told by their content, and keeps what is needed to write the result as
# the photo came: bit depth, transparency, colour profile and EXIF.

photo = nnl.read_photo("photo.png")
print(photo)

# How noisy is it? Nobody has to know: `denoise` asks `estimate_sigma`, and looks for noise that is not white (after
# strong JPEG compression, resizing or demosaicing) by itself; [what is approximate](../approximate.md) lists what reads
# wrong. Then give `sigma` yourself.

print(f"estimated noise: {255 * nnl.estimate_sigma(photo.image):.1f} of 255")

# The default method is the infinitely wide network in closed form. Nothing is trained: kernel, filter, stopping time
# and the mixture of several networks follow from the noisy image alone.

result = nnl.denoise(photo.image)
print(result)
print("which network that is:", result.network)

# The result carries its own estimate of the mean squared error (Stein's), made without the clean image. Here the clean
# image is known, so that the estimate can be checked. It is too low: where the picture is nearly black or white, the
# file has cut half of the noise off, and Stein's estimate takes the noise for what it was. With the noise as it was
# drawn the two agree.

error = float(np.mean((result.image - clean) ** 2))
print(f"estimated mean squared error {result.risk:.6f}, true one {error:.6f}")
whole = nnl.denoise(nnl.add_noise(clean, sigma=20 / 255), sigma=20 / 255)
whole_error = float(np.mean((whole.image - clean) ** 2))
print(f"the same without clipping: estimated {whole.risk:.6f}, true {whole_error:.6f}")

# Other methods come by name. Non-local means and total variation are scikit-image's; `fast=True` is the closed form
# with one pass and a small window.

print(f"noisy image: {nnl.psnr(photo.image, clean):.2f} dB")
quality = {"ntk": nnl.psnr(result.image, clean)}
for name, options in {"ntk, fast": {"fast": True}, "nlm": {"method": "nlm"}, "tv": {"method": "tv"}}.items():
    quality[name] = nnl.psnr(nnl.denoise(photo.image, **options).image, clean)
for name, value in quality.items():
    print(f"{name}: {value:.2f} dB")

# `like=photo` writes the file as the photo came.

nnl.write_photo("clean.png", result.image, like=photo)
draw_side_by_side(photo.image, result, Path("comparison.png"))
