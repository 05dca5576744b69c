"""The command ``denoise``: photographs come back as they came, and bad input is one line before any work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ntk_nonlocal.cli import main
from ntk_nonlocal.images import add_noise, example_image, read_photo


def call(*arguments: object) -> int:
    return main(["denoise", "--no-compile-cache", *map(str, arguments)])


def noisy_pixels(channels: int, size: int = 16) -> np.ndarray[Any, Any]:
    clean = example_image(64)[8 : 8 + size, 20 : 20 + size, :channels]
    return (255 * np.clip(add_noise(clean, 20 / 255), 0, 1)).round().astype(np.uint8)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(noisy_pixels(3)).save(path, icc_profile=b"a profile")
    return path


def test_a_photo_comes_back_changed_in_kind_and_size_unchanged(photo: Path, tmp_path: Path, capsys: Any) -> None:
    target = tmp_path / "clean.png"
    assert call(photo, "-o", target, "--sigma", 20, "--fast") == 0
    before, after = read_photo(photo), read_photo(target)
    assert after.image.shape == before.image.shape and after.icc_profile == b"a profile"
    assert after.image.std() < before.image.std()
    assert "sigma 20.0 (given)" in capsys.readouterr().out


def test_grey_with_alpha_and_16_bit_come_back_as_they_came(tmp_path: Path) -> None:
    import tifffile

    grey, deep = tmp_path / "grey.png", tmp_path / "deep.tif"
    alpha = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(np.dstack([noisy_pixels(1)[:, :, 0], alpha]), "LA").save(grey)
    tifffile.imwrite(deep, noisy_pixels(3).astype(np.uint16) * 257, photometric="rgb")
    for source in (grey, deep):
        target = tmp_path / f"clean-{source.name}"
        assert call(source, "-o", target, "--sigma", 20, "--method", "tv", "--quiet") == 0
        before, after = read_photo(source), read_photo(target)
        assert (after.mode, after.bit_depth) == (before.mode, before.bit_depth)
        assert not np.array_equal(after.image, before.image)
        if before.alpha is not None:
            np.testing.assert_array_equal(after.alpha, alpha)


def test_a_folder_and_json(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(noisy_pixels(3)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    assert call(tmp_path / "in", "-o", tmp_path / "out", "--method", "tv", "--json") == 0
    facts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(one["output"]).name for one in facts] == ["a.png", "b.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
    assert all(one["sigma_8bit"] > 0 and one["settings"]["method"] == "tv" for one in facts)


def test_noise_that_jpeg_hides_is_asked_for(photo: Path, tmp_path: Path, capsys: Any) -> None:
    Image.open(photo).save(tmp_path / "photo.jpg", quality=60)
    assert call(tmp_path / "photo.jpg", "-o", tmp_path / "clean.png", "--method", "tv") == 0
    said = capsys.readouterr()
    assert ("give --sigma" in said.err) == (float(said.out.split("sigma ")[1].split()[0]) < 1)
    assert call(photo, "-o", tmp_path / "clean.png", "--method", "tv", "--sigma", "0.5") == 0
    assert "give --sigma" not in capsys.readouterr().err
    Image.new("RGB", (32, 32), (99, 99, 99)).save(tmp_path / "flat.png")
    assert call(tmp_path / "flat.png", "-o", tmp_path / "clean.png", "--method", "tv") == 0
    assert "almost no noise was found" in capsys.readouterr().err


@pytest.mark.parametrize("zero", ["0", "0.00", "0e0"])
def test_sigma_zero_leaves_every_pixel(zero: str, photo: Path, tmp_path: Path) -> None:
    assert call(photo, "-o", tmp_path / "same.png", "--sigma", zero) == 0
    assert np.array_equal(read_photo(photo).image, read_photo(tmp_path / "same.png").image)


def test_compare_writes_a_figure(photo: Path, tmp_path: Path) -> None:
    figure = tmp_path / "figure.png"
    assert call(photo, "-o", tmp_path / "clean.png", "--sigma", 20, "--method", "tv", "--compare", figure) == 0
    with Image.open(figure) as drawn:
        assert min(drawn.size) > 300


def test_images_of_one_stem_get_a_figure_each(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    other = tmp_path / "photo.tif"
    Image.fromarray(noisy_pixels(3)).save(other)
    options = ["--sigma", 20, "--method", "tv", "--compare", tmp_path / "figure.png"]
    assert call(photo, other, "-o", tmp_path / "out", *options) == 0
    names = ["figure-photo.png.png", "figure-photo.tif.png"]
    assert sorted(path.name for path in tmp_path.glob("figure*")) == names


def test_hidden_files_of_a_folder_are_passed_over_and_others_named(photo: Path, tmp_path: Path, capsys: Any) -> None:
    folder, out = tmp_path / "in", tmp_path / "in" / "out"
    out.mkdir(parents=True)
    photo.rename(folder / "photo.png")
    for name in ("._photo.png", ".hidden", "a.fits", "b.bmp", "c.npy", "z.txt"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    assert call(folder, "-o", out, "--sigma", 0) == 0
    assert [path.name for path in out.iterdir()] == ["photo.png"]
    said = capsys.readouterr().err
    assert "in: 4 left out, as no PNG, JPEG, TIFF or WebP files: a.fits, b.bmp, c.npy, 1 more" in said
    assert call(folder, "-o", out, "--sigma", 0, "--quiet") == 0 and not capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png", "-o", "out.png"], "there is no such file"),
        (["photo.png", "-o", "missing/out.png"], "there is no folder"),
        (["photo.png", "-o", "photo.png"], "is an input"),
        (["photo.png", "-o", "out.gif"], "suffix"),
        (["photo.png", "-o", "new/"], "there is no folder new"),
        (["photo.png", "-o", ""], "must be a path"),
        (["photo.png", "photo.png", "-o", "out.png"], "into a folder"),
        (["photo.png", "-o", "out.png", "--sigma", "loud"], "must be auto or a noise level"),
        (["photo.png", "-o", "out.png", "--method", "nlm", "--fast"], "--fast"),
        (["photo.png", "-o", "out.png", "--steps", "5"], "--steps"),
        (["photo.png", "-o", "out.png", "--compare", "missing/figure.png"], "there is no folder"),
        (["photo.png", "-o", "out.png", "--compare", "photo.png"], "is an image of this run"),
        (["photo.png", "-o", "out.png", "--compare", "figure.bmp"], ".pdf"),
        (["text.png", "-o", "out.png"], "text.png"),
        (["tiny.png", "-o", "out.png"], "8x8"),
        (["empty", "-o", "out"], "holds no image"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(photo.parent)
    Path("text.png").write_text("no image")
    Path("empty").mkdir()
    Path("out").mkdir()
    Image.fromarray(noisy_pixels(3)[:4]).save("tiny.png")
    before = photo.read_bytes()
    assert call(*arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error and error.startswith("ntk-nonlocal denoise: error:")
    assert photo.read_bytes() == before and not Path("out.png").exists()


def test_a_bad_picture_does_not_cost_the_others(photo: Path, tmp_path: Path, capsys: Any) -> None:
    bad, out = tmp_path / "bad.png", tmp_path / "out"
    bad.write_bytes(b"no picture")
    out.mkdir()
    assert call(bad, photo, "-o", out, "--sigma", 0) == 2
    assert [path.name for path in out.iterdir()] == [photo.name]
    said = capsys.readouterr().err
    assert "bad.png" in said and "1 of 2 pictures" in said
