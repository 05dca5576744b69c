"""The command line: bad input is one line and exit code 2, an interrupt 130, and what is finished is kept."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tifffile
from PIL import Image

import ntk_nonlocal as nnl
from ntk_nonlocal import results
from ntk_nonlocal.cli import _parser, main
from ntk_nonlocal.cli.completion import subcommands
from ntk_nonlocal.reproduce import compare

_SMALL = ["--arch", "vanilla_cnn:kernel_size=3", "--crop", "8", "--width", "8", "--steps", "6", "--no-compile-cache"]


def _compare(*arguments: str | Path) -> int:
    return main(["compare", *_SMALL, *map(str, arguments)])


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when a command begins to work."""

    def work(*_: Any, **__: Any) -> None:
        raise AssertionError("the work began before the input was checked")

    monkeypatch.setattr(compare, "tangent_kernel", work)


def test_compare_writes_results_and_figures_and_prints_a_table(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "photo.png"
    Image.fromarray((255 * nnl.example_image(32)).astype(np.uint8)).save(image)
    out = tmp_path / "new" / "folder"
    assert _compare(image, "--crop", "8x10", "--center", "10,12", "--sigma", "15", "--out", out) == 0
    assert {path.name for path in out.iterdir()} == {
        "result.json",
        "arrays.npz",
        *(f"{name}.png" for name in ("outputs", "psnr", "kernel", "eigenvectors")),
    }
    facts = results.read_json(out / "result.json")
    assert facts["complete"] and facts["image"] == "photo.png" and facts["image_shape"] == [8, 10, 3]
    assert facts["settings"]["sigma"] == pytest.approx(15 / 255)
    assert str(tmp_path) not in (out / "result.json").read_text()
    printed = capfd.readouterr()
    rows = [line for line in printed.out.splitlines() if line.startswith(("noisy image ", "iid noise "))]
    assert len(rows) == 6
    assert f"{facts['inputs']['noise']['adam']['psnr_at_end']:.2f}" in rows[-1]
    assert "exact kernel, input iid noise" in printed.err and "\x1b" not in printed.out + printed.err


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png"], "missing.png: there is no such file"),
        (["."], "it is a folder"),
        (["text.png"], "cannot read text.png"),
        (["--sigma", "0"], "above 0 and at most 255, got '0'"),
        (["--sigma", "-3"], "above 0 and at most 255, got '-3'"),
        (["--sigma", "nan"], "got 'nan'"),
        (["--sigma", "300"], "got '300'"),
        (["--arch", "autoencodr"], "did you mean 'autoencoder'?"),
        (["--crop", "4x16"], "at least 8x8 pixels, got 4x16"),
        (["--arch", "cnn:dept=3"], "did you mean 'depth'?"),
        (["--arch", "cnn:kernel_size=4"], "must be odd, got 4"),
        (["--arch", "autoencoder:levels=2", "--crop", "10"], "divisible by 2, got 5x5"),
        (["--crop", "512"], "got 512x512"),
        (["--crop", "0"], "must be a size in pixels"),
        (["--crop", "8x8x3"], "must be a size in pixels"),
        (["--center", "3"], "must be ROW,COLUMN"),
        (["--center", "600,0"], "centre"),
        (["--width", "0"], "must be an integer in 1..4096, got '0'"),
        (["--steps", "many"], "must be an integer in 1..1000000, got 'many'"),
        (["--step-size", "2"], "at most 1.999, got '2'"),
        (["--optimizer", "lino"], "unknown optimizer 'lino', did you mean 'lion'?"),
        (["--optimizer", "lion:learning_rate=inf"], "learning_rate must be a number, got 'inf'"),
        (["--optimizer", "lion:rate=1"], "lion has no 'rate'"),
        (["--optimizer", "gd"], "gd is compared in any case"),
        (["--seed", "-1"], "must be an integer in 0..1000000"),
        (["--out", "text.png"], "cannot write into text.png"),
        (["--out", "text.png/deeper"], "cannot write into text.png/deeper"),
        (["--colour"], "unrecognized arguments: --colour"),
        (["--verbose", "--quiet"], "not allowed with"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.png").write_text("no image")
    assert _compare(*arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and err.startswith("ntk-nonlocal") and "error: " in err
    assert message in err


@pytest.mark.parametrize(("command", "option"), [("compare", "--out=."), ("explore", "--out=kernel.png")])
def test_the_image_is_not_overwritten(
    command: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not by a figure of its name either, nor where the image is a link."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray((255 * nnl.example_image(32)).astype(np.uint8)).save("kernel.png")
    Path("photo.png").symlink_to("kernel.png")
    before = Path("kernel.png").read_bytes()
    for image in ("kernel.png", "photo.png"):
        assert main([command, image, option, "--no-compile-cache"]) == 2
        assert "kernel.png is an input and would be overwritten; choose another --out" in capfd.readouterr().err
    assert Path("kernel.png").read_bytes() == before


@pytest.mark.parametrize("command", ["compare", "explore"])
def test_what_is_wrong_with_a_clean_picture_is_told_with_its_name(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    values = np.random.default_rng(0).random((40, 40)).astype(np.float32)
    gaps, beyond = values.copy(), 1.5 * values - 0.25
    gaps[3, 4:6] = np.nan
    said = {
        "gaps.tif": (gaps, "2 samples without a value, NaN or nodata, .* denoise --fill"),
        "beyond.tif": (beyond, "the values of an image lie in"),
        "pages.tif": (np.stack([values] * 3), "several pages, 3 of them, where one picture is needed"),
    }
    for name, (array, words) in said.items():
        tifffile.imwrite(tmp_path / name, array, photometric="minisblack")
        out = tmp_path / ("page.html" if command == "explore" else "folder")
        assert main([command, str(tmp_path / name), "--out", str(out), "--no-compile-cache"]) == 2
        err = capfd.readouterr().err
        assert re.search(f"{name}.*{words}", err) and err.count("\n") == 1, err
        assert not out.exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user who is bound by permissions")
def test_a_folder_without_write_permission_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o500)
    assert _compare("--out", tmp_path) == 2
    assert "cannot write into" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["compar"]])
def test_a_missing_or_unknown_command_is_one_line(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_an_interrupt_keeps_the_finished_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "train", interrupted)
    assert _compare("--out", tmp_path) == 130
    assert {path.name for path in tmp_path.iterdir()} == {"result.json", "arrays.npz"}
    facts = results.read_json(tmp_path / "result.json")
    assert not facts["complete"]
    assert set(facts["inputs"]["image"]) == {"kernel", "theory"}
    assert "image.theory.output" in results.read_arrays(tmp_path / "arrays.npz")
    assert "the finished stages are in" in capfd.readouterr().err


def test_a_run_that_diverges_says_what_to_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert _compare("--optimizer", "adam:learning_rate=1e30", "--out", tmp_path) == 2
    err = capfd.readouterr().err
    assert "choose a smaller learning rate" in err and "Traceback" not in err


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating 9 GB")])
def test_running_out_of_memory_is_one_line(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def too_large(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(compare, "tangent_kernel", too_large)
    assert _compare("--out", tmp_path) == 2
    assert capfd.readouterr().err.splitlines()[-1].endswith("not enough memory; use a smaller image or crop")


def test_the_process_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    package = logging.getLogger("ntk_nonlocal")
    before = (package.level, list(package.handlers), warnings.showwarning, jax.config.jax_compilation_cache_dir)
    assert main(["compare", "missing.png", "--verbose"]) == 2
    assert before == (package.level, package.handlers, warnings.showwarning, jax.config.jax_compilation_cache_dir)


def _process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from ntk_nonlocal.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)


def test_quiet_prints_nothing_and_compiled_programs_are_kept_in_the_users_cache_folder(tmp_path: Path) -> None:
    arguments = [argument for argument in _SMALL if argument != "--no-compile-cache"]
    cache = tmp_path / "cache"
    environment = {"XDG_CACHE_HOME": str(cache), "JAX_COMPILATION_CACHE_DIR": ""}
    done = _process("compare", *arguments, "--quiet", "--out", str(tmp_path / "out"), **environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert any(path.is_file() for path in (cache / "ntk-nonlocal" / "jax").iterdir())


def test_a_cache_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    environment = {"XDG_CACHE_HOME": str(blocked), "JAX_COMPILATION_CACHE_DIR": ""}
    done = _process("compare", "missing.png", "--verbose", **environment)
    assert done.returncode == 2
    assert "no compilation cache" in done.stderr and "missing.png" in done.stderr.splitlines()[-1]


def test_help_and_version_need_no_jax(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys; from ntk_nonlocal.cli import main\n"
        "codes = [main(['--version']), main(['--help']), main(['compare', '--help'])]\n"
        "assert codes == [0, 0, 0], codes\n"
        "assert not {'jax', 'flax', 'matplotlib', 'skimage'} & set(sys.modules), 'heavy imports'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"ntk-nonlocal {nnl.__version__}\n")
    assert "examples:" in done.stdout and "--no-compile-cache" in done.stdout


def test_unknown_words_come_with_the_nearest_known_one(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments, meant in (
        (["compar"], "compare"),
        (["compare", "--sigm=3", "--widht", "3"], "--width"),
        (["denoise", "a.png", "-o", "b.png", "--method", "ntkk"], "ntk"),
        (["denoise", "a.png", "-o", "b.png", "--fsat"], "--fast"),
        (["reproduce", "all", "--preset", "qick"], "quick"),
        (["reproduce", "kernel-widht"], "kernel-width"),
    ):
        assert main(arguments) == 2
        error = capfd.readouterr().err
        assert f"did you mean '{meant}'?" in error and error.count("\n") == 1


def test_an_option_in_front_of_its_command_is_told_its_place(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--sigma=3", "denoise", "a.png", "-o", "b.png"]) == 2
    assert "--sigma belongs to denoise and stands after that word" in capfd.readouterr().err


def test_json_is_one_document_and_messages_stay_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert _compare("--json", "--out", out) == 0
    document = json.loads(capfd.readouterr().out)
    assert document.pop("folder") == str(out)
    assert document == results.read_json(out / "result.json")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_commands_options_and_names(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert main(["--print-completion", shell]) == 0
    script = capfd.readouterr().out
    for word in ("compare", "denoise", "reproduce", "sigma", "kernel-width", "autoencoder", "nlm", "paper"):
        assert word in script
    if shell == "bash":
        for command in ("compare", "denoise", "reproduce"):
            assert f"_{command}_option_strings=(" in script
    if shell == "bash" and shutil.which("bash"):
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.parametrize("command", ["compare", "denoise", "describe", "reproduce"])
def test_help_is_a_short_manual(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What it does, every option with its default where it has one, examples that parse, exit codes."""
    assert main([command, "--help"]) == 0
    text = capfd.readouterr().out
    assert "examples:" in text and "exit codes: 0 done, 2 bad input" in text and "\x1b" not in text
    parser, _ = _parser([command])
    options = subcommands(parser)[command]._actions
    for option in options:
        assert option.help, option.dest
        if (
            isinstance(option.default, int | float)
            and not isinstance(option.default, bool)
            and option.dest != "verbose"
        ):
            assert "default" in option.help, option.dest
    examples = [line.split("   ")[0].split() for line in text.splitlines() if line.startswith("  ntk-nonlocal ")]
    assert len(examples) >= 3
    for words in examples:
        assert _parser(words[1:])[0].parse_args(words[1:]).command == command


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal of POSIX")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_appear_on_terminals_unless_no_color_is_set(tmp_path: Path, no_color: str) -> None:
    import pty

    photo = tmp_path / "photo.png"
    Image.fromarray((255 * nnl.example_image(16)).astype(np.uint8)).save(photo)
    ours, theirs = pty.openpty()
    code = "import sys; from ntk_nonlocal.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "denoise", str(photo), "-o", str(tmp_path / "clean.png"), "--method", "tv"]
    environment = {**os.environ, "NO_COLOR": no_color, "TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen([*command, "--no-compile-cache"], stderr=theirs, env=environment) as process:
        os.close(theirs)
        written = b""
        with contextlib.suppress(OSError):  # the terminal is closed at the end
            while data := os.read(ours, 4096):
                written += data
    os.close(ours)
    assert process.returncode == 0 and b"photo.png" in written
    coloured = re.search(rb"\x1b\[[0-9;]*(3[0-7]|38;5;\d+)m", written) is not None
    assert coloured is not bool(no_color)
