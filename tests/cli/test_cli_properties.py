"""Every option of every command, given what cannot be meant: one line on stderr, exit code 2, nothing written."""

from __future__ import annotations

import contextlib
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ntk_nonlocal.cli import _COMMANDS, _parser, main
from ntk_nonlocal.cli.completion import subcommands

NO_NUMBER = st.one_of(
    st.sampled_from(["", " ", "nan", "inf", "-inf", "1e999", "0", "-1", "1.5.5", "ten", "0x10", "½"]),
    st.text("abcxyz-,;= ", min_size=1, max_size=6).filter(lambda text: not text.startswith("-")),
)
NO_INTEGER = st.one_of(NO_NUMBER, st.sampled_from(["1.5", "1e3", str(10**30), "-5"]))
NO_WORD = st.text("abcxyz", min_size=1, max_size=6).filter(lambda text: text not in ("all", "c"))
PATHS = st.sampled_from(["missing/deeper", "text.png/deeper", "/proc/nothing", "\0"])
UNREADABLE = st.sampled_from(["missing.png", "text.png", "empty.png", "/dev/zero", "cut.png", "bomb.png"])
BAD: dict[tuple[str, str], st.SearchStrategy[str]] = {
    ("compare", "image"): UNREADABLE,
    ("compare", "crop"): st.one_of(NO_NUMBER, st.sampled_from(["8x", "x8", "8x8x8", "99999", "-8x8"])),
    ("compare", "center"): st.one_of(NO_NUMBER, st.sampled_from(["1", "1,2,3", "-1,2", "9999,0", "1.5,2"])),
    ("compare", "sigma"): st.one_of(NO_NUMBER, st.just("256")),
    ("compare", "arch"): st.one_of(NO_WORD, st.sampled_from(["cnn:depth=0", "cnn:dept=1", "unet:levels=2000", ""])),
    ("compare", "width"): NO_INTEGER,
    ("compare", "steps"): NO_INTEGER,
    ("compare", "step_size"): st.one_of(NO_NUMBER, st.just("2")),
    ("compare", "optimizer"): st.one_of(NO_WORD, NO_NUMBER.map("adam:learning_rate={}".format)),
    ("compare", "noise_scale"): NO_NUMBER,
    ("compare", "seed"): NO_INTEGER.filter(lambda text: text != "0"),
    ("compare", "out"): st.sampled_from(["text.png", "text.png/deeper", "\0"]),
    ("denoise", "images"): UNREADABLE,
    ("denoise", "output"): st.one_of(PATHS, st.sampled_from(["out.gif", "out", "photo.png", "."])),
    ("denoise", "sigma"): NO_NUMBER.filter(lambda text: text != "0"),
    ("denoise", "method"): NO_WORD,
    ("denoise", "compare"): st.one_of(PATHS, st.sampled_from(["figure.bmp", "figure", "photo.png"])),
    ("denoise", "mask"): UNREADABLE,
    ("denoise", "noise"): st.one_of(NO_WORD, st.sampled_from(["poisson-gaussian:gain=0", "poisson-gaussian:gane=1"])),
    ("denoise", "steps"): NO_INTEGER,
    ("denoise", "width"): NO_INTEGER,
    ("denoise", "arch"): NO_WORD,
    ("denoise", "seed"): NO_INTEGER.filter(lambda text: text != "0"),
    ("describe", "arch"): st.one_of(NO_WORD, st.sampled_from(["cnn:depth=0", "cnn:dept=1", "unet:levels=9"])),
    ("describe", "size"): st.one_of(NO_NUMBER, st.sampled_from(["8x", "x8", "8x8x8", "-8x8"])),
    ("describe", "channels"): NO_INTEGER,
    ("describe", "width"): NO_INTEGER,
    ("explore", "image"): UNREADABLE,
    ("explore", "crop"): st.one_of(NO_NUMBER, st.sampled_from(["8x", "x8", "8x8x8", "99999", "-8x8"])),
    ("explore", "center"): st.one_of(NO_NUMBER, st.sampled_from(["1", "1,2,3", "-1,2", "9999,0", "1.5,2"])),
    ("explore", "sigma"): st.one_of(NO_NUMBER, st.just("256")),
    ("explore", "kernels"): st.one_of(NO_WORD, st.just("nlm,nln")),
    ("explore", "seed"): NO_INTEGER.filter(lambda text: text != "0"),
    ("explore", "out"): st.sampled_from(["text.png/deeper.html", "missing/page.html", "\0"]),
    ("reproduce", "name"): NO_WORD,
    ("reproduce", "preset"): NO_WORD,
    ("reproduce", "data"): st.sampled_from(["missing", "text.png", "."]),
    ("reproduce", "workers"): NO_INTEGER,
    ("reproduce", "out"): st.sampled_from(["text.png", "text.png/deeper", "\0"]),
}  # fmt: skip
# Valid commands as they stand; what they would compute is never reached.
VALID = {
    "compare": ["--crop", "8"],
    "denoise": ["-o", "clean.png", "--method", "adam", "--arch", "cnn"],
    "describe": ["cnn"],
    "explore": ["--crop", "16", "--kernels", "nlm", "-o", "page.html"],
    "reproduce": ["width"],
}


def _bomb() -> bytes:
    """A PNG of 60000 x 60000 pixels in a hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (60000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")
    Path("cut.png").write_bytes(Path("photo.png").read_bytes()[:300])
    Path("text.png").write_text("no image")
    Path("empty.png").touch()
    Path("bomb.png").write_bytes(_bomb())
    return tmp_path


def _options() -> list[tuple[str, Any]]:
    found = []
    for command in _COMMANDS:
        parser, _ = _parser([command])
        for action in subcommands(parser)[command]._actions:
            if action.nargs != 0:  # switches take no value
                found.append((command, action))
    return found


_OPTIONS = _options()


@pytest.mark.parametrize(("command", "action"), _OPTIONS, ids=[f"{c}-{a.dest}" for c, a in _OPTIONS])
def test_what_cannot_be_meant_is_one_line(command: str, action: Any, folder: Path) -> None:
    """A new option without an entry in BAD fails here."""
    before = sorted(folder.rglob("*"))

    @settings(max_examples=12, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(value=BAD[command, action.dest])
    def check(value: str) -> None:
        arguments = list(VALID[command])
        if action.option_strings:
            arguments += [f"{action.option_strings[-1]}={value}"]
        elif command == "reproduce":
            arguments = []
        if not action.option_strings:
            arguments += [value]
        elif command == "denoise":
            arguments += ["photo.png"]
        out, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            code = main([command, *arguments, "--no-compile-cache", "--quiet"])
        assert code == 2, value
        assert out.getvalue() == ""
        assert error.getvalue().count("\n") == 1 and ": error: " in error.getvalue(), error.getvalue()

    check()
    assert sorted(folder.rglob("*")) == before
