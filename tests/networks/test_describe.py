"""Descriptions against what is measured: what an output pixel depends on, parameters, and the operator's own sizes."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.architecture import Concat, Conv, Downsample, Layer, Relu, Serial, Upsample
from ntk_nonlocal.cli import main

MIXED = Serial(
    *(Conv(3, bias_std=0.1, dilation=2), Relu(), Concat(Serial(), Serial(Conv(3, stride=2), Relu(), Upsample(2)))),
    *(Conv(1, channels=0.5), Relu(), Downsample(2), Upsample(2, "nearest"), Conv(3)),
)


@pytest.mark.parametrize("architecture", [nnl.cnn(2), nnl.autoencoder(1), MIXED], ids=["cnn", "autoencoder", "mixed"])
def test_the_receptive_field_is_what_the_output_depends_on(architecture: Layer) -> None:
    """All weights one: a pixel of the input counts where the derivative is not zero."""
    size = 32
    network = nnl.to_flax(architecture, width=2, out_channels=1)
    x = jnp.ones((2, size, 1))
    params = jax.tree.map(jnp.ones_like, network.init(jax.random.key(0), x))
    slopes = jax.jacrev(lambda row: network.apply(params, jnp.stack([row, row]))[0, :, 0])(x[0])[..., 0]
    middle = np.asarray(slopes)[size // 4 : -size // 4] != 0
    spans = [np.flatnonzero(row)[-1] - np.flatnonzero(row)[0] + 1 for row in middle]
    assert nnl.describe(architecture, (2, size)).receptive_field == max(spans)


@pytest.mark.parametrize("architecture", [nnl.unet(2), MIXED, nnl.dip(2)], ids=["unet", "mixed", "dip"])
def test_weights_and_resolutions_are_those_of_the_network(architecture: Serial) -> None:
    found = nnl.describe(architecture, (8, 16, 2), width=32)
    network = nnl.to_flax(architecture, width=32, out_channels=2)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.ones((8, 16, 2))))
    assert found.weights == sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert found.layers[-1][2] == (8, 16)
    convs = [at for _, layer, at in found.layers if isinstance(layer, Conv)]
    assert found.pair_layers == sum((rows * columns) ** 2 for rows, columns in convs)
    assert found.memory["recompute"] < found.memory["keep"] < found.memory["matrix"]


def test_it_prints_and_measures() -> None:
    found = nnl.describe(nnl.vanilla_cnn(3), (8, 8), measure=True)
    assert found.seconds is not None and 0 < found.seconds < 10
    text = str(found)
    assert "layer 1      8x8     Relu()" in text and "receptive field  3x3 pixels" in text and "on this machine" in text


def test_the_command_prints_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "unet:levels=2", "--size", "16x32", "--width", "8", "--json"]) == 0
    expected = nnl.describe(nnl.unet(2), (16, 32), 8).as_dict()
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(expected))
    assert main(["describe", "unet:levels=2", "--size", "15"]) == 2
    assert "divisible by 2" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(8,), (8, 8, 3, 1), (0, 8), "88", 8, (8.5, 8)])
def test_sizes_that_are_none_are_refused(shape: object) -> None:
    with pytest.raises(ValueError, match="image_shape"):
        nnl.describe(nnl.cnn(1), shape)  # type: ignore[arg-type]


def test_the_deep_image_priors_network_has_the_published_shape() -> None:
    found = nnl.describe(nnl.dip(), (64, 64, 32), width=128)
    assert found.divisor == 32
    # per level: skip, two down and two up (the first from 128 or 132 channels); biases and normalisation apart
    down = (9 * 32 * 128 + 9 * 128 * 128) + 4 * (2 * 9 * 128 * 128)
    skips = 32 * 4 + 4 * (128 * 4)
    up = 5 * (9 * 132 * 128 + 128 * 128)
    assert found.weights == down + skips + up + 128 * 32
    assert nnl.dip(1, 0) == nnl.parse_architecture("dip:levels=1,skip=0")
    assert not any(isinstance(layer, Concat) for layer in nnl.dip(2, 0).layers)
