"""What a notebook shows: figures without a display, HTML that stands alone, and short representations."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

import ntk_nonlocal as nnl
from ntk_nonlocal.reproduce import Comparison

IMAGE = nnl.example_image(16)


class _Tags(HTMLParser):
    """Counts elements, and fails where one is not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.sources: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.sources += [value or "" for name, value in attrs if name == "src"]
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_denoised_image_shows_itself(channels: int) -> None:
    noisy = nnl.add_noise(np.resize(IMAGE[:, :, :1], (16, 16, channels)), 0.1)
    result = nnl.denoise(noisy, 0.1, "tv")
    assert all(isinstance(figure, Figure) for figure in (result.plot(), result.plot(noisy)))
    assert len(result.plot(noisy).axes) == 4 and len(result.plot().axes) == 1
    tags = _Tags(result._repr_html_())
    assert tags.seen.count("img") == 1 and tags.sources[0].startswith("data:image/png;base64,")
    with pytest.raises(ValueError, match=r"shape of the result, \(16, 16"):
        result.plot(noisy[:8])


def test_architectures_and_kernels_show_what_they_are() -> None:
    architecture = nnl.unet(levels=1)
    tags = _Tags(architecture._repr_html_())
    assert tags.seen.count("code") == repr(architecture).count("Conv(") + repr(architecture).count("Relu()") + 3
    assert "8 x 8" in nnl.tangent_kernel(nnl.vanilla_cnn(3), IMAGE[:8, :8].astype("float32"))._repr_html_()
    pairs = nnl.eigenpairs(nnl.DenseOperator(np.diag(np.arange(1.0, 17.0, dtype="float32")), (4, 4)), 5)
    assert repr(pairs).startswith("Eigenpairs(5 of 16: 16, 15, 14, 13, ...; residuals to ")


def test_a_training_draws_its_history() -> None:
    y = IMAGE[:8, :8].astype("float32")
    network = nnl.to_flax(nnl.vanilla_cnn(3), 4)
    assert len(nnl.train(network, y, y, steps=3).plot().axes) == 1
    assert len(nnl.train(network, y, y, steps=3, clean=y).plot().axes) == 2


def test_a_comparison_is_drawn_when_it_is_complete() -> None:
    comparison = Comparison(IMAGE)
    assert repr(comparison).endswith("finished: nothing)")
    with pytest.raises(ValueError, match="not complete"):
        comparison.plot()
    with pytest.raises(ValueError, match="did you mean 'psnr'"):
        comparison.plot("psnrs")  # type: ignore[arg-type]
