"""The poster's cells beside ours: crops, and finished parts of the whole picture in their place."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from ntk_nonlocal.networks import digest
from ntk_nonlocal.reproduce import catalogue, load, poster_table, simple_filters, whole_picture_line
from ntk_nonlocal.reproduce.parts import Measured
from ntk_nonlocal.reproduce.published import POSTER_PSNR
from ntk_nonlocal.reproduce.table_runs import is_deep
from ntk_nonlocal.results import write_arrays, write_json

_RESULTS = Path(__file__).parents[2] / "experiments" / "results"
HOUSE = {"name": "House", "size": 256, "noise_seed": 0}


def part(folder: Path, name: str, kind: str, settings: dict[str, object], **arrays: object) -> None:
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    held = {key: np.asarray(value) for key, value in arrays.items()}
    if "psnr" in held:
        held["steps"] = np.arange(len(held["psnr"]))
    write_arrays(folder / "parts" / f"{name}.npz", **held)
    facts = {"name": name, "kind": kind, "settings": settings, "seconds": 1.0, "digest": digest(held)}
    write_json(folder / "parts" / f"{name}.json", facts)


def rows(table: str) -> dict[tuple[str, ...], list[str]]:
    lines = table.partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {tuple(row[:3]): row[3:] for row in cells}


def test_without_results_every_cell_says_so() -> None:
    found = rows(poster_table([]))
    assert len(found) == len(POSTER_PSNR) and all(row[5] == "not run" for row in found.values())


def test_finished_parts_of_the_whole_picture_take_the_place_of_crops(tmp_path: Path) -> None:
    training = {"picture": HOUSE, "input": "noise", "optimizer": "gd"}
    for name, architecture, psnr in (
        ("a", "unet:levels=3,weight_std=pytorch", [10, 29.0, 25]),
        ("b", "unet:levels=3", [10, 20, 18.4]),
    ):
        part(tmp_path, name, "training", training | {"architecture": architecture}, psnr=psnr)
    limit = {"picture": HOUSE, "architecture": "vanilla_cnn:kernel_size=11", "input": "image"}
    for name, rank, psnr in (("c", 3277, [20, 28.0, 26]), ("d", 3277, [20, 26.0, 25]), ("e", 328, [20, 28.6, 28])):
        part(tmp_path, name, "low_rank", {"limit": limit, "rank": rank, "seed": name}, psnr=psnr)
    small = training | {"picture": HOUSE | {"size": 64}, "architecture": "autoencoder:levels=3"}
    part(tmp_path, "f", "training", small, psnr=[10, 20.0])
    found = rows(poster_table([tmp_path]))
    assert found["iid noise", "gradient descent", "U-Net"] == [
        "18.6", "256x256", "18.4 / 20.0", "25.0 / 29.0", "2", "18.4 to 29.0", "yes", "stated settings, 256x256"
    ]  # fmt: skip
    assert found["noisy image", "Nystrom", "vanilla CNN"] == [
        "28.9", "256x256", "27.0 (5.0% of the columns)", "", "2", "27.0 to 28.6", "no", "0.5% of the columns, 256x256"
    ]  # fmt: skip
    assert found["iid noise", "gradient descent", "autoencoder"][5] == "not run"


def test_a_hit_by_another_setting_is_not_one_of_the_stated_ones_and_a_rising_run_says_so(tmp_path: Path) -> None:
    training = {"picture": HOUSE, "input": "image", "optimizer": "adam", "architecture": "vanilla_cnn:kernel_size=11"}
    part(tmp_path, "a", "training", training, psnr=np.linspace(10, 25, 21))
    scaled = training | {"architecture": "vanilla_cnn:kernel_size=11,weight_std=pytorch"}
    part(tmp_path, "b", "training", scaled, psnr=[10, 28.0, 20])
    row = rows(poster_table([tmp_path]))["noisy image", "Adam", "vanilla CNN"]
    assert row[2:4] == ["25.0 / 25.0, rising", "20.0 / 28.0"]
    assert row[6:] == ["no", "PyTorch's weights, 256x256"]


def test_cells_that_nothing_explains_are_named_apart_from_those_that_a_run_passes(tmp_path: Path) -> None:
    training = {"picture": HOUSE, "input": "image", "optimizer": "adam"}
    part(tmp_path, "a", "training", training | {"architecture": "vanilla_cnn"}, psnr=[10, 20, 15.0])
    part(tmp_path, "b", "training", training | {"architecture": "unet"}, psnr=[10, 32, 31.0])
    part(tmp_path, "c", "training", training | {"architecture": "autoencoder"}, psnr=[10, 31.0, 20])
    said = poster_table([tmp_path]).partition("\n\n")[2]
    never, _, between = said.partition("printed)")
    assert "explains vanilla CNN by Adam from noisy image (28.3)." in never
    assert "U-Net by Adam" in between and "autoencoder" not in said


def test_simple_filters_are_those_of_the_whole_picture(tmp_path: Path) -> None:
    assert "not run" in simple_filters([tmp_path])
    part(
        tmp_path, "a", "baselines", {"picture": HOUSE}, noisy=20.27, blur=27.76, shrinkage=21.07, nlm=31.27, bm3d=np.nan
    )
    known = "noisy 20.3, best Gaussian blur 27.8, ideal shrinkage 21.1, non-local means 31.3"
    assert simple_filters([tmp_path]) == f"On the same 256x256 picture: {known} dB."


def test_a_damaged_part_is_left_out_with_a_warning(tmp_path: Path) -> None:
    part(tmp_path, "a", "baselines", {"picture": HOUSE}, noisy=20.27)
    file = tmp_path / "parts" / "a.npz"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.warns(RuntimeWarning, match="damaged"):
        assert "not run" in simple_filters([tmp_path])


def test_the_page_gives_the_steps_at_which_the_published_order_holds() -> None:
    exact = catalogue.experiment("exact").summarise(load("exact", _RESULTS / "reproduce-full"))
    (order,) = (verdict.ours for verdict in exact if verdict.statement.startswith("the order of the networks"))
    (steps,) = re.findall(r"published order holds at (steps \d+ to \d+) ", order)
    page = (_RESULTS.parents[1] / "docs" / "poster.md").read_text(encoding="utf-8")
    assert steps in page


def test_the_stored_table_has_a_number_for_every_cell() -> None:
    found = rows(poster_table(sorted(_RESULTS.glob("reproduce-*"))))
    assert all(row[5] != "not run" for row in found.values())


def test_a_line_says_what_was_trained_with_the_whole_picture(tmp_path: Path) -> None:
    assert whole_picture_line([tmp_path]) == ""
    training = {"picture": HOUSE, "input": "noise", "optimizer": "adam"}
    part(tmp_path, "a", "training", training | {"architecture": "autoencoder:levels=3"}, psnr=[10, 29.64])
    part(tmp_path, "b", "training", training | {"architecture": "unet", "picture": HOUSE | {"size": 64}}, psnr=[10, 20])
    said = whole_picture_line([tmp_path])
    assert said.endswith("best steps: autoencoder by Adam from iid noise 29.6 dB, rising (poster 31.0).")


def test_runs_at_a_tenth_of_the_rate_are_a_setting_of_their_own(tmp_path: Path) -> None:
    training = {"picture": HOUSE, "input": "image", "optimizer": "adam", "architecture": "unet,weight_std=pytorch"}
    part(tmp_path, "a", "training", training | {"learning_rate": 1e-3}, psnr=[10, 24.0, 20])
    part(tmp_path, "b", "training", training | {"learning_rate": 1e-4}, psnr=[10, 28.5, 20])
    row = rows(poster_table([tmp_path]))["noisy image", "Adam", "U-Net"]
    assert row[3:5] == ["20.0 / 24.0", "2"] and row[7] == "PyTorch's weights, a tenth of Adam's rate, 256x256"


def test_a_limit_by_nystrom_is_a_setting_of_gradient_descent(tmp_path: Path) -> None:
    limit = {"picture": HOUSE, "architecture": "unet:levels=3", "input": "image"}
    part(tmp_path, "a", "low_rank", {"limit": limit, "rank": 655}, psnr=[20, 27.2, 26])
    found = rows(poster_table([tmp_path]))
    assert found["noisy image", "gradient descent", "U-Net"][7] == "limit by Nystrom, 1.0% of the columns, 256x256"
    assert found["noisy image", "gradient descent", "autoencoder"][5] == "not run"


@pytest.mark.parametrize(
    "other",
    [
        {"picture": HOUSE | {"sigma": 15 / 255}}, {"noise_scale": 0.1}, {"learning_rate": 3e-4}, {"step_size": 0.1},
        {"centered": True}, {"parameterization": "ntk"}, {"width": 32}, {"steps": 100},
    ],
)  # fmt: skip
def test_the_whole_picture_under_other_settings_is_not_the_stated_one(tmp_path: Path, other: dict[str, object]) -> None:
    training = {"picture": HOUSE, "input": "noise", "optimizer": "adam", "architecture": "autoencoder", "steps": 8000}
    part(tmp_path, "a", "training", training, psnr=[10, 29.0, 28])
    part(tmp_path, "b", "training", training | other, psnr=[10, 34.0, 33])
    assert rows(poster_table([tmp_path]))["iid noise", "Adam", "autoencoder"][2] == "28.0 / 29.0"


def test_a_u_net_with_narrow_skips_is_a_setting_of_the_u_net(tmp_path: Path) -> None:
    training = {"picture": HOUSE, "input": "image", "optimizer": "adam", "architecture": "dip:levels=3"}
    part(tmp_path, "a", "training", training, psnr=[10, 28.4, 20])
    found = rows(poster_table([tmp_path]))
    assert found["noisy image", "Adam", "U-Net"][7] == "narrow skips, 256x256"
    assert found["noisy image", "Adam", "autoencoder"][5] == found["iid noise", "Adam", "U-Net"][5] == "not run"


def test_an_autoencoder_of_more_levels_is_a_setting_of_its_own(tmp_path: Path) -> None:
    training = {"picture": HOUSE, "input": "noise", "optimizer": "adam"}
    part(tmp_path, "a", "training", training | {"architecture": "autoencoder:levels=3"}, psnr=[10, 29.6, 20])
    part(tmp_path, "b", "training", training | {"architecture": "autoencoder:levels=5"}, psnr=[10, 31.1, 20])
    row = rows(poster_table([tmp_path]))["iid noise", "Adam", "autoencoder"]
    assert row[2] == "20.0 / 29.6" and row[7] == "two levels more, 256x256"


@pytest.mark.parametrize(
    ("architecture", "deep"),
    [("autoencoder:levels=10,weight_std=pytorch", True), ("autoencoder:levels=3", False), ("autoencoder", False)],
)
def test_levels_are_read_whole(architecture: str, deep: bool) -> None:
    assert is_deep(Measured("", "training", {"architecture": architecture}, {}, {})) == deep
