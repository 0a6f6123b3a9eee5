"""Batches: every usable face once an epoch, targets of their own face, any starting step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import FaceStore, TeacherStore
from tests.toys import make_round
from train.batching.batches import Batch, BatchStream
from train.batching.sources import (
    Source,
    num_identities,
    num_usable,
    open_source,
)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    monkeypatch.chdir(tmp_path)
    return [
        taught(*make_round(name, count, seed=seed))
        for name, count, seed in (("a", 300, 1), ("empty", 0, 2), ("b", 130, 3))
    ]


def taught(faces: FaceStore, teacher: TeacherStore, name: str = "") -> Source:
    """A round with one teacher; `name`: the round whose manifest is to be read."""
    manifest = LatentManifest.read(layout.manifest(name)) if name else None
    return open_source(faces, {"toy": teacher}, manifest=manifest)


def stream(sources: list[Source], seed: int = 5) -> BatchStream:
    return BatchStream(sources, batch=32, pool_rows=128, seed=seed)


def keys(batches: Iterator[Batch]) -> list[bytes]:
    """Each face of the stream, by its pixels."""
    return [image.tobytes() for batch in batches for image in batch.images.numpy()]


def test_an_epoch_holds_every_usable_face_once(sources: list[Source]) -> None:
    count = num_usable(sources)
    seen = keys(islice(stream(sources).batches(), -(-count // 32)))[:count]
    assert len(set(seen)) == count == sum(int(source.faces.ok().sum()) for source in sources)


def test_targets_belong_to_their_faces(sources: list[Source]) -> None:
    target_of = {}
    for source in sources:
        images = source.faces.images(0, len(source.faces))
        for row in source.usable:
            target_of[images[row].tobytes()] = source.targets["toy"][row].astype(np.float32)
    for batch in islice(stream(sources).batches(), 12):
        for image, target in zip(batch.images.numpy(), batch.targets["toy"].numpy(), strict=True):
            assert np.array_equal(target_of[image.tobytes()], target)


@pytest.mark.parametrize("step", [1, 3, 4, 9, 10, 11, 12, 25])
def test_starting_at_a_step_gives_the_same_batches_as_going_there(
    sources: list[Source], step: int
) -> None:
    whole = keys(islice(stream(sources).batches(), step + 5))
    assert keys(islice(stream(sources).batches(step), 5)) == whole[step * 32 :]


def test_epochs_and_seeds_have_orders_of_their_own(sources: list[Source]) -> None:
    per_epoch = num_usable(sources)
    faces = keys(islice(stream(sources).batches(), 3 * per_epoch // 32))
    assert faces[:per_epoch] != faces[per_epoch : 2 * per_epoch]
    assert faces[:64] != keys(islice(stream(sources, seed=6).batches(), 2))


def test_rounds_are_mixed(sources: list[Source]) -> None:
    first_round = {image.tobytes() for image in sources[0].faces.images(0, 300)}
    shares = [
        np.mean([key in first_round for key in keys(iter([batch]))])
        for batch in islice(stream(sources).batches(), 10)
    ]
    assert 0.3 < np.mean(shares) < 0.95
    assert min(shares) < 1.0


def test_fewer_faces_than_a_batch_is_refused(sources: list[Source]) -> None:
    with pytest.raises(InputError, match="fewer than one batch of 32"):
        stream([sources[1]])


def test_labels_number_the_identities_of_all_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ids = np.repeat([4, 9, 11], 30)
    rounds = [
        taught(*make_round("a", 90, seed=1, identity_id=ids), name="a"),
        taught(*make_round("b", 90, seed=2), name="b"),  # faces of no identity
        taught(*make_round("c", 90, seed=3, identity_id=ids), name="c"),
    ]
    label_of = {}
    for index, source in enumerate(rounds):
        wanted = np.searchsorted([4, 9, 11], ids) + 3 * (index // 2) if index != 1 else [-1] * 90
        label_of |= dict(zip(source.face_ids.tolist(), wanted, strict=True))
    assert num_identities(rounds) == 6
    seen = set()
    for batch in islice(stream(rounds).batches(), 6):
        for face, label in zip(batch.face_ids.tolist(), batch.labels.tolist(), strict=True):
            assert label == label_of[face]
            seen.add(label)
    assert seen == {-1, *range(6)}


def test_a_round_without_its_manifest_names_faces_by_their_row(sources: list[Source]) -> None:
    (batch,) = islice(stream(sources[:1]).batches(), 1)
    images = sources[0].faces.images(0, 300)
    for image, face in zip(batch.images.numpy(), batch.face_ids.tolist(), strict=True):
        assert np.array_equal(images[-1 - face], image)
    assert (batch.labels == -1).all()
