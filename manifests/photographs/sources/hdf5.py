"""hdf5:FILE, a round as a take-away file: it is brought back whole by another command."""

from __future__ import annotations

from pathlib import Path

from manifests.core.errors import InputError
from manifests.photographs.sources.base import Fields, ImageCollection


def open_images(path: Path, fields: Fields) -> ImageCollection:
    """Raises InputError that says so."""
    raise InputError(
        f"hdf5:{path}: a take-away is not adopted, as `facestill unpack {path}` brings all of it "
        "back: faces, embeddings, and what they were made by"
    )
