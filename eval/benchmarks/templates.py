"""Templates in the manner of IJB: several photographs of one person, compared as one.

    DIR/templates.csv   template_id,subject_id,media_id,image, perhaps group (the subject's)
    DIR/pairs.csv       left,right (templates), or fold,left,right
    DIR/gallery.csv, DIR/probes.csv     template_id; both or none, for identification (1:N)
    DIR/images/

Each list may be Parquet instead. Whether a pair is genuine follows from the subjects, and so does
its group: the one that both are of. Pairs without folds are dealt to ten in turn, genuine and
impostor ones apart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from eval.benchmarks.base import NUM_FOLDS, Protocol, need_folder, parse_fold, shared_groups
from manifests.core.errors import Faults, InputError
from manifests.photographs.images import ImageFolder, image_hashes
from manifests.photographs.lists import has_list, read_list
from manifests.photographs.protocols import Benchmark, TemplateSet, check_folds
from manifests.photographs.scores import GROUP

MEMBERS = ("template_id", "subject_id", "media_id", "image")


def open_protocol(argument: str, *, square: bool = False) -> Protocol:
    """Raises InputError naming the line of a template of two people, or an unknown one."""
    folder = need_folder("templates", argument, "templates.csv, pairs.csv and images/")
    faults = Faults(str(folder))
    full, members, groups = _members(folder, faults)
    faults.raise_any()
    lists = [_templates(folder, stem, full, faults) for stem in ("gallery", "probes")]
    left, right, fold = _pairs(folder, full, faults)
    faults.raise_any()
    templates = TemplateSet(*members, *lists)
    same = np.array([_subject(a) == _subject(b) for a, b in zip(left, right, strict=True)], bool)
    folds = np.array(fold, np.int16) if fold else deal(same)
    if len(folds):
        check_folds("templates", folds, same)  # before images are read
    source = ImageFolder(folder / "images")
    hashes = image_hashes(source, templates.image, square=square)
    benchmark = Benchmark(
        "templates",
        folds,
        left,
        right,
        same,
        hashes,
        templates=templates,
        group=shared_groups(map(_subject, left), map(_subject, right), groups) if groups else None,
    )
    return Protocol(benchmark, source, "folder")


def _subject(template: str) -> str:
    return template.split("/")[0]


def _members(
    folder: Path, faults: Faults
) -> tuple[dict[str, str], list[tuple[str, ...]], dict[str, str]]:
    """{template_id: SUBJECT/TEMPLATE}, the columns of the member table, and {subject: group}, of
    none where the list has no groups; of images that are in a template twice, or of two subjects,
    and of subjects in two groups the fault is noted."""
    full: dict[str, str] = {}
    rows, first, owner = [], dict[tuple[str, str], str](), dict[str, tuple[str, str]]()
    groups: dict[str, str] = {}
    for where, row in read_list(
        folder, "templates", MEMBERS, (*MEMBERS, GROUP.name), faults=faults
    ):
        with faults:
            name, _, image = member = _member(where, row, full)
            _require_possible(where, name, image, first, owner)
            if GROUP.name in row:
                _require_group(where, _subject(name), row[GROUP.name], groups)
            rows.append(member)
    if not rows:
        faults.note(f"{folder}: no templates in templates.csv")
    if groups and not any(groups.values()):
        faults.note(f"{folder}: no subject has a group; name them, or leave the column out")
    return full, [*zip(*rows, strict=True)], groups


def _require_group(where: str, subject: str, group: str, groups: dict[str, str]) -> None:
    before = groups.setdefault(subject, group)
    if before != group:
        raise InputError(
            f"{where}: subject {subject} is of group {group[:80]!r}, above of {before[:80]!r}; "
            "correct one of them"
        )


def _member(where: str, row: dict[str, str], full: dict[str, str]) -> tuple[str, str, str]:
    identity, subject = row["template_id"], row["subject_id"]
    if "/" in identity + subject:
        raise InputError(f"{where}: a slash in an id")
    name = f"{subject}/{identity}"
    if full.setdefault(identity, name) != name:
        raise InputError(
            f"{where}: template {identity} is of subject {subject}, above of "
            f"{_subject(full[identity])}"
        )
    return name, row["media_id"], row["image"]


def _require_possible(
    where: str,
    name: str,
    image: str,
    first: dict[tuple[str, str], str],
    owner: dict[str, tuple[str, str]],
) -> None:
    """`first`: where an image came into a template; `owner`: whose it is, and where that is said.
    Both take the image up."""
    subject, _, identity = name.partition("/")
    before = first.setdefault((name, image), where)
    if before != where:
        raise InputError(f"{where}: {image} is in template {identity} already, by {before}")
    (person, said) = owner.setdefault(image, (subject, where))
    if person != subject:
        raise InputError(
            f"{where}: {image} is of subject {subject} here and of {person} by {said}; cut each "
            "face to an image of its own"
        )


def _pairs(
    folder: Path, full: dict[str, str], faults: Faults
) -> tuple[tuple[str, ...], tuple[str, ...], list[int]]:
    """Of every pair; no folds where the list has none."""
    left, right, fold = [], [], []
    choices = ("left", "right"), ("fold", "left", "right")
    for where, row in read_list(folder, "pairs", *choices, faults=faults):
        with faults:
            left.append(_known(where, row["left"], full))
            right.append(_known(where, row["right"], full))
            if left[-1] == right[-1]:
                raise InputError(
                    f"{where}: template {row['left']} is compared with itself; remove this pair"
                )
            if "fold" in row:
                fold.append(parse_fold(where, row["fold"]))
    return tuple(left), tuple(right), fold


def _templates(folder: Path, stem: str, full: dict[str, str], faults: Faults) -> tuple[str, ...]:
    if not has_list(folder, stem):
        return ()
    found = []
    for where, row in read_list(folder, stem, ("template_id",), faults=faults):
        with faults:
            found.append(_known(where, row["template_id"], full))
    return tuple(found)


def _known(where: str, identity: str, full: dict[str, str]) -> str:
    if identity not in full:
        raise InputError(f"{where}: no template {identity[:40]!r} in templates.csv")
    return full[identity]


def deal(same: Bool[np.ndarray, " pair"]) -> Int[np.ndarray, " pair"]:
    """Folds in turn for genuine and for impostor pairs, as many as have both."""
    num_folds = max(1, min(NUM_FOLDS, int(same.sum()), int((~same).sum())))
    fold = np.zeros(len(same), np.int16)
    for kind in (True, False):
        rows = np.flatnonzero(same == kind)
        fold[rows] = np.arange(len(rows)) % num_folds
    return fold
