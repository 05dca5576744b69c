"""The layer under the experiments: parts are computed once, whole, by one run at a time, resumed to the same bits."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import ntk_nonlocal as nnl
from ntk_nonlocal.networks import digest
from ntk_nonlocal.reproduce import Pictures, Store, load, save, versions
from ntk_nonlocal.reproduce.experiment import Results
from ntk_nonlocal.reproduce.measures.limits import Following, KernelDistance, following, kernel_distance
from ntk_nonlocal.reproduce.measures.training import Training, training
from ntk_nonlocal.reproduce.parts import Measured, Part
from ntk_nonlocal.reproduce.published import POSTER_CHANGE
from ntk_nonlocal.reproduce.statistics import slope
from ntk_nonlocal.reproduce.workspace import Arrays, Workspace


@dataclasses.dataclass(frozen=True)
class Draw:
    seed: int
    size: int = 3


CALLS: list[int] = []


def draw(settings: Draw, workspace: Workspace) -> Arrays:
    CALLS.append(settings.seed)
    return {
        "values": np.random.default_rng(settings.seed).normal(size=settings.size),
        "seed": np.asarray(settings.seed),
    }


@pytest.fixture(autouse=True)
def known_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements of this module have a version too, though they stand outside the package."""
    real = versions.code_version
    monkeypatch.setattr(
        "ntk_nonlocal.reproduce.parts.code_version", lambda module: "1" if module == __name__ else real(module)
    )
    CALLS.clear()


def test_finished_parts_are_read_and_never_computed_again(tmp_path: Path) -> None:
    parts = [Part(f"draw {seed}", draw, Draw(seed)) for seed in range(3)]
    first = Store(tmp_path, Pictures()).complete(parts[:2])
    again = Store(tmp_path, Pictures()).complete(parts)
    assert CALLS == [0, 1, 2]
    for before, after in zip(first, again, strict=False):
        np.testing.assert_array_equal(before["values"], after["values"])
        assert before.settings == after.settings == {"seed": int(after["seed"]), "size": 3}


def test_settings_and_code_make_a_part_another_one_and_its_name_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Part("a", draw, Draw(0))
    assert part.key == Part("b", draw, Draw(0)).key
    first, second = (Store(tmp_path, Pictures()).complete([Part(name, draw, Draw(0))])[0] for name in "ab")
    assert CALLS == [0] and (first.facts["name"], second.facts["name"]) == ("a", "b")
    assert part.key != Part("a", draw, Draw(1)).key
    before = part.key
    monkeypatch.setattr("ntk_nonlocal.reproduce.parts.code_version", lambda module: "2")
    assert part.key != before


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_damaged_part_is_reported_and_computed_anew(tmp_path: Path, suffix: str) -> None:
    part = Part("draw", draw, Draw(0))
    (before,) = Store(tmp_path, Pictures()).complete([part])
    (file,) = (tmp_path / "parts").glob(f"*{suffix}")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.warns(RuntimeWarning, match="damaged"):
        (after,) = Store(tmp_path, Pictures()).complete([part])
    assert CALLS == [0, 0]
    np.testing.assert_array_equal(before["values"], after["values"])


def test_arrays_of_another_part_are_not_taken_for_its_own(tmp_path: Path) -> None:
    parts = [Part("draw", draw, Draw(seed)) for seed in (0, 1)]
    before = Store(tmp_path, Pictures()).complete(parts)
    paths = [tmp_path / "parts" / f"draw-{part.key}.npz" for part in parts]
    paths[0].write_bytes(paths[1].read_bytes())
    with pytest.warns(RuntimeWarning, match="not those that were written"):
        after = Store(tmp_path, Pictures()).complete(parts)
    np.testing.assert_array_equal(before[0]["values"], after[0]["values"])


def test_a_failing_measurement_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="negative"):
        Store(tmp_path, Pictures()).complete([Part("draw", draw, Draw(0, size=-1))])
    assert list((tmp_path / "parts").iterdir()) == []


def test_a_part_that_another_process_is_busy_with_is_left_to_it(tmp_path: Path) -> None:
    """The other process holds the lock of the first part, stores its result, and ends: it is read, not computed."""
    parts = [Part("draw", draw, Draw(seed)) for seed in (0, 1)]
    elsewhere = tmp_path / "elsewhere"
    Store(elsewhere, Pictures()).complete(parts[:1])
    CALLS.clear()
    store = Store(tmp_path / "here", Pictures())
    script = f"""
import fcntl, shutil, sys, time
with open({str(tmp_path / "here" / ".work" / (parts[0].key + ".lock"))!r}, "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("locked", flush=True)
    time.sleep(1.5)
    shutil.copytree({str(elsewhere / "parts")!r}, {str(tmp_path / "here" / "parts")!r}, dirs_exist_ok=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"locked\n"
        results = store.complete(parts)
    assert CALLS == [1]
    assert [int(result["seed"]) for result in results] == [0, 1]


def look(settings: Draw, workspace: Workspace) -> Arrays:
    return {"left": np.asarray(len(list(workspace.folder.iterdir())))}


@pytest.mark.parametrize("resume", [True, False])
def test_what_an_interrupted_part_left_is_kept_or_removed_as_asked(tmp_path: Path, resume: bool) -> None:
    part = Part("look", look, Draw(0))
    scratch = tmp_path / ".work" / part.key
    scratch.mkdir(parents=True)
    (scratch / "checkpoint").write_text("")
    (measured,) = Store(tmp_path, Pictures(), resume=resume).complete([part])
    assert int(measured["left"]) == int(resume)
    assert not scratch.exists()


def test_the_code_version_follows_imports_and_ignores_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(helper: str) -> str:
        (tmp_path / "helper.py").write_text(helper)
        versions._digest.cache_clear()
        versions._tree.cache_clear()
        return versions.code_version.__wrapped__("ntk_nonlocal.main")

    monkeypatch.setattr(versions, "_ROOT", tmp_path)
    (tmp_path / "main.py").write_text("def f():\n    from .helper import g\n    return g()\n")
    (tmp_path / "unrelated.py").write_text("x = 1\n")
    first = version('def g():\n    """Two."""\n    return 2\n')
    assert version('def g():\n    """The number two."""\n    # really\n    return (2)\n') == first
    assert version("def g():\n    return 3\n") != first
    (tmp_path / "unrelated.py").write_text("x = 2\n")
    assert version('def g():\n    """Two."""\n    return 2\n') == first
    versions._digest.cache_clear()
    versions._tree.cache_clear()


def test_the_digest_of_code_is_the_same_in_all_versions_of_python() -> None:
    code = "class A:\n    def f(self, x: int = 1) -> None:\n        return f'{x} {None}'\n\n\ng = lambda: (A, [])\n"
    assert versions.syntax_digest(ast.parse(code))[:16] == "bb9f7e2c4e1e1c68"


_KILLED = """
import sys
from pathlib import Path
from ntk_nonlocal.reproduce.measures.training import (Training, training)
from ntk_nonlocal.reproduce import Store
from ntk_nonlocal.reproduce.parts import Part
from ntk_nonlocal.reproduce import Pictures

pictures = Pictures()
settings = Training(pictures.picture("smooth", 16), "cnn:depth=1", "noise", sys.argv[2], 8, 300, learning_rate=1e-3)
parts = [Part("first", training, settings)]
store = Store(Path(sys.argv[1]), pictures, checkpoint_every=20, resume=sys.argv[3] == "resume")
(measured,) = store.complete(parts)
"""


@pytest.mark.parametrize("optimizer", ["adam"])
def test_a_run_killed_and_resumed_gives_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    """SIGKILL once a first checkpoint is there; then the same command again, beside one that was left alone."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}

    def command(folder: Path) -> list[str]:
        return [sys.executable, "-c", _KILLED, str(folder), optimizer, "resume"]

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(command(killed), env=environment)
    deadline = time.monotonic() + 120
    while not list(killed.glob(".work/*/checkpoints/*/step-*/facts.json")):
        assert process.poll() is None and time.monotonic() < deadline, "the run ended before its first checkpoint"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(killed.glob("parts/*.json")), "killed too late for a test of resuming"
    for folder in (killed, whole):
        subprocess.run(command(folder), env=environment, check=True)
    (ours,), (theirs,) = (list(folder.glob("parts/*.npz")) for folder in (killed, whole))
    assert ours.name == theirs.name
    with np.load(ours) as a, np.load(theirs) as b:
        assert sorted(a.files) == sorted(b.files)
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])


def _measured(width: int, commit: str, **arrays: np.ndarray) -> Measured:
    settings = {"training": {"width": width}}
    facts = {"name": f"n {width}", "kind": "training", "settings": settings, "seconds": 1.0, "digest": digest(arrays)}
    return Measured(facts["name"], "training", settings, arrays, facts | {"commit": commit, "versions": {"jax": "1"}})


def test_results_are_stored_with_their_settings_and_read_back(tmp_path: Path) -> None:
    """Arrays of one name in several shapes and types, and parts of several commits."""
    parts = (
        _measured(8, "a", psnr=np.arange(3.0), output=np.ones((2, 2), np.float16)),
        _measured(16, "b", psnr=np.arange(4.0)),
        _measured(32, "a", psnr=np.arange(3, 6, dtype=np.float32), steps=np.asarray(3)),
        _measured(64, "a", psnr=np.arange(3.0) + 1, output=np.zeros((2, 2), np.float16)),
    )
    save(Results("width", "quick", {"widths": [8]}, parts, "command"), [], tmp_path)
    read = load("width", tmp_path)
    for before, after in zip(parts, read.parts, strict=True):
        assert after.facts == before.facts and after.settings == before.settings
        assert after.arrays.keys() == before.arrays.keys()
        for name, array in before.arrays.items():
            assert after[name].dtype == array.dtype
            np.testing.assert_array_equal(after[name], array)
    np.testing.assert_array_equal(read.one("training", width=16)["psnr"], np.arange(4.0))
    assert read.select(width=9) == [] and read.config == {"widths": [8]}
    assert [made["commit"] for made in json.loads((tmp_path / "width.json").read_text())["made_with"]] == ["a", "b"]


def test_arrays_of_other_results_and_results_of_earlier_versions_are_refused(tmp_path: Path) -> None:
    for folder, value in (("one", 1.0), ("other", 2.0)):
        (tmp_path / folder).mkdir()
        parts = (_measured(8, "a", psnr=np.full(3, value)),)
        save(Results("width", "quick", {}, parts, "command"), [], tmp_path / folder)
    (tmp_path / "one" / "width.npz").write_bytes((tmp_path / "other" / "width.npz").read_bytes())
    with pytest.raises(ValueError, match=r"width.npz does not belong to width.json"):
        load("width", tmp_path / "one")
    content = json.loads((tmp_path / "other" / "width.json").read_text())
    del content["made_with"], content["parts"][0]["made_with"]
    (tmp_path / "other" / "width.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"earlier version.*run the experiment again"):
        load("width", tmp_path / "other")


def test_the_posters_slopes_over_all_widths_are_those_known_for_its_points() -> None:
    found = {key: slope({w: [v] for w, v in points.items()}).value for key, points in POSTER_CHANGE.items()}
    assert found["gd", "l2"] == pytest.approx(-0.46, abs=0.01)
    assert found["gd", "linf"] == pytest.approx(-1.15, abs=0.01)


def test_pictures_are_crops_at_full_resolution_known_by_their_pixels() -> None:
    pictures = Pictures()
    small, large = (pictures.clean(pictures.picture("smooth", size)) for size in (16, 32))
    np.testing.assert_array_equal(large[8:24, 8:24], small)
    assert pictures.clean(pictures.picture("texture", 16)).shape == (16, 16, 3)
    with pytest.raises(ValueError, match="not those"):
        pictures.clean(dataclasses.replace(pictures.picture("smooth", 16), digest="0"))
    with pytest.raises(ValueError, match="at most that"):
        pictures.picture("smooth", 1000)


def test_data_without_the_images_names_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"image_House256rgb\.png and no image_Baboon512rgb\.png"):
        Pictures(tmp_path)


def test_beside_the_two_roles_there_are_lena_and_the_bundled_picture(tmp_path: Path) -> None:
    assert Pictures().beside(8) == ()
    rng = np.random.default_rng(0)
    for file in ("House256rgb", "Baboon512rgb", "Lena512rgb"):
        nnl.write_photo(tmp_path / f"image_{file}.png", rng.random((400, 400, 3)))
    pictures = Pictures(tmp_path)
    lena, astronaut = pictures.beside(8)
    assert (lena.name, astronaut.name) == ("Lena", "astronaut")
    np.testing.assert_array_equal(pictures.clean(astronaut), Pictures().clean(Pictures().picture("smooth", 8)))
    assert pictures.clean(lena).shape == (8, 8, 3)
    (tmp_path / "image_Lena512rgb.png").unlink()
    assert [one.name for one in pictures.beside(8)] == ["astronaut"]


def test_training_measures_what_the_network_does(tmp_path: Path) -> None:
    pictures = Pictures()
    settings = Training(pictures.picture("smooth", 16), "cnn:depth=1", "image", "gd", 8, 20)
    arrays = training(settings, Workspace(pictures, tmp_path))
    assert "output" not in arrays
    assert arrays["hidden_l2"][0] == 0 < arrays["hidden_linf"][-1] < arrays["hidden_l2"][-1]
    assert arrays["loss"][-1] < arrays["loss"][0]
    assert int(arrays["parameters"]) == 3 * 3 * 3 * 8 + 8 * 3


def test_empirical_kernels_and_outputs_approach_the_theory_with_width(tmp_path: Path) -> None:
    pictures = Pictures()
    picture, workspace = pictures.picture("smooth", 16), Workspace(pictures, tmp_path)
    kernels = kernel_distance(KernelDistance(picture, (4, 6), "cnn:depth=1", (8, 512), 4), workspace)["distance"]
    assert kernels.shape == (2, 4) and kernels[1].mean() < kernels[0].mean() / 3
    near, far = (
        following(
            Following(pictures.picture("smooth", 6), "cnn:depth=1", "image", "ntk", centered, width, (1, 20), 0),
            workspace,
        )
        for width, centered in ((2048, True), (16, True))
    )
    assert near["distance"][1] < far["distance"][1] / 3 and near["start"] == 0
    np.testing.assert_array_equal(near["theory"], near["from_zero"])


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
@pytest.mark.parametrize("centered", [True, False])
def test_the_kept_kernel_of_a_network_is_that_of_the_network_linearised(
    parameterization: str, centered: bool, tmp_path: Path
) -> None:
    """Beside a training of ``linearize``, with a width at which the trained network is far from both."""
    pictures = Pictures()
    picture, steps = pictures.picture("smooth", 6), (1, 20)
    settings = Following(picture, "cnn:depth=2", "image", parameterization, centered, 8, steps, 0)  # type: ignore[arg-type]
    found = following(settings, Workspace(pictures, tmp_path))
    x, architecture = pictures.noisy(picture), nnl.parse_architecture("cnn:depth=2")
    network = nnl.to_flax(architecture, 8, 3, parameterization, centered)  # type: ignore[arg-type]
    params = network.init(jax.random.key(0), x)
    weights = None
    if parameterization == "standard":
        weights = nnl.kernels.standard_layer_weights(architecture, 8, 3)
    kernel = nnl.tangent_kernel(architecture, x, layer_weights=weights)
    rate = 0.5 / np.linalg.eigvalsh(kernel.as_matrix()).max() / (8 if parameterization == "standard" else 1)
    linearized = nnl.linearize(network, params)
    frozen = nnl.train(linearized, x, x, learning_rate=float(rate), steps=20, keep_outputs=steps)
    expected = [nnl.psnr(frozen.outputs[step], pictures.clean(picture)) for step in steps]
    np.testing.assert_allclose(found["linear"], expected, atol=0.02)
    assert found["linear_distance"][1] > 0.01 and np.abs(found["theory"] - expected).max() > 0.1


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_one_network_is_compared_with_theory_from_its_own_start(parameterization: str, tmp_path: Path) -> None:
    pictures = Pictures()
    settings = Following(
        pictures.picture("smooth", 6),
        "cnn:depth=1",
        "image",
        parameterization,
        False,
        2048,
        (1, 20),
        1,  # type: ignore[arg-type]
    )
    found = following(settings, Workspace(pictures, tmp_path))
    assert found["start"] > 0.1
    own, zero = (np.abs(found["psnr"] - found[name]).max() for name in ("theory", "from_zero"))
    assert own < 0.3 < zero
