"""A checkout with a round of two teachers, whose parts have several blocks, and one that is not
full; what its stores say of a face, by the plainest code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from manifests.core import layout
from manifests.records.marks import LOW_QUALITY, NEAR_DUPLICATE, Mark, Marks
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import REASONS, FaceStore, TeacherStore
from manifests.takeaway import blocks
from tests.packed import ROUND, TEACHERS, checkout, make_round

COUNT, PART_ROWS = 700, 300
MARKED = 5  # a row


@pytest.fixture(scope="package", autouse=True)
def source() -> Iterator[None]:
    with checkout(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "PART_ROWS", PART_ROWS)
        make_round(COUNT)
        roots = FaceStore.open(layout.faces(ROUND)).root, store(TEACHERS[0]).root
        marks = [Mark(MARKED, NEAR_DUPLICATE, 0.9), Mark(MARKED, LOW_QUALITY, 0.1)]
        Marks(tuple(marks), *roots, {}).write(layout.marks(ROUND, TEACHERS[0]))
        yield


def store(teacher: str) -> TeacherStore:
    return TeacherStore.open(layout.teacher(ROUND, teacher))


@pytest.fixture(scope="package")
def truth(source: None) -> list[dict[str, Any]]:
    """All that the stores say of each row; pixels under `pixels`."""
    faces = FaceStore.open(layout.faces(ROUND))
    found = LatentManifest.read(layout.manifest(ROUND)).table.to_pylist()
    images = faces.images(0, COUNT)
    stored = {name: faces.column(name) for name in ("ok", "reason", "quality", "landmarks")}
    for row, face in enumerate(found):
        face["row"], face["pixels"] = row, images[row]
        face |= {name: values[row] for name, values in stored.items()}
        face["reason"], face["landmarks"] = REASONS[face["reason"]], face["landmarks"].reshape(-1)
        marked = "low_quality near_duplicate" if row == MARKED else ""
        face[f"marks_{TEACHERS[0]}"] = marked
    for teacher in TEACHERS:
        embeddings, norms = store(teacher).embeddings(), store(teacher).norms()
        for row, face in enumerate(found):
            for at, view in enumerate(("plain", "flip")):
                face[f"embedding_{view}_{teacher}"] = embeddings[row, at]
                face[f"norm_{view}_{teacher}"] = norms[row, at]
    return found


def check_face(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """A face that a foreign library read, against the stores: all that they say is there, equal
    to the last bit."""
    missing = {name for name, value in wanted.items() if value is not None} - set(found)
    assert not missing
    for name, value in wanted.items():
        if value is None or found.get(name) is None:
            assert value is None and found.get(name) is None, name
            continue
        kind = value.dtype if isinstance(value, np.ndarray | np.generic) else None
        np.testing.assert_array_equal(np.asarray(found[name], kind), value, err_msg=name)
