"""The convolution of finite networks: its gradient with respect to the weights is XLA's, however it is taken."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.networks import convolution
from ntk_nonlocal.networks.convolution import convolve

SHAPES = [
    # height, width, channels, output channels, kernel size
    (5, 7, 3, 4, 3),
    (7, 5, 4, 3, 3),
    (6, 3, 2, 9, 3),
    (6, 3, 9, 2, 3),
    (6, 3, 9, 1, 1),
    (6, 3, 3, 2, 1),
    (8, 4, 2, 2, 5),
    (1, 9, 2, 2, 7),
    (9, 9, 1, 8, 11),
]


@pytest.fixture(autouse=True)
def _by_rows_at_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "_MANY_PIXELS", 0)
    monkeypatch.setattr(convolution, "_MANY_PRODUCTS", 0)


@pytest.mark.parametrize("height, width, channels, outputs, size", SHAPES)
@pytest.mark.parametrize("padding", ["zero", "circular", "reflect"])
@pytest.mark.usefixtures("x64")
def test_all_ways_give_the_same_gradients(
    height: int, width: int, channels: int, outputs: int, size: int, padding: str
) -> None:
    if padding != "zero" and size // 2 >= min(height, width):
        pytest.skip("a filter that reaches beyond the image's other side")
    draw = np.random.default_rng(0).normal
    x, kernel = draw(size=(height, width, channels)), draw(size=(size, size, channels, outputs))
    target = draw(size=(height, width, outputs))
    found = []
    for options in ({}, {"reverse_mode": True}, {"in_loop": True}):
        out, pullback = jax.vjp(lambda x, kernel, o=options: convolve(x, kernel, padding, **o), x, kernel)
        found.append((out, *pullback(jnp.asarray(target))))
    for plain, *others in zip(*found, strict=True):
        for other in others:
            np.testing.assert_allclose(plain, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dilation", "stride"), [(2, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("padding", ["zero", "circular", "reflect"])
@pytest.mark.usefixtures("x64")
def test_matrix_products_are_the_convolution(dilation: int, stride: int, padding: str) -> None:
    draw = np.random.default_rng(0).normal
    x, kernel = draw(size=(12, 9, 2)), draw(size=(3, 3, 2, 4))
    plain, products = (
        convolve(x, kernel, padding, dilation=dilation, stride=stride, in_loop=in_loop) for in_loop in (False, True)
    )
    np.testing.assert_allclose(plain, products, rtol=1e-12, atol=1e-12)


def network(architecture: nnl.Layer) -> tuple[Any, Any, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(8, 8, 3)).astype(np.float32)
    made = nnl.to_flax(architecture, width=6, out_channels=3)
    return made, made.init(jax.random.key(0), x), x


@pytest.mark.parametrize("architecture", [nnl.unet(levels=2), nnl.autoencoder(levels=1), nnl.vanilla_cnn(5)])
def test_a_network_has_the_same_gradient_in_reverse_mode(architecture: nnl.Layer) -> None:
    made, params, x = network(architecture)
    plain, reverse = (
        jax.grad(lambda p, mode=mode: jnp.sum(made.apply(p, x, reverse_mode=mode) ** 2))(params)
        for mode in (False, True)
    )
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(reverse), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=1e-4)


def test_reverse_mode_maps_over_cotangents() -> None:
    made, params, x = network(nnl.cnn(depth=2))
    out, pullback = jax.vjp(lambda p: made.apply(p, x, reverse_mode=True), params)
    cotangents = np.random.default_rng(1).normal(size=(3, *out.shape)).astype(np.float32)
    (mapped,) = jax.vmap(pullback)(cotangents)
    for index, cotangent in enumerate(cotangents):
        (single,) = pullback(cotangent)
        for one, other in zip(jax.tree.leaves(single), jax.tree.leaves(mapped), strict=True):
            np.testing.assert_allclose(one, other[index], rtol=2e-4, atol=1e-5)


def test_forward_mode_is_there_unless_it_is_given_up() -> None:
    made, params, x = network(nnl.cnn(depth=1))
    _, tangent = jax.jvp(lambda p: made.apply(p, x), (params,), (params,))
    assert np.isfinite(tangent).all() and np.abs(tangent).max() > 0
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(lambda p: made.apply(p, x, reverse_mode=True), (params,), (params,))
