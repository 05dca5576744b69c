"""The one gate: whatever form an array comes in, every public function takes it alike or says why not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.scipy.sparse.linalg import cg
from PIL import Image

import ntk_nonlocal as nnl
from ntk_nonlocal.dynamics import monte_carlo_sure
from ntk_nonlocal.images import as_image, checked_input, finite_array, finite_jax, real_array
from ntk_nonlocal.kernels import patch_affinity
from ntk_nonlocal.linalg import energy_shares, leading_eigenvectors

# Eighths: the same numbers in every type.
IMAGE = (np.random.default_rng(0).integers(0, 9, (8, 8, 2)) / 8).astype(np.float32)
ARCHITECTURE = nnl.vanilla_cnn(3)
NETWORK = nnl.to_flax(ARCHITECTURE, 4, 2)
PARAMS = NETWORK.init(jax.random.key(0), IMAGE)
KERNEL = nnl.DenseOperator(np.diag(np.linspace(1, 2, 64, dtype=np.float32)), (8, 8))
FILTER = nnl.nonlocal_means(IMAGE, 3, 0.3)
COLUMN = np.ones(64, np.float32)
BASIS = np.eye(64, dtype=np.float32)[:, :2].reshape(8, 8, 2)


def _slices(x: Any) -> Any:
    return np.moveaxis(x, 2, 0) if isinstance(x, np.ndarray) else x


TAKERS: dict[str, Callable[[Any], Any]] = {
    "tangent_kernel": lambda x: nnl.tangent_kernel(ARCHITECTURE, x) @ COLUMN,
    "network.init": lambda x: NETWORK.init(jax.random.key(0), x)["layer_0"]["kernel"],
    "network.apply": lambda x: NETWORK.apply(PARAMS, x),
    "empirical_kernel": lambda x: nnl.empirical_kernel(NETWORK, PARAMS, x) @ COLUMN,
    "train": lambda x: nnl.train(NETWORK, x, x, steps=2, clean=x).output,
    "gradient_descent": lambda x: nnl.gradient_descent(KERNEL, x, [1, 5], start=x),
    "nystrom": lambda x: nnl.nystrom(KERNEL, 8).gradient_descent(x, [3]),
    "twicing": lambda x: nnl.twicing(FILTER, x, [1, 2]),
    "filter.apply": lambda x: FILTER.apply(x),
    "nonlocal_means": lambda x: nnl.nonlocal_means(x, 3, 0.3) @ COLUMN,
    "patch_affinity": lambda x: patch_affinity(x, 3, 0.3, 2) @ np.ones(16, np.float32),
    "operator": lambda x: KERNEL @ np.reshape(x, (64, 2)) if isinstance(x, np.ndarray) else KERNEL @ x,
    "monte_carlo_sure": lambda x: monte_carlo_sure(lambda v: 0.5 * v[None], x, 0.1)[0],
    "energy_shares": lambda x: energy_shares(x, BASIS),
    "leading_eigenvectors": lambda x: leading_eigenvectors(x, 1).values,
    "denoise": lambda x: nnl.denoise(x, 0.1, "tv").image,
    "denoise a stack": lambda x: nnl.denoise(_slices(x), 0.1, "tv", axes="TYX").image,
    "denoise with a mask": lambda x: nnl.denoise(x, 0.1, mask=np.ones((8, 8), bool), fast=True).image,
    "estimate_sigma": nnl.estimate_sigma,
    "psnr": lambda x: nnl.psnr(x, 1 - IMAGE),
    "add_noise": lambda x: nnl.add_noise(x, 0.1),
    "crop": lambda x: nnl.crop(x, 4),
    "as_image": as_image,
}
FORMS = {
    "big-endian": ">f4",
    "big-endian double": ">f8",
    "half": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "long double": np.longdouble,
}


@pytest.mark.parametrize("taker", TAKERS)
def test_every_type_of_float_gives_what_float32_gives(taker: str) -> None:
    take = TAKERS[taker]
    expected = np.asarray(take(IMAGE))
    for name, form in FORMS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # float64 without 64-bit JAX
            found = np.asarray(take(IMAGE.astype(form)))
        assert found.dtype.isnative and found.dtype in (np.float32, np.float64), name
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (IMAGE + 1j, "complex64; take its real part"),
        (np.ma.masked_less(IMAGE, 0.5), r"masked one, whose mask would be ignored; fill its gaps with x\.filled"),
        ([[1.0, 2.0], [3.0]], "list.*inhomogeneous"),
        (None, r"NoneType|object|shape \(\)"),
    ],
    ids=["complex", "masked", "ragged", "nothing"],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(taker: str, wrong: Any, words: str) -> None:
    if taker == "operator" and isinstance(wrong, np.ndarray) and not isinstance(wrong, np.ma.MaskedArray):
        wrong = wrong.reshape(64, 2)
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        TAKERS[taker](wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("mode", ["P", "LA", "RGBA", "CMYK", "YCbCr"])
def test_images_of_pillow_whose_numbers_are_no_colours_are_refused(taker: str, mode: str) -> None:
    picture = Image.new("RGB", (8, 8), (200, 10, 30)).convert(mode)
    with pytest.raises(ValueError, match=f"Pillow image of mode '{mode}'.*convert it, with x.convert"):
        TAKERS[taker](picture)


def test_grey_and_rgb_of_pillow_are_images() -> None:
    for mode, value in (("L", 51), ("RGB", (51, 102, 255))):
        found = as_image(Image.new(mode, (4, 3), value))  # type: ignore[arg-type]
        np.testing.assert_allclose(found[0, 0], np.atleast_1d(value) / 255)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int64", "uint32"])
def test_whole_numbers_of_no_known_range_are_told_what_to_become(dtype: str) -> None:
    with pytest.raises(TypeError, match=r"got u?int\d+; .*'uint8'.*'uint16'.*or take x\.astype\('float32'\)"):
        nnl.denoise(np.zeros((8, 8), dtype))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: nnl.tangent_kernel(ARCHITECTURE, x, x), "backend must be one of .*an array of shape .8, 8, 2. and"),
        (lambda x: nnl.denoise(x, None, x), "method must be one of .*an array of shape"),
        (lambda x: nnl.to_flax(ARCHITECTURE, x), "width must be an integer .*an array of shape"),
        (lambda x: nnl.tangent_kernel("unet", x), "architecture must be built from layers, .*; parse_architecture"),
        (lambda x: nnl.to_flax("unet", 8), "architecture must be built from layers, .*; parse_architecture"),
        (lambda x: nnl.tangent_kernel(x, x), "architecture must be built from layers, .* got an array of shape"),
        (lambda x: nnl.cnn(depth=x.tolist()), r"depth must be an integer .{,400}\.\.\.$"),
    ],
)
def test_what_was_given_is_told_in_a_line(call: Callable[[Any], Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        call(IMAGE)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


INSIDE: dict[str, Callable[[Any], Any]] = {
    "tangent_kernel": lambda v: nnl.tangent_kernel(ARCHITECTURE, IMAGE) @ v,
    "nonlocal_means": lambda v: nnl.nonlocal_means(jnp.asarray(IMAGE), 3, 0.3) @ v,
    "empirical_kernel": lambda v: nnl.empirical_kernel(NETWORK, PARAMS, IMAGE) @ v,
    "apply": lambda v: NETWORK.apply(PARAMS, IMAGE)[..., 0].reshape(64) * v,
    "twicing": lambda v: nnl.twicing(FILTER, v.reshape(8, 8, 1), [2]).reshape(64),
    "gradient_descent": lambda v: nnl.gradient_descent(KERNEL, IMAGE, [3])[0, :, :, 0].reshape(64) * v,
    "eigenpairs": lambda v: nnl.eigenpairs(KERNEL, 1).vectors[:, 0] ** 2 * v,
    "big-endian": lambda v: nnl.DenseOperator(np.eye(64, dtype=">f4"), (8, 8)) @ v,
}


@pytest.mark.parametrize("name", INSIDE)
def test_known_arrays_are_as_good_inside_a_trace_as_outside(name: str) -> None:
    function = INSIDE[name]
    expected = function(jnp.asarray(COLUMN))
    np.testing.assert_allclose(jax.jit(function)(COLUMN), expected, rtol=1e-5, atol=1e-6)


def test_scan_and_conjugate_gradients_with_a_kernel_made_inside() -> None:
    made = nnl.nonlocal_means(IMAGE, 3, 0.3).kernel
    expected, _ = cg(lambda v: v + made @ v, COLUMN, maxiter=3)
    found, _ = cg(lambda v: v + nnl.nonlocal_means(IMAGE, 3, 0.3).kernel @ v, COLUMN, maxiter=3)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    twice, _ = jax.lax.scan(lambda v, _: (nnl.nonlocal_means(IMAGE, 3, 0.3) @ v, None), COLUMN, None, length=2)
    np.testing.assert_allclose(twice, FILTER @ (FILTER @ COLUMN), rtol=1e-5)


@pytest.mark.parametrize("wrong", [np.full((8, 8, 2), np.nan, np.float32), np.ones((8, 8), np.float32)])
def test_known_arrays_are_checked_inside_a_trace_too(wrong: Any) -> None:
    with pytest.raises(ValueError, match="network_input"):
        jax.jit(lambda v: nnl.tangent_kernel(ARCHITECTURE, wrong) @ v)(COLUMN)


@pytest.mark.parametrize("function", [nnl.denoise, nnl.estimate_sigma, lambda y: nnl.gradient_descent(KERNEL, y, [1])])
def test_what_needs_values_says_so_of_traced_ones(function: Any) -> None:
    with pytest.raises(TypeError, match=r"traced a.*outside jax\.jit"):
        jax.jit(function)(IMAGE)


def test_values_beyond_the_type_of_the_computation_are_not_finite() -> None:
    with pytest.raises(ValueError, match=r"1 of 4 that are NaN or infinite in float32, the first at index \(0, 1, 0\)"):
        checked_input(np.array([[[0.0], [1e300]], [[0.0], [0.0]]]))
    with pytest.raises(ValueError, match="infinite in float32"):
        nnl.gradient_descent(KERNEL, 1e300 * (IMAGE.astype(np.float64) + 1), [1])


def test_what_is_fine_is_not_copied() -> None:
    known = jnp.asarray(IMAGE)
    assert real_array("x", IMAGE) is finite_array("x", IMAGE) is IMAGE
    assert real_array("x", known) is finite_jax("x", known) is known


def test_scaled_kernels_stay_symmetric() -> None:
    scale = np.linspace(1, 2, 64).astype(">f4")
    assert nnl.ScaledOperator(KERNEL, scale, scale).is_symmetric is KERNEL.is_symmetric
    assert nnl.ScaledOperator(KERNEL, scale, scale.copy()).is_symmetric is False
