"""The page: one HTML file that holds its script, its style and all numbers, and fetches nothing.

Arrays travel as base64 of deflated bytes; integers of 16 bits first with all their low bytes, then all their high ones,
which deflates better. Names and texts are JSON in a script element that browsers do not run, with "<" escaped, and the
page shows them as text only; a content security policy forbids requests of any kind.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from .stored import Floats, StoredFilter

_PARTS = Path(__file__).parent / "page"
_SCRIPTS = ("numbers.js", "filters.js", "drawing.js", "state.js", "main.js")  # what imports comes after what it imports
_DATA = '<script type="application/json" id="data">'


def render(document: dict[str, Any]) -> str:
    """The page of a document: texts, numbers and arrays, see ``Explorer``."""
    script = "\n".join(_module(name) for name in _SCRIPTS)
    style = (_PARTS / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    data = json.dumps(_packed(document), separators=(",", ":")).replace("<", "\\u003c")
    html = (_PARTS / "index.html").read_text(encoding="utf-8")
    for mark, text in (("POLICY", policy), ("STYLE", style), ("DATA", data), ("SCRIPT", script)):
        before, _, after = html.partition(f"@@{mark}@@")
        html = before + text + after
    return html


def read_page(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a page holds: "title", "noisy" and "clean" (H, W, C), and "filters", a ``StoredFilter`` for each name.

    Raises:
      ValueError: not such a page.
    """
    text = Path(path).read_text(encoding="utf-8")
    found = re.search(re.escape(_DATA) + r"(.*?)</script>", text, re.DOTALL)
    if found is None:
        raise ValueError(f"{path} is not a page of ntk-nonlocal explore: it holds no data")
    document = _unpacked(json.loads(found[1]))
    filters = [StoredFilter(**{**one, "image_shape": tuple(one["image_shape"])}) for one in document["filters"]]
    for name in ("noisy", "clean"):
        if document[name] is not None:
            document[name] = document[name].astype(np.float64) / document["levels"]
    return {**document, "filters": {one.name: one for one in filters}}


def fields(found: StoredFilter) -> dict[str, Any]:
    """A stored filter as the page holds it."""
    return {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}


def _module(name: str) -> str:
    """An ES module as a part of one script: without its imports and the word export."""
    text = (_PARTS / name).read_text(encoding="utf-8")
    return re.sub(r"(?m)^import .*\n|^export ", "", text)


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        kind = {"i": "int16", "u": "uint16"}.get(array.dtype.kind, "float64" if array.size < 4096 else "float32")
        raw = array.astype(f"<{np.dtype(kind).str[1:]}").tobytes()
        if array.dtype.kind in "iu":
            raw = np.frombuffer(raw, np.uint8).reshape(-1, 2).T.tobytes()
        data = base64.b64encode(zlib.compress(raw, 9)).decode()
        return {"shape": array.shape, "type": kind, "data": data}
    if isinstance(value, dict):
        return {name: _packed(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_packed(item) for item in value]
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"shape", "type", "data"}:
        raw = zlib.decompress(base64.b64decode(value["data"]))
        if value["type"].endswith("int16"):
            raw = np.frombuffer(raw, np.uint8).reshape(2, -1).T.tobytes()
        array: Floats = np.frombuffer(raw, np.dtype(value["type"]).newbyteorder("<")).reshape(value["shape"])
        return array if array.dtype.kind in "iu" else array.astype(np.float64)
    if isinstance(value, dict):
        return {name: _unpacked(item) for name, item in value.items()}
    return [_unpacked(item) for item in value] if isinstance(value, list) else value
