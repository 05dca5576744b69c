"""Rows from patches, for networks with one hidden layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ntk_nonlocal.architecture import Conv, Erf, LeakyRelu, Rbf, Relu, Serial, cnn
from ntk_nonlocal.kernels import nngp_kernel, tangent_kernel
from ntk_nonlocal.kernels.lag.kernel import BlockedKernel
from ntk_nonlocal.kernels.lag.patches import has_patches, patch_rows, patches_are_cheaper

PIXELS = np.array([0, 17, 53])


@pytest.mark.parametrize(
    ("kernel", "architecture", "options"),
    [
        (tangent_kernel, Serial(Conv(5), Relu(), Conv(1, weight_std=1.0)), {}),
        (nngp_kernel, Serial(Conv(3, bias_std=0.3), LeakyRelu(0.2), Conv(1, bias_std=0.1)), {}),
        (tangent_kernel, Serial(Conv(3, padding="circular"), Erf(), Conv(1)), {}),
        (
            tangent_kernel,
            Serial(Conv(3, bias_std=0.2), Rbf(0.7), Conv(1)),
            {"window": 3, "layer_weights": ((0.5, 0.3), (2.0, 1.0))},
        ),
    ],
    ids=["relu", "nngp with biases", "circular", "window and weights"],
)
def test_rows_from_patches_are_those_of_the_kernel(
    kernel: Callable[..., BlockedKernel], architecture: Serial, options: dict[str, object]
) -> None:
    image = np.random.default_rng(0).normal(size=(6, 9, 2)).astype(np.float32)
    op = kernel(architecture, image, **options)
    assert isinstance(op, BlockedKernel)
    swept = np.asarray(op.swept_rows(PIXELS))
    described = {"architecture": op.architecture, "kind": op.kind, "weights": op.weights}
    rows = patch_rows(op.image, PIXELS, **described, window=getattr(op, "window", None))
    np.testing.assert_allclose(rows, swept, atol=3e-6 * np.abs(swept).max())
    np.testing.assert_allclose(op.rows(PIXELS), swept, atol=3e-6 * np.abs(swept).max())


def test_patches_serve_few_rows_of_one_hidden_layer_only() -> None:
    image, network = np.zeros((64, 64, 3), np.float32), Serial(Conv(5), Relu(), Conv(1))
    pairs = 33 * 64 * 64 * 64
    assert patches_are_cheaper(network, image, pairs, 10)
    assert not patches_are_cheaper(network, image, pairs, 4096)
    assert not has_patches(cnn(2))
    assert not has_patches(Serial(Conv(3), Relu(), Conv(3)))
