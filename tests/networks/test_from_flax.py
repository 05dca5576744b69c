"""Architectures of Flax networks: those that people write, and the sentence for the first layer without a limit."""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ntk_nonlocal as nnl
from ntk_nonlocal.architecture import Conv, Downsample, LeakyRelu, Normalize, Pointwise, Relu, Serial

HE = nn.initializers.he_normal()


def test_linen_and_nnx_give_the_architecture() -> None:
    linen = nn.Sequential(
        [
            nn.Conv(8, (3, 3), kernel_init=HE),
            nn.relu,
            nn.Conv(8, (3, 3), strides=2, padding=1, use_bias=False),
            nn.LayerNorm(epsilon=1e-5),
            nn.gelu,
            nn.Sequential([nn.Conv(8, (3, 3), kernel_dilation=2, padding="CIRCULAR"), nn.leaky_relu]),
            partial(nn.avg_pool, window_shape=(2, 2), strides=(2, 2)),
            nn.Conv(1, (1, 1), bias_init=nn.initializers.normal(0.3)),
        ]
    )
    found = nnl.from_flax(linen)
    assert isinstance(found.layers[-1], Conv) and found.layers[-1].bias_std == pytest.approx(0.3, rel=0.05)
    assert found.layers[:-1] == (
        *(Conv(3), Relu(), Conv(3, 1.0, stride=2), Normalize(1e-5), Pointwise(nn.gelu)),
        *(Conv(3, 1.0, padding="circular", dilation=2), LeakyRelu(0.01), Downsample(2, "average")),
    )
    rngs = nnx.Rngs(0)
    modern = nnx.Sequential(nnx.Conv(3, 32, (3, 3), rngs=rngs), jnp.tanh, nnx.Conv(32, 3, (1, 1), rngs=rngs))
    assert nnl.from_flax(modern) == Serial(Conv(3, 1.0), Pointwise(jnp.tanh), Conv(1, 1.0))


def test_its_finite_network_is_the_flax_module() -> None:
    module = nn.Sequential(
        [
            *(nn.Conv(6, (3, 3), strides=2, padding="REFLECT", kernel_init=HE), nn.LayerNorm(), nn.silu),
            *(nn.Conv(6, (3, 3), padding=1, kernel_init=HE), nn.Conv(2, (3, 3), padding="REFLECT")),
        ]
    )
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(6, 8, 3)), jnp.float32)
    theirs = module.init(jax.random.key(0), x)
    network = nnl.to_flax(nnl.from_flax(module), width=6, out_channels=2, parameterization="standard")
    kernels = [theirs["params"][f"layers_{index}"]["kernel"] for index in (0, 3, 4)]
    ours: dict[str, Any] = {f"layer_{i}": {"kernel": kernel} for i, kernel in zip((0, 3, 4), kernels, strict=True)}
    np.testing.assert_allclose(network.apply(ours, x), module.apply(theirs, x), atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.BatchNorm(use_running_average=False), "BatchNorm has no limit here: its statistics couple all pixels"),
        (nn.Dropout(0.5), "Dropout has no limit here: it is random"),
        (nn.Dense(3), "Dense.*mixed by convolutions"),
        (partial(nn.max_pool, window_shape=(2, 2)), "max_pool|partial.*maximum of correlated Gaussians"),
        (partial(nn.avg_pool, window_shape=(2, 2)), "equal squares"),
        (nn.Conv(3, (2, 2)), r"square and odd, got \(2, 2\)"),
        (nn.Conv(3, (3, 3), strides=2), "'SAME' reads another window"),
        (nn.Conv(3, (3, 3), padding="VALID"), "padding=1"),
        (nn.Conv(6, (3, 3), feature_group_count=3), "feature_group_count must be 1"),
        (nn.softmax, "no differentiable function of one real number|axis"),
        (nn.GroupNorm(2), "GroupNorm.*LayerNorm"),
    ],
)
def test_the_first_layer_without_a_limit_is_named(layer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"layer 1: .*({message})"):
        nnl.from_flax(nn.Sequential([nn.Conv(3, (1, 1)), layer, nn.Dropout(0.1)]))
    with pytest.raises(nnl.ArchitectureError, match="layer 2: "):
        nnl.from_flax(nn.Sequential([nn.Conv(3, (1, 1)), nn.relu, nn.LayerNorm()]))
