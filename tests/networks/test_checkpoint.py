"""Checkpoints: an interrupted run resumes to the same bits, and nothing half-written or foreign is ever taken."""

import jax
import numpy as np
import optax
import pytest

from ntk_nonlocal.architecture import cnn
from ntk_nonlocal.networks import CheckpointError, to_flax, train

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(6, 6, 2)).astype(np.float32)
Y = RNG.uniform(size=(6, 6, 1)).astype(np.float32)
NETWORK = to_flax(cnn(1), width=6, out_channels=1)


def run(folder=None, **arguments):
    settings = {"optimizer": "adam", "steps": 30, "clean": Y, "keep_outputs": [4, 22], "checkpoint_every": 10}
    return train(NETWORK, X, Y, checkpoint=folder, **(settings | arguments))


def interrupt_after(step):
    def progress(now, steps, loss):
        if now == step:
            raise KeyboardInterrupt

    return progress


def assert_same_bits(one, other):
    np.testing.assert_array_equal(one.output, other.output)
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
    assert one.outputs.keys() == other.outputs.keys()
    for step in one.outputs:
        np.testing.assert_array_equal(one.outputs[step], other.outputs[step])
    np.testing.assert_array_equal(one.history.steps, other.history.steps)
    np.testing.assert_array_equal(one.history.loss, other.history.loss)
    np.testing.assert_array_equal(one.history.psnr, other.history.psnr)
    np.testing.assert_array_equal(one.history.weight_change.l2, other.history.weight_change.l2)
    assert one.learning_rate == other.learning_rate


@pytest.mark.parametrize("optimizer", ["gd", "adam", optax.chain(optax.add_noise(0.01, 0.5, 3), optax.sgd(0.01, 0.9))])
def test_an_interrupted_run_resumes_to_the_same_bits(tmp_path, optimizer):
    whole = run(optimizer=optimizer)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", optimizer=optimizer, progress=interrupt_after(17))
    seen = []
    resumed = run(tmp_path / "run", optimizer=optimizer, progress=lambda step, *_: seen.append(step))
    assert seen == list(range(11, 31))  # what was done before step 10 is not done again
    assert_same_bits(resumed, whole)


def test_a_finished_run_is_read_back(tmp_path):
    first = run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000030"]
    seen = []
    assert_same_bits(run(tmp_path, progress=lambda *a: seen.append(a)), first)
    assert seen == []


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"learning_rate": 0.1}, "learning_rate"),
        ({"steps": 31}, "steps"),
        ({"clean": None}, "data"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, other, named):
    run(tmp_path)
    with pytest.raises(CheckpointError, match=rf"{named} = .*remove it"):
        run(tmp_path, **other)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no facts", "half facts"])
def test_a_damaged_checkpoint_is_reported_and_passed_over(tmp_path, damage):
    whole = run(tmp_path)
    folder = tmp_path / "step-000000030"
    if damage in ("truncated", "flipped"):
        for path in (folder / "arrays").rglob("*"):
            if path.is_file() and path.stat().st_size > 0 and (damage == "truncated" or "/d/" in str(path)):
                content = bytearray(path.read_bytes())
                content[len(content) // 2] ^= 0xFF
                path.write_bytes(content[: len(content) // 2] if damage == "truncated" else content)
    elif damage == "no facts":
        (folder / "facts.json").unlink()
    else:
        (folder / "facts.json").write_text('{"step": 30, "sett')
    with pytest.warns(RuntimeWarning, match=r"step-000000030 is damaged"):
        again = run(tmp_path)
    assert_same_bits(again, whole)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("step-")] == ["step-000000030"]
    assert_same_bits(run(tmp_path), whole)  # and the new one is whole


def test_a_write_cut_short_leaves_the_last_whole_checkpoint(tmp_path, monkeypatch):
    """What a kill during a write leaves behind: an unfinished folder beside the checkpoint before."""
    import os

    rename = os.replace

    def killed(source, target):
        if str(target).endswith("step-000000020"):
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr("ntk_nonlocal.networks.checkpoint.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    monkeypatch.undo()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[-1] == "step-000000010" and names[0].startswith(".unfinished-")
    assert_same_bits(run(tmp_path), run())
