"""Files that a command of eval writes where --out says: figures as JSON, or a picture of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from manifests.core.errors import InputError
from manifests.core.files import put, require_writable, write_json

METADATA: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
}
FORMATS = (".json", *METADATA)


def check_outputs(paths: Sequence[Path]) -> None:
    """Raises InputError for a file that could not be written so: before the work."""
    for path in paths:
        if path.suffix not in FORMATS:
            raise InputError(f"{path}: --out takes files that end in {', '.join(FORMATS)}")
        nearest = next(place for place in path.parents if place.exists())
        if path.is_dir() or not nearest.is_dir():
            raise InputError(f"{path}: no file can be there; name another one with --out")
        require_writable(path)


def write_outputs(
    paths: Sequence[Path], found: Mapping[str, Any], draw: Callable[[], Figure]
) -> None:
    """`found` into each .json, the figure into each .png or .svg."""
    for path in paths:
        if path.suffix == ".json":
            write_json(path, found)
        else:
            put(path, picture(draw(), path.suffix))


def picture(figure: Figure, suffix: str) -> bytes:
    """The figure as a PNG or SVG file: the same bytes for the same figure."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "facestill"}):
        figure.savefig(buffer, format=suffix.removeprefix("."), metadata=METADATA[suffix])
    return buffer.getvalue()
