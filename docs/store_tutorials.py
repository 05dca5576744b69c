"""Run the tutorials and keep what they print and draw, for the site to show.

    python docs/store_tutorials.py [NAME ...]

Writes docs/tutorials/stored/NAME/: output.txt, the pictures, and made.json, which says of which code they are, when and
with what they were made. A test fails where the code of a tutorial has changed since.
"""

from __future__ import annotations

import datetime
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hooks import TUTORIALS, code_digest, tutorials
from PIL import Image

from ntk_nonlocal.plotting import few_colours
from ntk_nonlocal.results import environment, write_json

FEW = 2000  # colours that a drawing of lines and text has at most, with its soft edges


def store(script: Path) -> None:
    """Runs one tutorial in a folder of its own and takes over what it leaves there."""
    folder = TUTORIALS / "stored" / script.stem
    with tempfile.TemporaryDirectory() as place:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        here = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(TUTORIALS.parents[1]), *sys.path]))}
        done = subprocess.run(
            [sys.executable, script], cwd=place, env=here, stdout=subprocess.PIPE, text=True, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "output.txt").write_text(done.stdout)
        for picture in sorted(Path(place).glob("*.png")):
            _keep(picture, folder)
    made = {
        "code": code_digest(script),
        "date": datetime.date.today().isoformat(),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "environment": environment(),
    }
    write_json(folder / "made.json", made)
    print(f"{script.stem}: {made['cpu_seconds']} CPU seconds", flush=True)


def _keep(picture: Path, folder: Path) -> None:
    """Takes a picture over: lines and text with 256 colours, photographs and what holds some as they are."""
    with Image.open(picture) as image:
        drawn = image.convert("RGB")
        if drawn.getcolors(FEW) is None:
            shutil.copy(picture, folder)
        else:
            few_colours(drawn).save(folder / picture.name, optimize=True)


if __name__ == "__main__":
    wanted = sys.argv[1:] or [script.stem for script in tutorials()]
    for name in wanted:
        store(TUTORIALS / f"{name}.py")
