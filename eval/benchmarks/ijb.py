"""IJB-B and IJB-C as InsightFace's release has them, with their own points and template lists.

    DIR/loose_crop/1.jpg                        DIR is IJBB or IJBC of the release
    DIR/meta/ijbc_name_5pts_score.txt           image, x y of five points, the detector's score
    DIR/meta/ijbc_face_tid_mid.txt              image template media
    DIR/meta/ijbc_template_pair_label.txt       template template 1, or 0 of two people
    DIR/meta/ijbc_1N_gallery_G1.csv, …G2.csv, ijbc_1N_probe_mixed.csv   TEMPLATE_ID,SUBJECT_ID,…
                                                all three or none; IJB-B's galleries are S1 and S2

No detector is run: the list's points cut the faces. A face counts in its template as much as its
detector's score, as in InsightFace's evaluation; with `ijb:unweighted:DIR` faces count alike. Who
is who is known of templates in the 1:N lists; of others genuine pairs tell.
The lists are read as columns: IJB-C has 15,658,489 pairs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int

from eval.alignment import LISTED
from eval.benchmarks.base import Points, Protocol, need_folder
from eval.benchmarks.templates import deal
from eval.scoring.intervals import pair_subjects
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.photographs.columns import Names
from manifests.photographs.images import ImageFolder, image_hashes
from manifests.photographs.lists import read_columns
from manifests.photographs.protocols import Benchmark, TemplateSet, check_folds

POINTS = True
UNWEIGHTED = "unweighted:"
GALLERIES = {"ijbb": ("S1", "S2"), "ijbc": ("G1", "G2")}
HOLDS = "meta/ijbc_face_tid_mid.txt (or ijbb_…) and loose_crop/, as IJBC of InsightFace's release"
AXES = [f"{axis}{point}" for point in range(5) for axis in "xy"]
FACES = {"image": pa.string(), **dict.fromkeys(AXES, pa.float64()), "score": pa.float64()}
MEMBERS = {"image": pa.string(), "template": pa.int64(), "media": pa.int64()}
PAIRS = {"left": pa.int64(), "right": pa.int64(), "same": pa.int8()}
PEOPLE = {"TEMPLATE_ID": pa.int64(), "SUBJECT_ID": pa.int64()}
LEAST_SPREAD = 0.5  # of five points, pixels
Ids = Int[np.ndarray, " template"]


@dataclass(frozen=True)
class Lists:
    """The lists of a folder."""

    name: str  # ijbb or ijbc
    meta: Path

    def path(self, what: str) -> Path:
        return self.meta / f"{self.name}_{what}"


@dataclass(frozen=True)
class People:
    """Whose every template is (-1: nobody says), and the places of those of 1:N."""

    subject: Ids
    galleries: Mapping[str, Int[np.ndarray, " _"]]
    probes: Int[np.ndarray, " probe"]


def open_protocol(argument: str) -> Protocol:
    """Raises InputError naming the line of an image, a template or a label that cannot be."""
    weigh = not argument.startswith(UNWEIGHTED)
    folder = need_folder("ijb", os.path.expanduser(argument.removeprefix(UNWEIGHTED)), HOLDS)
    lists = _lists(folder)
    points = _points(lists.path("name_5pts_score.txt"), weigh)
    members = _members(lists.path("face_tid_mid.txt"), points)
    ids, template = np.unique(members["template"].to_numpy(), return_inverse=True)
    if weigh:
        _require_weight(ids, template, members["image"].to_pylist(), points)
    people = _people(lists, ids)
    names = _names(ids, people.subject)
    left, right, same = _pairs(lists.path("template_pair_label.txt"), ids, people.subject)
    sides = Names(names, left), Names(names, right)
    _require_two_people(lists.path("template_pair_label.txt"), *sides, same)
    fold = deal(same)
    check_folds(lists.name, fold, same)  # before images are read
    templates = _templates(names, template, members, people)
    source = ImageFolder(folder / "loose_crop")
    hashes = image_hashes(source, templates.image)
    benchmark = Benchmark(lists.name, fold, *sides, same, hashes, _rule(lists, weigh), templates)
    return Protocol(benchmark, source, "folder", points=points)


def _lists(folder: Path) -> Lists:
    meta = folder / "meta"
    there = [name for name in GALLERIES if (meta / f"{name}_face_tid_mid.txt").is_file()]
    if len(there) != 1:
        found = "the lists of both IJB-B and IJB-C" if there else "no lists"
        raise InputError(f"{meta}: {found}, expected {HOLDS}")
    return Lists(there[0], meta)


def _rule(lists: Lists, weigh: bool) -> str:
    path = lists.path("name_5pts_score.txt")
    counted = "as much as their scores" if weigh else "alike"
    return f"{LISTED}{path.name} (sha256 {sha256_file(path)[:12]}); faces count {counted}"


def _points(path: Path, weigh: bool) -> Points:
    """In the list a pixel's centre lies at its index."""
    table = read_columns(path, FACES)
    landmarks = np.stack([table[axis].to_numpy() for axis in AXES], axis=1).reshape(-1, 5, 2) + 0.5
    score = table["score"].to_numpy()
    spread = landmarks.std(axis=1).max(axis=1)
    finite = np.asarray(np.isfinite(landmarks).all(axis=(1, 2)))
    _refuse(path, ~finite, "points that are not finite")
    _refuse(path, spread < LEAST_SPREAD, "five points that fall together")
    _refuse(path, ~((score >= 0) & np.isfinite(score)), "a score below 0, or not finite")
    _refuse(path, _again(table["image"]), "an image that stands there before")
    names = table["image"].to_pylist()
    return Points(dict(zip(names, range(len(names)), strict=True)), landmarks, score, weigh)


def _members(path: Path, points: Points) -> pa.Table:
    table = read_columns(path, MEMBERS)
    listed = pc.is_in(table["image"], pa.array(points.row, pa.string()))
    _refuse(path, ~listed.to_numpy(), "an image without five points in the list of them")
    _refuse(path, _again(table["image"]), "an image that stands there before")
    return table


def _again(column: pa.ChunkedArray) -> Bool[np.ndarray, " row"]:
    codes = Names.of_arrow(column).codes
    new = np.zeros(len(codes), bool)
    new[np.unique(codes, return_index=True)[1]] = True
    return ~new


def _refuse(path: Path, wrong: Bool[np.ndarray, " row"], what: str, first: int = 1) -> None:
    """`first`: the line of the first row."""
    if wrong.any():
        more = int(wrong.sum()) - 1
        rest = f" (and {more:,} lines more)" if more else ""
        raise InputError(f"{path}, line {int(np.argmax(wrong)) + first}: {what}{rest}")


def _require_weight(
    ids: Ids, template: Int[np.ndarray, " member"], images: list[str], points: Points
) -> None:
    score = points.score[[points.row[image] for image in images]]
    empty = np.flatnonzero(np.bincount(template, score) == 0)
    if len(empty):
        raise InputError(
            f"template {ids[empty[0]]}: every face of it has the score 0, so that none counts; "
            f"leave the scores out with ijb:{UNWEIGHTED}DIR"
        )


def _people(lists: Lists, ids: Ids) -> People:
    names = [f"1N_gallery_{name}.csv" for name in GALLERIES[lists.name]]
    paths = [lists.path(name) for name in (*names, "1N_probe_mixed.csv")]
    missing = [path for path in paths if not path.is_file()]
    subject = np.full(len(ids), -1, np.int64)
    if len(missing) == len(paths):
        return People(subject, {}, np.empty(0, np.int64))
    if missing:
        raise InputError(f"{missing[0]}: no such file; bring all three lists for 1:N, or none")
    *galleries, probes = (_listed(path, ids, subject) for path in paths)
    return People(subject, dict(zip(GALLERIES[lists.name], galleries, strict=True)), probes)


def _listed(path: Path, ids: Ids, subject: Ids) -> Int[np.ndarray, " entry"]:
    """Places of the templates of a 1:N list, which has a line an image; `subject` takes up whose
    they are."""
    table = read_columns(path, PEOPLE, delimiter=",", header=True)
    place = _places(path, table["TEMPLATE_ID"].to_numpy(), ids, 2)
    person = table["SUBJECT_ID"].to_numpy()
    _refuse(path, person < 0, "a subject below 0", 2)
    known = subject[place]
    subject[place] = person
    other = (subject[place] != person) | ((known >= 0) & (known != person))
    _refuse(path, other, "a template of two subjects, by this line and another", 2)
    return np.unique(place)


def _places(
    path: Path, wanted: Int[np.ndarray, " row"], ids: Ids, first: int = 1
) -> Int[np.ndarray, " row"]:
    place = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    _refuse(path, ids[place] != wanted, "a template that has no images", first)
    return place


def _names(ids: Ids, subject: Ids) -> list[str]:
    """SUBJECT/TEMPLATE, where somebody says the subject."""
    pairs = zip(subject.tolist(), ids.tolist(), strict=True)
    return [f"{f'template {own}' if person < 0 else person}/{own}" for person, own in pairs]


def _pairs(
    path: Path, ids: Ids, subject: Ids
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"], Bool[np.ndarray, " pair"]]:
    """Places of both templates, and whether they are of one person."""
    table = read_columns(path, PAIRS)
    left, right = (
        _places(path, table[side].to_numpy(), ids).astype(np.int32) for side in ("left", "right")
    )
    label = table["same"].to_numpy()
    _refuse(path, (label != 0) & (label != 1), "a label that is neither 0 nor 1")
    _refuse(path, left == right, "a template that is compared with itself")
    same, known = label == 1, (subject[left] >= 0) & (subject[right] >= 0)
    wrong = known & (same != (subject[left] == subject[right]))
    _refuse(path, wrong, "a label against the subjects of the 1:N lists")
    return left, right, same


def _require_two_people(
    path: Path, left: Names, right: Names, same: Bool[np.ndarray, " pair"]
) -> None:
    people = pair_subjects(left, right, same, "folder")
    wrong = (people.left == people.right) & ~same
    _refuse(path, wrong, "two people, of whom genuine pairs make one")


def _templates(
    names: list[str], template: Int[np.ndarray, " member"], members: pa.Table, people: People
) -> TemplateSet:
    gallery = [(names[row], own) for own, rows in people.galleries.items() for row in rows.tolist()]
    return TemplateSet(
        tuple(names[row] for row in template.tolist()),
        tuple(members["media"].cast(pa.string()).to_pylist()),
        tuple(members["image"].to_pylist()),
        tuple(name for name, _ in gallery),
        tuple(names[row] for row in people.probes.tolist()),
        tuple(own for _, own in gallery),
    )
