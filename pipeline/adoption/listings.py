"""Which image is which row, and where its bytes are: how a set reaches worker processes."""

from __future__ import annotations

import json
from pathlib import Path

from manifests.core.files import replacing, write_json
from manifests.photographs.images import ImageFolder, ImageSource
from manifests.photographs.sources.base import ImageRanges, Place, Places
from pipeline.adoption.image_sets import ImageSet

LISTING = "images.json"  # in the scratch folder
COPIES = "images.bin"  # beside it: the bytes of images that lie in no file as they are


def write_listing(images: ImageSet, work: Path) -> None:
    """Images that others pack where nobody can reach for one (columns of Parquet) are copied, one
    after the other, in the order in which they are read quickly: rows are in that of hashes."""
    places = images.source.places()
    if places is None:
        places = Places([work / COPIES], _copied(images, work / COPIES))
    rows = zip(images.names, images.sha256, strict=True)
    listed = {
        "root": str(images.root.resolve()),
        "files": [str(own.resolve()) for own in places.files],
        "images": [[name, sha256, *places.of.get(name, ())] for name, sha256 in rows],
    }
    write_json(work / LISTING, listed)


def _copied(images: ImageSet, path: Path) -> dict[str, Place]:
    places: dict[str, Place] = {}
    end = 0
    with replacing(path) as scratch, scratch.open("wb") as file:
        for name in images.in_their_order:
            data = images.source.read(name)
            file.write(data)
            places[name] = (0, end, len(data))
            end += len(data)
    return places


def read_listing(path: Path) -> tuple[ImageSource, list[tuple[str, str]]]:
    """The images of a listing, and (name, sha256) of every row."""
    listed = json.loads(path.read_bytes())
    root, files, images = Path(listed["root"]), listed["files"], listed["images"]
    rows = [(name, sha256) for name, sha256, *_ in images]
    if not files:
        return ImageFolder(root), rows
    places = Places([*map(Path, files)], {name: place for name, _, *place in images})
    return ImageRanges(root, places), rows
