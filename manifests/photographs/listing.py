"""Which files below a folder are images: one rule, for every command that is given a folder."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath

from manifests.core.errors import Faults, InputError
from manifests.photographs.images import ENDINGS
from manifests.photographs.names import is_safe

# What systems put beside people's files: thumbnails, the other half of a Mac's files, waste.
DEBRIS = {
    "__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "thumbs.db",
    "desktop.ini", "icon\r",
}  # fmt: skip
MOST_KINDS = 6  # of files left out that are named


def list_images(root: Path) -> tuple[str, ...]:
    """The images below `root`, at any depth, relative to it and sorted: files that end as images
    do, in capitals or not. What is hidden, or a system's own, is passed over; other files are
    counted by their endings in a line on stderr.

    Raises InputError for no folder, one without images, and naming all folders that are links or
    cannot be read and all names that are not text of one line.
    """
    return list_files(root, ENDINGS, "images")


def list_files(root: Path, endings: Collection[str], what: str) -> tuple[str, ...]:
    """The files below `root` that end so, by the same rule; `what` they are, in messages."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; name one with {what}")
    faults = Faults(str(root))
    names: list[str] = []
    others: list[str] = []
    for name in _files(root, faults):
        is_one = PurePosixPath(name).suffix.lower() in endings
        (names if is_one else others).append(name)
        if is_one and not is_safe(name):
            faults.note(f"{root}: rename {name!r}; a name is UTF-8 text of one line")
    faults.raise_any()
    if others:
        why = "their endings are no image's" if endings is ENDINGS else f"they are no {what}"
        say_left_out(root, others, len(names) + len(others), why)
    if not names:
        raise InputError(f"{root}: no {what} ({', '.join(sorted(endings))}) below it")
    return tuple(sorted(names))


def say_left_out(root: Path, names: Sequence[str], of: int, why: str) -> None:
    """A line on stderr: how many files, of which endings, an example of each."""
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        kinds[PurePosixPath(name).suffix.lower() or "without ending"].append(name)
    most = sorted(kinds, key=lambda kind: -len(kinds[kind]))
    told = [f"{len(kinds[kind]):,} {kind} ({kinds[kind][0]!r})" for kind in most[:MOST_KINDS]]
    rest = ["…"] if len(most) > MOST_KINDS else []
    print(
        f"{root}: {len(names):,} of {of:,} files left out, {why}: {', '.join(told + rest)}",
        file=sys.stderr,
    )


def _files(root: Path, faults: Faults) -> Iterator[str]:
    """Every file that is somebody's own."""

    def refuse(error: OSError) -> None:
        faults.note(
            f"{error.filename}: cannot be read ({error.strerror}); change its permissions, or "
            "move it out of there"
        )

    for folder, below, files in os.walk(root, onerror=refuse):
        below[:] = [name for name in below if _is_own(name)]
        for name in below:
            if (Path(folder) / name).is_symlink():
                faults.note(
                    f"{Path(folder) / name}: a link to a folder; bring the folder itself in there"
                )
        for name in filter(_is_own, files):
            yield (Path(folder) / name).relative_to(root).as_posix()


def _is_own(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in DEBRIS
