"""Write a round as a page: its faces, their lineage, the teacher's space as a map.

    facestill browse ROUND [--teacher NAME] [--rows SELECTION] [--out DIR]

Faces by region, identity, mark and gap, as far as data/ has them; a click shows a face large, its
lineage and its neighbours. Open DIR/index.html (default reports/browse/ROUND) in a browser: no
server is needed, and nothing is loaded from elsewhere. A round of photographs of people, or of
faces that may be such, is written only where --out says.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from eval.browsing.page import BEGINS, DATA, PAGE, Walk, write_page
from eval.browsing.projection import along, project
from eval.browsing.shelf import Shelf, shelf_of
from manifests.core import layout
from manifests.core.errors import InputError, Parser, conclude, run_command, to_open
from manifests.core.files import require_new, require_writable
from manifests.core.locks import writing
from manifests.core.pulse import pulse
from manifests.settings.params import load_params
from manifests.stores.rounds import open_round
from manifests.takeaway.choosing import ALL, HELP, select_rows

MOST = 40_000  # faces of one page: their pictures are in memory at 96 pixels in 1.1 GB


def require_few(shelf: Shelf) -> None:
    """Raises InputError for more faces than a page can hold."""
    if len(shelf) > MOST:
        raise InputError(
            f"round {shelf.files.name}: {len(shelf):,} faces, a page holds {MOST:,}; take some by "
            f"--rows ::{-(-len(shelf) // MOST)}"
        )


def place_of(shelf: Shelf, out: Path | None, *, force: bool) -> Path:
    """The folder to write to. Raises InputError for one that holds anything but such a page, and
    for photographs of people whose place nobody named."""
    if out is None and shelf.people is not None:
        raise InputError(
            f"round {shelf.files.name}: {shelf.people}; they are shown only where you say: name a "
            "folder with --out"
        )
    folder = out or layout.browsed(shelf.files.name)
    require_new(folder, force=force or _is_page(folder / DATA))
    if folder.is_file():
        raise InputError(f"{folder}: a file; name a folder with --out")
    require_writable(folder)
    return folder


def _is_page(data: Path) -> bool:
    if not data.is_file():
        return False
    with data.open("rb") as opened:
        return opened.read(len(BEGINS)) == BEGINS.encode()


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("round", type=layout.round_name, help="name of a round under data/")
    parser.add_argument("--teacher", metavar="NAME", help="default: that of params.yaml")
    parser.add_argument("--rows", default=ALL, metavar="SELECTION", help=f"{HELP}; default: all")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: reports/browse/ROUND")
    parser.add_force()
    args = parser.parse_args()
    files = open_round(args.round, args.teacher or load_params().teacher)
    faces = files.faces
    ids = np.arange(len(faces)) if files.manifest is None else files.manifest.face_id
    shelf = shelf_of(files, select_rows(args.rows, ids, faces.ok()))
    require_few(shelf)
    folder = place_of(shelf, args.out, force=args.force)
    for line in shelf.left_out:
        print(line, file=sys.stderr)
    with writing(folder / PAGE):
        with pulse(f"a map of {len(shelf):,} faces"):
            places = project(shelf.vectors)
        write_page(Walk(shelf, places, along(places)), folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    found = f"{len(shelf):,} of {len(files.faces):,} faces, {size:.1f} MB"
    conclude(folder / PAGE, found, to_open(folder / PAGE))


if __name__ == "__main__":
    run_command(main)
