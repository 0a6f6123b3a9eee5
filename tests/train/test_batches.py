"""Batches: every usable face once an epoch, targets of their own face, any starting step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from manifests.errors import InputError
from tests.toys import make_round, toy_teacher
from train.batches import Batch, BatchStream, Source, num_usable, open_source, stored_frame


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    monkeypatch.chdir(tmp_path)
    return [
        open_source(*make_round(name, count, seed=seed))
        for name, count, seed in (("a", 300, 1), ("empty", 0, 2), ("b", 130, 3))
    ]


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
            target_of[images[row].tobytes()] = source.targets[row].astype(np.float32)
    for batch in islice(stream(sources).batches(), 12):
        for image, target in zip(batch.images.numpy(), batch.targets.numpy(), strict=True):
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


def test_a_usable_face_must_have_an_embedding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    faces, teacher = make_round("a", 200, failed=0.0)
    rows = teacher.embeddings().astype(np.float32)
    rows[[7, 150], 1, 3] = np.nan, np.inf
    holed = toy_teacher(tmp_path / "holed.zarr", rows, faces_root=faces.root)
    with pytest.raises(InputError, match=r"holed\.zarr: row 7 is a usable face, its embedding"):
        open_source(faces, holed)
    with pytest.raises(InputError, match=r"row 150 "):
        open_source(faces, holed, leave_out=np.array([7]))
    assert len(open_source(faces, holed, leave_out=np.array([7, 150])).usable) == 198


def test_faces_and_embeddings_must_be_as_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (faces, _), (_, shorter) = make_round("a", 70), make_round("b", 69)
    with pytest.raises(InputError, match=r"toy\.zarr: 69 rows, .*a/faces\.zarr has 70"):
        open_source(faces, shorter)


def test_all_sources_must_share_a_frame(
    sources: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stored_frame(sources).size == 32
    monkeypatch.setattr("tests.toys.FACE_SIZE", 48)
    other = open_source(*make_round("c", 70))
    with pytest.raises(InputError, match="wide at 32 px, wide at 48 px"):
        stored_frame([*sources, other])
