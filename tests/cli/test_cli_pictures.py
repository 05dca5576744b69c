"""The command ``denoise`` on the pictures people really have: stacks, depths, gaps, odd names, in their own units."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from ntk_nonlocal.cli import main
from ntk_nonlocal.images import add_noise, crop, example_image, psnr, read_photo

SIGMA = 20 / 255


def call(*arguments: object) -> int:
    return main(["denoise", "--no-compile-cache", *map(str, arguments)])


def grey(size: int = 32) -> np.ndarray[Any, Any]:
    return example_image(64)[8 : 8 + size, 20 : 20 + size, 1]


def write(path: Path, values: np.ndarray[Any, Any]) -> None:
    Image.fromarray(np.rint(values).astype(np.uint8)).save(path)


def noisy(size: int = 32, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.clip(add_noise(grey(size), SIGMA, seed=seed), 0, 1)[:, :, 0]


@pytest.mark.parametrize("sigma", ["auto", "20"])
def test_twelve_bits_among_sixteen_have_their_own_range(sigma: str, tmp_path: Path, capsys: Any) -> None:
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    tifffile.imwrite(source, np.rint(4095 * noisy()).astype(np.uint16))
    assert call(source, "-o", target, "--method", "tv", "--sigma", sigma) == 0
    said = capsys.readouterr()
    assert "almost no noise" not in said.err and "in the file's numbers" in said.out
    found = tifffile.imread(target)
    assert found.dtype == np.uint16 and psnr(found / 4095, grey()) > psnr(noisy(), grey()) + 1


def test_the_advice_for_a_picture_without_noise_can_be_followed(tmp_path: Path, capsys: Any) -> None:
    source = tmp_path / "flat.tif"
    tifffile.imwrite(source, np.full((16, 16), 3000, np.uint16))
    assert call(source, "-o", tmp_path / "out.tif", "--method", "tv") == 0
    assert "--sigma, such as 10, in 255ths of the picture's range of 0 to 4095" in capsys.readouterr().err


def test_every_page_is_denoised_and_kept(tmp_path: Path, capsys: Any) -> None:
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    stack = np.stack([np.rint(65535 * noisy(seed=seed)) for seed in range(3)]).astype(np.uint16)
    tifffile.imwrite(source, stack, imagej=True, metadata={"axes": "ZYX", "unit": "um"})
    assert call(source, "-o", target, "--method", "tv", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["pages"] == 3 and len(facts["sigma_8bit"]) == 3
    with tifffile.TiffFile(target) as file:
        assert file.imagej_metadata is not None and file.imagej_metadata["unit"] == "um"
        found = file.asarray()
    assert found.shape == stack.shape
    for seed, page in enumerate(found):
        assert psnr(page / 65535, grey()) > psnr(noisy(seed=seed), grey()) + 1
    assert call(source, "-o", tmp_path / "out.png", "--method", "tv") == 2
    assert "PNG holds one picture, and there are 3; write a TIFF" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


def test_floating_point_with_gaps(tmp_path: Path, capsys: Any) -> None:
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    values = (1000 * noisy() - 300).astype(np.float32)
    values[10:12, 10:12] = np.nan
    tifffile.imwrite(source, values)
    assert call(source, "-o", target, "--fast", "--sigma", 20) == 0
    found = tifffile.imread(target)
    assert found.dtype == np.float32 and np.array_equal(np.isnan(found), np.isnan(values))
    assert call(source, "-o", target, "--fast", "--sigma", 20, "--fill") == 0
    found = tifffile.imread(target)
    assert np.isfinite(found).all() and np.abs(found[10:12, 10:12] / 1000 + 0.3 - grey()[10:12, 10:12]).max() < 0.3


@pytest.mark.parametrize("sure", [True, False])
def test_noise_coarser_than_pixels_is_said(sure: bool, tmp_path: Path, capsys: Any) -> None:
    clean = crop(example_image(256), 128 if sure else 160, center=(64, 112))
    if sure:
        field = gaussian_filter(np.random.default_rng(0).normal(size=clean.shape), (0.7, 0.7, 0))
        dirty = clean + SIGMA * field / field.std()
    else:
        pixels = np.rint(255 * np.clip(add_noise(clean, 25 / 255), 0, 1)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in.jpg", quality=50)
        dirty = np.asarray(Image.open(tmp_path / "in.jpg")) / 255
    tifffile.imwrite(tmp_path / "in.tif", dirty.astype(np.float32), photometric="rgb")
    assert call(tmp_path / "in.tif", "-o", tmp_path / "out.tif", "--method", "tv") == 0
    said = capsys.readouterr()
    assert ("(estimated, coarser than pixels)" in said.out) == sure
    assert ("where you see noise that is left, coarser than pixels" in said.err) != sure


def test_a_mask_in_a_file(tmp_path: Path, capsys: Any) -> None:
    source, target, mask = tmp_path / "in.png", tmp_path / "out.png", tmp_path / "mask.png"
    pixels = np.rint(255 * noisy()).astype(np.uint8)
    pixels[5:9, 5:9] = 255
    valid = np.full((32, 32), 255, np.uint8)
    valid[5:9, 5:9] = 0
    Image.fromarray(pixels).save(source)
    Image.fromarray(valid).save(mask)
    assert call(source, "-o", target, "--fast", "--sigma", 20, "--mask", mask) == 0
    assert (np.asarray(Image.open(target))[5:9, 5:9] == 255).all()
    assert call(source, "-o", target, "--fast", "--sigma", 20, "--mask", mask, "--fill") == 0
    assert (np.asarray(Image.open(target))[5:9, 5:9] < 255).all()
    Image.fromarray(valid[:20]).save(mask)
    assert call(source, "-o", target, "--fast", "--mask", mask) == 2
    assert "has 32x20 pixels" in capsys.readouterr().err


def test_greys_of_a_mask_are_black_below_half_and_told(tmp_path: Path, capsys: Any) -> None:
    """As JPEG compression leaves them."""
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    pixels = np.rint(255 * noisy()).astype(np.uint8)
    Image.fromarray(pixels).save(source)
    valid = np.full((32, 32), 250, np.uint8)
    valid[5:9, 5:9] = 12
    valid[20, 20] = 140
    tifffile.imwrite(tmp_path / "mask.tif", valid)
    assert call(source, "-o", target, "--sigma", 0, "--fill", "--mask", tmp_path / "mask.tif") == 0
    changed = np.asarray(Image.open(target)) != pixels
    assert changed[5:9, 5:9].sum() > 8 and changed.sum() == changed[5:9, 5:9].sum()
    said = capsys.readouterr().err
    assert (
        "mask.tif: 17 pixels are neither black nor" in said and "(125) count as black, and 1.6% of the pixels" in said
    )
    tifffile.imwrite(tmp_path / "mask.tif", 0 * valid)
    assert call(source, "-o", target, "--fast", "--mask", tmp_path / "mask.tif") == 2
    assert "mask.tif is black everywhere" in capsys.readouterr().err
    Image.fromarray(np.dstack([valid, valid, valid, valid])).save(tmp_path / "mask.png")
    assert call(source, "-o", target, "--fast", "--mask", tmp_path / "mask.png") == 2
    assert "mask.png has transparency; say by black and white" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mask.png", "link.png", "folder/mask.png"])
@pytest.mark.parametrize("option", ["-o", "--compare", "batch"])
def test_a_mask_is_not_overwritten(name: str, option: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "folder").symlink_to(tmp_path / "out")
    mask, source = tmp_path / "out" / "mask.png", tmp_path / "mask.png"
    for path in (mask, source):
        Image.fromarray(np.rint(255 * noisy(16)).astype(np.uint8)).save(path)
    (tmp_path / "out" / "link.png").symlink_to(mask)
    before = mask.read_bytes()
    target = tmp_path / name if "/" in name else tmp_path / "out" / name
    outputs = {"-o": ["-o", target], "--compare": ["-o", tmp_path / "x.png", "--compare", target]}
    assert call(source, *outputs.get(option, ["-o", target.parent]), "--fast", "--mask", mask) == 2
    assert "mask.png is an input and would be overwritten" in capsys.readouterr().err.replace("link", "mask")
    assert mask.read_bytes() == before


def test_pages_without_values_come_back_and_are_named(tmp_path: Path, capsys: Any) -> None:
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    stack = np.stack([noisy(seed=seed) for seed in range(4)]).astype(np.float32)
    stack[[0, 2]] = np.nan
    tifffile.imwrite(source, stack, photometric="minisblack")
    assert call(source, "-o", target, "--method", "tv", "--json", "--compare", tmp_path / "figure.png") == 0
    said = capsys.readouterr()
    assert "out.tif: pages 1, 3 come back as they came: no pixel has a value" in said.err
    assert [level is None for level in json.loads(said.out)["sigma_8bit"]] == [True, False, True, False]
    found = tifffile.imread(target)
    assert np.isnan(found[[0, 2]]).all() and (tmp_path / "figure.png").exists()
    for page in (1, 3):
        assert psnr(found[page], grey()) > psnr(stack[page], grey()) + 1
    stack[[0, 2]] = 0
    tifffile.imwrite(source, stack, photometric="minisblack")
    assert call(source, "-o", target, "--method", "tv", "--noise", "poisson-gaussian") == 0
    assert "pages 1, 3 come back as they came: all values are the same" in capsys.readouterr().err
    tifffile.imwrite(source, np.full_like(stack, np.nan), photometric="minisblack")
    assert call(source, "-o", tmp_path / "none.tif", "--method", "tv") == 2
    assert "none of its 4 pages holds a value" in capsys.readouterr().err and not (tmp_path / "none.tif").exists()


def test_pages_that_the_mask_leaves_without_values(tmp_path: Path, capsys: Any) -> None:
    """And what is missing from one page is missing from no other."""
    source, target, mask = tmp_path / "in.tif", tmp_path / "out.tif", tmp_path / "mask.png"
    stack = np.stack([np.dstack([noisy(16, seed)] * 3) for seed in range(2)]).astype(np.float32)
    stack[0, :12, :, 1] = np.nan
    tifffile.imwrite(source, stack, photometric="rgb")
    assert call(source, "-o", target, "--sigma", 0, "--fill") == 0
    found = tifffile.imread(target)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[1], stack[1], rtol=2e-7)
    Image.fromarray(np.where(np.arange(16)[:, None] < 12, 255, np.zeros((16, 16))).astype(np.uint8)).save(mask)
    assert call(source, "-o", target, "--sigma", 0, "--mask", mask) == 0
    assert "page 1 comes back as it came: no pixel of channel 2 has a value" in capsys.readouterr().err
    tifffile.imwrite(source, stack[0], photometric="rgb")
    assert call(source, "-o", target, "--fast", "--mask", mask) == 2
    assert "in.tif: no pixel of channel 2 has a value" in capsys.readouterr().err


@pytest.mark.parametrize("fill", [False, True])
def test_what_is_missing_in_one_channel_is_there_in_the_others(fill: bool, tmp_path: Path) -> None:
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    clean = example_image(64).astype(np.float32)
    picture = add_noise(clean, 25 / 255).astype(np.float32)
    missing = np.zeros(picture.shape, bool)
    missing[:24, :, 0] = True
    tifffile.imwrite(source, np.where(missing, np.nan, picture), photometric="rgb")
    assert call(source, "-o", target, "--fast", *["--fill"] * fill) == 0
    found = tifffile.imread(target)
    np.testing.assert_array_equal(np.isnan(found), missing & (not fill))
    there = (slice(0, 24), slice(None), slice(1, 3))  # measured, beside what is missing
    assert np.mean((found[there] - clean[there]) ** 2) < 0.5 * np.mean((picture[there] - clean[there]) ** 2)


def test_a_picture_that_tells_no_gain_costs_no_other(tmp_path: Path, capsys: Any) -> None:
    """Two values and no noise: once a division by zero."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    flat = np.full((32, 32), 50, np.uint8)
    flat[20, 20] = 51
    for name, values in (("a", noisy(32)), ("b", None), ("c", noisy(32))):
        image = flat if values is None else np.rint(200 * values).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{name}.png")
    assert call(folder, "-o", out, "--noise", "poisson-gaussian", "--fast") == 2
    said = capsys.readouterr().err
    assert "b.png: no noise was found" in said and "1 of 3 pictures were not denoised" in said
    assert {path.name for path in out.iterdir()} == {"a.png", "c.png"}


@pytest.mark.parametrize("pages", [1, 3])
def test_a_constant_page_tells_no_gain_and_comes_back(pages: int, tmp_path: Path, capsys: Any) -> None:
    rng = np.random.default_rng(0)
    stack = np.stack([rng.poisson(gain * 60 * grey(48)) / gain * 100 for gain in (0.5, 1.0, 2.0)])
    stack[1] = 500
    stack = stack.astype(np.uint16)[3 - pages :] if pages > 1 else stack.astype(np.uint16)[1]
    tifffile.imwrite(tmp_path / "in.tif", stack, photometric="minisblack")
    options = ("--noise", "poisson-gaussian", "--method", "tv")
    assert call(tmp_path / "in.tif", "-o", tmp_path / "out.tif", *options) == 0
    said = capsys.readouterr()
    found = tifffile.imread(tmp_path / "out.tif")
    np.testing.assert_array_equal(found[1] if pages > 1 else found, 500)
    if pages > 1:
        least, most = map(float, said.out.partition("gain ")[2].partition(",")[0].split(" to "))
        assert 0 < least < 0.7 * most and most == pytest.approx(200, rel=0.4)  # a quarter in truth
        assert call(tmp_path / "in.tif", "-o", tmp_path / "out.tif", *options, "--json") == 0
        noise = json.loads(capsys.readouterr().out)["noise"]
        assert noise[1] is None and noise[0]["gain"] == pytest.approx(most, rel=1e-3)
        assert noise[2]["gain"] == pytest.approx(least, rel=1e-3)


def test_messages_name_options_and_no_arguments(tmp_path: Path, capsys: Any) -> None:
    write(tmp_path / "two.png", np.where(grey(32) > 0.5, 200, 50))
    assert call(tmp_path / "two.png", "-o", tmp_path / "out.png", "--noise", "poisson-gaussian") == 2
    said = capsys.readouterr().err
    assert "give --noise poisson-gaussian:gain=..,offset=..,read=.." in said and "PoissonGaussian" not in said
    values = noisy().astype(np.float32)
    values[5, 5] = 1e20
    tifffile.imwrite(tmp_path / "hot.tif", values)
    assert call(tmp_path / "hot.tif", "-o", tmp_path / "out.tif", "--fast") == 0
    said = capsys.readouterr().err
    assert "--mask and --fill give estimates for such" in said and "mask=" not in said


def test_a_mask_of_several_pages_is_named(tmp_path: Path, capsys: Any) -> None:
    write(tmp_path / "in.png", 255 * noisy())
    tifffile.imwrite(tmp_path / "mask.tif", np.ones((3, 32, 32), np.uint8), photometric="minisblack")
    assert call(tmp_path / "in.png", "-o", tmp_path / "out.png", "--mask", tmp_path / "mask.tif") == 2
    said = capsys.readouterr().err
    assert "--mask: cannot read" in said and "3 of them, where one picture is needed" in said


def test_strong_noise_that_was_cut_off_is_told_to_be_more(tmp_path: Path, capsys: Any) -> None:
    for sigma, told in ((60, True), (8, False)):
        write(tmp_path / "in.png", 255 * np.clip(add_noise(grey(48), sigma / 255)[:, :, 0], 0, 1))
        assert call(tmp_path / "in.png", "-o", tmp_path / "out.png", "--fast") == 0
        assert ("where noise is cut off" in capsys.readouterr().err) == told
    assert call(tmp_path / "in.png", "-o", tmp_path / "out.png", "--fast", "--sigma", 60) == 0
    assert "cut off" not in capsys.readouterr().err


def test_values_far_from_zero_have_a_level_and_no_psnr(tmp_path: Path, capsys: Any) -> None:
    tifffile.imwrite(tmp_path / "in.tif", (273 + 1e-3 * noisy(64)).astype(np.float32))
    assert call(tmp_path / "in.tif", "-o", tmp_path / "out.tif", "--fast") == 0
    said = capsys.readouterr().out
    assert "PSNR" not in said and float(said.partition("sigma ")[2].split()[0]) == pytest.approx(1e-3 * SIGMA, rel=0.2)


def test_values_that_a_mask_leaves_out_set_no_unit(tmp_path: Path, capsys: Any) -> None:
    there = np.ones(grey(48).shape, bool)
    there[10:20, 10:30] = False
    write(tmp_path / "mask.png", 255 * there)
    values = np.where(there, 4000 * noisy(48), 65535).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", values)
    options = ("--mask", tmp_path / "mask.png", "--sigma", 20, "--fast")
    assert call(tmp_path / "in.tif", "-o", tmp_path / "out.tif", *options) == 0
    assert "sigma 20.0 of 255, 321.2 in the file's numbers" in capsys.readouterr().out
    found = tifffile.imread(tmp_path / "out.tif")
    assert (found[~there] == 65535).all()
    left, before = (np.where(there, image, grey(48)) for image in (found / 4000, noisy(48)))
    assert psnr(left, grey(48)) > psnr(before, grey(48)) + 2


def test_a_mask_that_leaves_little_is_told(tmp_path: Path, capsys: Any) -> None:
    """tifffile stores arrays of bool with zero as white."""
    there = np.ones((32, 32), bool)
    there[:4] = False
    write(tmp_path / "in.png", 255 * noisy())
    tifffile.imwrite(tmp_path / "mask.tif", there)
    assert call(tmp_path / "in.png", "-o", tmp_path / "out.png", "--mask", tmp_path / "mask.tif", "--fast") == 0
    assert "87.5% of the pixels have no value, being black there" in capsys.readouterr().err


def test_counts_are_those_of_the_file_where_zero_is_white(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(60 * grey(48)).astype(np.uint16)
    options = ("--noise", "poisson-gaussian:gain=1", "--fast")
    for kind in ("miniswhite", "minisblack"):
        tifffile.imwrite(tmp_path / "in.tif", counts, photometric=kind)
        assert call(tmp_path / "in.tif", "-o", tmp_path / f"{kind}.tif", *options) == 0
    black, white = (tifffile.imread(tmp_path / f"minis{kind}.tif").astype(int) for kind in ("black", "white"))
    assert np.abs(black - white).max() <= 1


def test_counts_too_few_for_whole_numbers_are_told(tmp_path: Path, capsys: Any) -> None:
    for scale, told in ((1, True), (60, False)):
        tifffile.imwrite(tmp_path / "in.tif", np.random.default_rng(0).poisson(scale * grey(48)).astype(np.uint16))
        assert call(tmp_path / "in.tif", "-o", tmp_path / "out.tif", "--noise", "poisson-gaussian", "--fast") == 0
        assert ("give a floating-point TIFF for fractions" in capsys.readouterr().err) == told


def test_an_empty_name_is_no_folder(tmp_path: Path, capsys: Any) -> None:
    assert call("", "-o", tmp_path) == 2
    assert "is a variable of the shell empty?" in capsys.readouterr().err


@pytest.mark.parametrize("order", [1, -1])
def test_a_level_for_all_pages_is_that_of_the_brightest(order: int, tmp_path: Path, capsys: Any) -> None:
    """A time series that begins dark."""
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    stack = np.stack([np.rint(scale * noisy()) for scale in (200, 20000, 60000)])[::order].astype(np.uint16)
    tifffile.imwrite(source, stack, photometric="minisblack")
    assert call(source, "-o", target, "--method", "tv", "--sigma", 18.3) == 0
    said, found = capsys.readouterr(), tifffile.imread(target)[::order]
    assert "3 pages, sigma 18.3 of 255, 4703 in the file's numbers (given)" in said.out
    dark = 1 if order == 1 else 3
    assert f"page {dark} comes back as it came: no value reaches the level of --sigma, 4703 in the file's" in said.err
    assert np.array_equal(found[0], stack[::order][0])
    assert psnr(found[2] / 60000, grey()) > psnr(noisy(), grey()) + 1
    assert call(source, "-o", target, "--method", "tv") == 0
    assert psnr(tifffile.imread(target)[::order][0] / 200, grey()) > psnr(noisy(), grey()) + 1


def test_what_tifffile_says_to_its_log_is_not_printed(tmp_path: Path, capfd: Any) -> None:
    tag = [(42113, 2, 0, "not a number", True)]
    tifffile.imwrite(tmp_path / "in.tif", np.rint(255 * noisy(16)).astype(np.uint8), extratags=tag)
    for options in ([], ["-v"]):
        assert call(tmp_path / "in.tif", "-o", tmp_path / "out.tif", "--method", "tv", *options) == 0
        assert ("GDAL_NODATA" in capfd.readouterr().err) == (options == ["-v"])


def test_noise_of_a_camera_in_the_files_numbers(tmp_path: Path, capsys: Any) -> None:
    rng = np.random.default_rng(0)
    photons = 30 * np.kron(grey(), np.ones((2, 2)))
    counts = np.rint(5 * rng.poisson(photons) + 100 + 3 * rng.normal(size=photons.shape)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", counts)
    target = tmp_path / "out.tif"
    options = ["--fast", "--noise", "poisson-gaussian:gain=5,offset=100,read=3"]
    assert call(tmp_path / "in.tif", "-o", target, *options) == 0
    assert "gain 5, read^2 - gain * offset -491" in capsys.readouterr().out
    truth, found = 5 * photons + 100, tifffile.imread(target)
    assert np.mean((found - truth) ** 2) < 0.3 * np.mean((counts - truth) ** 2)
    assert abs(found.mean() - truth.mean()) < 1
    assert call(tmp_path / "in.tif", "-o", target, "--fast", "--noise", "poisson-gaussian", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["noise"]["gain"] == pytest.approx(5, rel=0.3)
    for wrong, words in (
        ("poisson", "must be gaussian"),
        ("poisson-gaussian:gain=0", "above zero"),
        ("poisson-gaussian:gain=1/x", "such as 1/2/4"),
        ("poisson-gaussian:gain=1,gain=2", "given twice"),
        ("poisson-gaussian:gain=1/2", "are given for 2"),
    ):
        assert call(tmp_path / "in.tif", "-o", target, "--noise", wrong) == 2
        assert words in capsys.readouterr().err


def test_gains_of_a_camera_by_channel(tmp_path: Path, capsys: Any) -> None:
    gains = np.array([1, 2, 4])
    photons = np.random.default_rng(0).poisson(30 * np.kron(grey(), np.ones((2, 2)))[:, :, None] * np.ones(3))
    tifffile.imwrite(tmp_path / "in.tif", (gains * photons).astype(np.uint8), photometric="rgb")
    options = ["--fast", "--noise", "poisson-gaussian:gain=1/2/4,read=0.5"]
    assert call(tmp_path / "in.tif", "-o", tmp_path / "out.tif", *options) == 0
    assert "gain 1/2/4, read^2 - gain * offset 0.25/0.25/0.25" in capsys.readouterr().out
    assert call(tmp_path / "in.tif", "-o", tmp_path / "out.tif", *options, "--json") == 0
    assert json.loads(capsys.readouterr().out)["noise"]["gain"] == pytest.approx([1, 2, 4])


def test_levels_by_channel(tmp_path: Path, capsys: Any) -> None:
    clean = example_image(64)[:32, 16:48]
    levels = np.array([5, 5, 40]) / 255
    pixels = np.clip(clean + levels * np.random.default_rng(0).normal(size=clean.shape), 0, 1)
    Image.fromarray(np.rint(255 * pixels).astype(np.uint8)).save(tmp_path / "in.png")
    assert call(tmp_path / "in.png", "-o", tmp_path / "out.png", "--fast", "--sigma", "5,5,40") == 0
    assert "sigma 5.0, 5.0, 40.0 (given)" in capsys.readouterr().out
    found = read_photo(tmp_path / "out.png").image
    assert psnr(found[:, :, 2], clean[:, :, 2]) > psnr(pixels[:, :, 2], clean[:, :, 2]) + 6
    assert call(tmp_path / "in.png", "-o", tmp_path / "out.png", "--sigma", "5,40") == 2
    assert "3 channels, and --sigma has 2" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="file names of any bytes")
@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
@pytest.mark.parametrize("option", [[], ["--json"], ["-v"]])
def test_a_name_that_cannot_be_printed_costs_nothing(encoding: str, option: list[str], tmp_path: Path) -> None:
    folder, out = os.fsencode(tmp_path / "in"), os.fsencode(tmp_path / "out")
    os.mkdir(folder)
    os.mkdir(out)
    names = [b"plain.png", "caf\u00e9 \u65e5\u672c.png".encode(), b"broken\xff\xe9.png"]
    for name in names:
        with open(os.path.join(folder, name), "wb") as file:
            Image.fromarray(np.rint(255 * noisy(16)).astype(np.uint8)).save(file, "PNG")
    command = [sys.executable, "-m", "ntk_nonlocal", "denoise", "--no-compile-cache", "--method", "tv", *option]
    environment = os.environ | {"PYTHONIOENCODING": encoding, "LC_ALL": "C", "JAX_PLATFORMS": "cpu"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run([*command, folder, "-o", out], env=environment, capture_output=True)  # type: ignore[list-item]
    assert done.returncode == 0 and b"not denoised" not in done.stderr and b"Traceback" not in done.stderr, done.stderr
    assert sorted(os.listdir(out)) == sorted(names)
    lines = done.stdout.decode(encoding).splitlines()
    assert len(lines) == 3
    if option == ["--json"]:
        assert sorted(os.path.basename(os.fsencode(json.loads(line)["output"])) for line in lines) == sorted(names)


def test_what_a_file_cannot_hold_is_said(tmp_path: Path, capsys: Any) -> None:
    Image.fromarray(np.rint(255 * noisy(16)).astype(np.uint8)).save(tmp_path / "in.jpg", comment=b"by hand")
    assert call(tmp_path / "in.jpg", "-o", tmp_path / "out.png", "--method", "tv") == 0
    assert "out.png: left out: the comment" in capsys.readouterr().err


def test_near_infrared_is_denoised_and_stays_visible(tmp_path: Path) -> None:
    clean = np.dstack([example_image(64)[:32, 16:48], grey()])
    pixels = np.rint(255 * np.clip(clean + SIGMA * np.random.default_rng(0).normal(size=clean.shape), 0, 1))
    options: dict[str, Any] = {"photometric": "rgb", "extrasamples": [0], "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "in.tif", pixels.astype(np.uint8), **options)
    assert call(tmp_path / "in.tif", "-o", tmp_path / "out.tif", "--method", "tv") == 0
    found = tifffile.imread(tmp_path / "out.tif") / 255
    assert psnr(found[:, :, 3], clean[:, :, 3]) > psnr(pixels[:, :, 3] / 255, clean[:, :, 3]) + 1


def test_noise_that_grows_with_the_brightness_is_told(tmp_path: Path, capsys: Any) -> None:
    photons = np.random.default_rng(0).poisson(20 * example_image(128))
    Image.fromarray(np.clip(12 * photons, 0, 255).astype(np.uint8)).save(tmp_path / "in.png")
    assert call(tmp_path / "in.png", "-o", tmp_path / "out.png", "--method", "tv") == 0
    assert "the noise grows with the brightness; give --noise poisson-gaussian" in capsys.readouterr().err
