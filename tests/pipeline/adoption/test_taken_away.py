"""Whatever `pack` takes out of a round, `adopt` brings in again: the same faces of the same
people."""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from pathlib import Path

import pytest

from manifests.core import layout
from manifests.settings.params import Params
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import FaceStore
from manifests.takeaway.delivering import KINDS, pack_round
from pipeline.adopt import adopt_round
from pipeline.adoption.image_sets import Wanted
from pipeline.building.workers import Workers
from tests.pipeline.adoption.test_kinds import STORED, wanted

PLACES = {"folder": "images"}  # of the faces in a take-away, where that is not all of it


def people(name: str) -> set[frozenset[str]]:
    """Digests of the pixels of each identity's faces."""
    faces, manifest = FaceStore.open(layout.faces(name)), LatentManifest.read(layout.manifest(name))
    assert faces.ok().all()
    found: dict[int, set[str]] = defaultdict(set)
    for image, owner in zip(
        faces.images(0, len(faces)), manifest.column("identity_id"), strict=True
    ):
        found[int(owner)].add(sha256(image.tobytes()).hexdigest())
    return {frozenset(own) for own in found.values()}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_taken_away_and_adopted_again_is_the_same_faces_of_the_same_people(
    workspace: Path, params: Params, kind: str
) -> None:
    adopt_round("toys", wanted("folder"), STORED, params, Workers(1))
    pack_round("toys", Path("away"), kind)
    place = Path("away") / PLACES.get(kind, "")
    adopt_round("again", Wanted(place, kind), STORED, params, Workers(1))
    assert len(people("toys")) == 7 and people("again") == people("toys")
