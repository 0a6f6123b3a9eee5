"""A round's page: index.html, data.js and sheets of faces, which open from a folder."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from eval.browsing.sheets import QUALITY, SMALL, Sheets, blocks_of, large_of, sheet
from eval.browsing.shelf import Amount, Kind, Shelf
from eval.reporting.page import render_page
from eval.reporting.style import COLOURS
from manifests.core.files import replacing, write_text
from manifests.core.progress import Bar
from manifests.records.marks import Mark
from pipeline.arrays.neighbours import others

TEMPLATE = "browsing/page.html.jinja"
PAGE, DATA, SHEETS = "index.html", "data.js", "sheets"
BEGINS = "const FACESTILL = "
OURS = re.compile(rf"({SMALL.name}|large)-\d+\.webp")  # sheets
NEIGHBOURS = 12
LONGEST = 200  # characters of a name or value that are shown
FINE = (1 << 16) - 1  # places on the map, and cosines, as 16 bits


@dataclass(frozen=True)
class Walk:
    """A shelf in the order of its page."""

    shelf: Shelf
    places: Float[np.ndarray, "face 2"]  # on the map, 0…1, in the shelf's order
    order: Int[np.ndarray, " face"]  # places in the shelf, by place on the page

    @property
    def layouts(self) -> tuple[Sheets, Sheets]:
        return SMALL, large_of(int(self.shelf.files.faces.frame["size"]))


def write_page(walk: Walk, folder: Path) -> None:
    """Sheets and data first, the page last; sheets of an earlier page go."""
    kept = set(_write_sheets(walk, folder / SHEETS))
    for path in (folder / SHEETS).iterdir():
        if OURS.fullmatch(path.name) and path.name not in kept:
            path.unlink()
    write_text(folder / DATA, f"{BEGINS}{json.dumps(data_of(walk), allow_nan=False)};\n")
    write_text(folder / PAGE, render_page(content_of(walk), TEMPLATE))


def content_of(walk: Walk) -> dict[str, Any]:
    """What the template shows without a script."""
    files = walk.shelf.files
    return {
        "name": files.name,
        "teacher": files.teacher.path.stem,
        "shown": len(walk.shelf),
        "of": len(files.faces),
        "people": walk.shelf.people,
        "synthetic_source": files.synthetic_source,
        "roots": {"faces": files.faces.root, "embeddings": files.teacher.root},
        "colours": COLOURS,
    }


def data_of(walk: Walk) -> dict[str, Any]:
    """What the script reads: plain JSON, whose arrays are base64 of little-endian numbers."""
    shelf, order = walk.shelf, walk.order
    near, cosines = neighbours(shelf.vectors[order])
    x, y = (np.rint(walk.places[order, axis] * FINE) for axis in (0, 1))
    ids = _ids(shelf)
    return {
        "count": len(order),
        "sheets": {own.name: {"side": own.side, "across": own.across} for own in walk.layouts},
        "row": packed(shelf.rows[order], "<u4"),
        "x": packed(x, "<u2"),
        "y": packed(y, "<u2"),
        "near": packed(near, "<u4"),
        "cosine": packed(np.rint((cosines + 1) / 2 * FINE), "<u2"),
        "perFace": near.shape[1],
        "ids": {name: packed(values[order], "<i8") for name, values in ids.items()},
        "kinds": [_kind(own, order) for own in shelf.kinds],
        "amounts": [_amount(own, order) for own in shelf.amounts],
        "marks": _marks(shelf, order),
        "sources": _sources(shelf, order),
    }


def neighbours(
    vectors: Float[np.ndarray, "face width"],
) -> tuple[Int[np.ndarray, "face k"], Float[np.ndarray, "face k"]]:
    """The nearest other faces of the page by the teacher, exact, and their cosines."""
    count = min(NEIGHBOURS, len(vectors) - 1)
    if not count:
        return np.empty((len(vectors), 0), np.int64), np.empty((len(vectors), 0))
    near = others(vectors, count)
    cosines = np.stack(
        [(vectors * vectors[near[:, at]]).sum(axis=1) for at in range(count)], axis=1
    )
    return near, np.clip(cosines.astype(np.float64), -1.0, 1.0)


def packed(values: np.ndarray, kind: str) -> str:
    return b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _kind(own: Kind, order: np.ndarray) -> dict[str, Any]:
    labels = [shortened(label) for label in own.labels]
    return {"name": own.name, "labels": labels, "codes": packed(own.codes[order], "<u4")}


def _amount(own: Amount, order: np.ndarray) -> dict[str, Any]:
    return {"name": own.name, "values": packed(own.values[order], "<f4")}


def _ids(shelf: Shelf) -> dict[str, np.ndarray]:
    """64 bits each, which no number of the script's holds; -1 for none."""
    manifest = shelf.files.manifest
    if manifest is None:
        return {}
    columns = {name: manifest.table[name] for name in ("face_id", "parent_id", "seed")}
    return {
        name: column.fill_null(-1).to_numpy()[shelf.rows]
        for name, column in columns.items()
        if column.null_count < len(column)
    }


def _marks(shelf: Shelf, order: np.ndarray) -> Mapping[str, list[str]]:
    """{place on the page: its marks in words}."""
    rows = shelf.rows[order].tolist()
    return {
        str(place): [_in_words(mark) for mark in shelf.marks[row]]
        for place, row in enumerate(rows)
        if row in shelf.marks
    }


def _in_words(mark: Mark) -> str:
    like = f", like {mark.of_round} row {mark.of_row}" if mark.of_round else ""
    return shortened(f"{mark.reason} ({mark.value:.3f}{like})")


def _sources(shelf: Shelf, order: np.ndarray) -> list[str] | None:
    """What imported faces were made from; None where none was."""
    manifest = shelf.files.manifest
    if manifest is None or manifest.table["source_sha256"].null_count == len(manifest):
        return None
    found = manifest.table["source_sha256"].take(shelf.rows[order]).to_pylist()
    return [shortened(text or "") for text in found]


def _write_sheets(walk: Walk, folder: Path) -> list[str]:
    """Both sizes from one pass over the pictures; the names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    small, large = walk.layouts
    rows, store, names = walk.shelf.rows[walk.order], walk.shelf.files.faces, []
    blocks = blocks_of(store, rows, small.capacity)
    shown = Bar(blocks, total=small.count(len(rows)), unit="sheet", desc="pictures", leave=False)
    for number, faces in enumerate(shown):
        names.append(_put(sheet(faces, small), folder / small.file(number)))
        for part in range(0, len(faces), large.capacity):
            at = (number * small.capacity + part) // large.capacity
            names.append(
                _put(sheet(faces[part : part + large.capacity], large), folder / large.file(at))
            )
    return names


def _put(canvas: np.ndarray, path: Path) -> str:
    with replacing(path) as scratch:
        Image.fromarray(canvas).save(scratch, "WEBP", quality=QUALITY, method=2)
    return path.name
