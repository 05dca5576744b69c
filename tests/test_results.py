"""Result files are whole or absent, readable by any JSON reader, and name no machine."""

from __future__ import annotations

import getpass
import json
import platform
import subprocess
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from ntk_nonlocal import results


def test_json_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    data = {"a": np.float32(0.5), "b": (1, np.int64(2)), "c": jnp.arange(3), 7: True, "d": None, "e": "ü"}
    results.write_json(path, data)
    assert results.read_json(path) == {"a": 0.5, "b": [1, 2], "c": [0, 1, 2], "7": True, "d": None, "e": "ü"}


def test_json_has_no_values_that_other_readers_refuse(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    results.write_json(path, {"psnr": float("inf"), "values": np.array([1.0, np.nan])})

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    assert json.loads(path.read_text(), parse_constant=refuse) == {"psnr": None, "values": [1.0, None]}


def test_lists_of_numbers_stand_on_one_line(tmp_path: Path) -> None:
    data = {"steps": [1, -2.5e-7, None, True], "names": ["[\n1,\n2\n]"], "rows": [[1, 2], [3]], "none": []}
    results.write_json(tmp_path / "r.json", data)
    text = (tmp_path / "r.json").read_text()
    assert '"steps": [1, -2.5e-07, null, true],' in text and "\n  [1, 2],\n  [3]\n" in text
    assert results.read_json(tmp_path / "r.json") == data


def test_what_has_no_json_form_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"data\.runs\[1\]\.network must be .* got object"):
        results.write_json(tmp_path / "result.json", {"runs": [{}, {"network": object()}]})
    assert list(tmp_path.iterdir()) == []


def test_arrays_come_back(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    results.write_arrays(path, image=np.ones((2, 3, 1), np.float32), steps=[1, 2], path=jnp.zeros(2))
    found = results.read_arrays(path)
    assert {name: (array.shape, array.dtype.kind) for name, array in found.items()} == {
        "image": ((2, 3, 1), "f"),
        "steps": ((2,), "i"),
        "path": ((2,), "f"),
    }
    with pytest.raises(TypeError, match="settings must be an array of numbers"):
        results.write_arrays(path, settings=np.array([{}]))


def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), results.atomic_file(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kept", [0, 1, 20, 100])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, kept: int) -> None:
    results.write_json(tmp_path / "result.json", {"a": list(range(100))})
    results.write_arrays(tmp_path / "arrays.npz", a=np.arange(100.0))
    for name, read in (("result.json", results.read_json), ("arrays.npz", results.read_arrays)):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(ValueError, match=f"{name} is not"):
            read(path)
        with pytest.raises(ValueError, match=r"cannot read .*missing"):
            read(tmp_path / "missing")


def test_environment_says_versions_and_device_but_not_whose_machine_it_is() -> None:
    facts = results.environment()
    assert {"numpy", "jax"} <= set(facts["versions"])
    assert facts["devices"] >= 1 and facts["cpus"] >= 1
    commit = subprocess.run(["git", "-C", Path(__file__).parent, "rev-parse", "HEAD"], capture_output=True, text=True)
    assert commit.returncode or commit.stdout.startswith(facts["commit"].rstrip("+"))
    text = json.dumps(results.plain(facts))
    assert platform.node() not in text
    assert str(Path.home()) not in text and f'"{getpass.getuser()}"' not in text
