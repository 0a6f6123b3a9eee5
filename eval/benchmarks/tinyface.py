"""TinyFace (Cheng, Zhu & Gong 2018): small faces searched for among 157,871.

    DIR/Probe/ID_….jpg, DIR/Gallery_Match/ID_….jpg      DIR is Testing_Set, or what it lies in
    DIR/Gallery_Distractor/                             of nobody among those, at any depth

A name begins with its person's number, as in the .mat lists beside the folders, which are not
read. The faces fill their pictures: points are looked for in the whole of each (`--face whole`);
pictures that were cut otherwise are said to be with --frame.
What counts is `identification`. TinyFace has no pairs of its own; those here are each probe with
its first mate and with a gallery face of another person, drawn by a seed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eval.benchmarks.base import SEED, Protocol, need_folder
from eval.benchmarks.templates import deal
from manifests.core.errors import Faults, InputError
from manifests.photographs.columns import Names
from manifests.photographs.images import ImageFolder, image_hashes
from manifests.photographs.listing import list_images
from manifests.photographs.protocols import Benchmark, TemplateSet, check_folds

FACE = "whole"
HOLDS = "Probe/, Gallery_Match/ and Gallery_Distractor/"
LEAST_SIDE = 4  # pixels; its faces have 6 to 32
PERSON = re.compile("([0-9]{1,8})_.*")
Entry = tuple[str, str, str]  # a person, a template and its image


def open_protocol(argument: str, *, square: bool = False) -> Protocol:
    """Raises InputError for a folder that is missing or empty, and naming images whose names do
    not say who it is."""
    root = need_folder("tinyface", argument, HOLDS)
    root = root / "Testing_Set" if (root / "Testing_Set").is_dir() else root
    faults = Faults(str(root))
    probes, mates = (_known(root, part, faults) for part in ("Probe", "Gallery_Match"))
    faults.raise_any()
    gallery = [*mates, *_strangers(root)]
    left, right, same = _pairs(probes, mates, gallery)
    if not same.any():
        raise InputError(f"{root}: no probe is of a person in Gallery_Match")
    fold = deal(same)
    check_folds("tinyface", fold, same)  # before images are read
    _, template, image = zip(*probes, *gallery, strict=True)
    names = [[own for _, own, _ in part] for part in (gallery, probes)]
    templates = TemplateSet(template, image, image, *map(tuple, names))
    source = ImageFolder(root, least_side=LEAST_SIDE)
    hashes = image_hashes(source, image, square=square)
    benchmark = Benchmark("tinyface", fold, left, right, same, hashes, "", templates)
    return Protocol(benchmark, source, "folder")


def _images(root: Path, part: str) -> list[str]:
    if not (root / part).is_dir():
        raise InputError(f"{root / part}: no such folder; tinyface:DIR needs {HOLDS}")
    return [f"{part}/{name}" for name in list_images(root / part)]


def _known(root: Path, part: str, faults: Faults) -> list[Entry]:
    found = []
    for name in _images(root, part):
        person = PERSON.fullmatch(Path(name).name)
        if person is None:
            faults.note(f"{root / name}: no number of a person before a _, as in 12_3.jpg")
        else:
            found.append((person[1], f"{person[1]}/{part} {Path(name).name}", name))
    return found


def _strangers(root: Path) -> list[Entry]:
    """Each is somebody else."""
    names = enumerate(_images(root, "Gallery_Distractor"))
    return [("", f"distractor {row}/{Path(name).name}", name) for row, name in names]


def _pairs(
    probes: Sequence[Entry], mates: Sequence[Entry], gallery: Sequence[Entry]
) -> tuple[Names, Names, np.ndarray]:
    """Genuine ones, and then one impostor of every probe."""
    first: dict[str, str] = {}
    for person, template, _ in mates:
        first.setdefault(person, template)
    genuine = [(name, first[person]) for person, name, _ in probes if person in first]
    drawn = np.random.default_rng(SEED).integers(len(gallery), size=len(probes)).tolist()
    impostor = []
    for row, (person, name, _) in zip(drawn, probes, strict=True):
        turned = (gallery[(row + step) % len(gallery)] for step in range(len(gallery)))
        other = next((own for whose, own, _ in turned if whose != person), None)
        impostor += [(name, other)] if other else []
    left, right = zip(*genuine, *impostor, strict=True)
    same = np.arange(len(left)) < len(genuine)
    return Names.of(left), Names.of(right), same
