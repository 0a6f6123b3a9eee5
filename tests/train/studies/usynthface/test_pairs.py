"""Partners: faces of the same identity, any with the same chance, read where they lie."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.stores.rounds import open_faces
from tests.toys import make_round
from train.batching.batches import BatchStream
from train.batching.sources import NO_IDENTITY, Source, open_source
from train.studies.usynthface.pairs import Partners

IDENTITIES = 9


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """200 faces without identities, then 150 of nine; some of either have failed."""
    monkeypatch.chdir(tmp_path)
    make_round("pool", 200, seed=1)
    owners = np.random.default_rng(3).integers(IDENTITIES, size=150)
    make_round("identities", 150, seed=2, origin="boundary", identity_id=owners * 7)
    opened = [open_faces(name) for name in ("pool", "identities")]
    return [open_source(faces, {}, manifest=manifest) for manifest, faces in opened]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_partner_is_a_usable_face_of_the_same_identity(sources: list[Source]) -> None:
    partners, faces = Partners(sources), sources[1]
    labels = np.repeat(np.arange(IDENTITIES), 40)
    found = partners.drawn(labels, generator(1))
    assert set(found[:, 0]) == {1}
    assert set(found[:, 1]) <= set(faces.usable)
    assert (faces.identities[found[:, 1]] == labels * 7).all()
    assert partners.num_faces == len(faces.usable)


def test_every_face_of_an_identity_is_drawn_alike(sources: list[Source]) -> None:
    drawn = Partners(sources).drawn(np.full(4000, 4), generator(1))[:, 1]
    own = [row for row in sources[1].usable if sources[1].identities[row] == 28]
    counts = Counter(drawn.tolist())
    assert set(counts) == set(own)
    expected = 4000 / len(own)
    assert all(abs(count - expected) < 5 * np.sqrt(expected) for count in counts.values())


def test_a_face_without_identity_is_its_own_partner(sources: list[Source]) -> None:
    partners = Partners(sources)
    stream = BatchStream(sources, batch=64, pool_rows=512, seed=1)
    batch = next(stream.batches())
    found = partners.images(batch, generator(2))
    alone = batch.labels == NO_IDENTITY
    assert alone.any() and not alone.all()
    assert torch.equal(found[alone], batch.images[alone])
    places = partners.drawn(batch.labels.numpy(), generator(2))
    for at in torch.nonzero(~alone)[:, 0].tolist():
        source, row = places[at]
        wanted = sources[source].faces.images(int(row), int(row) + 1)[0]
        np.testing.assert_array_equal(found[at], wanted)


def test_draws_depend_on_the_generator_alone(sources: list[Source]) -> None:
    labels = np.array([3, NO_IDENTITY, 5, 5])
    one, same, other = (Partners(sources).drawn(labels, generator(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any() and (one[1] == -1).all()


def test_few_chunks_are_kept(sources: list[Source], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.studies.usynthface.pairs.CHUNKS_KEPT", 1)
    partners = Partners(sources)
    stream = BatchStream(sources, batch=64, pool_rows=512, seed=1)
    batch = next(stream.batches())
    few = partners.images(batch, generator(2))
    assert len(partners.chunks) == 1
    assert torch.equal(few, Partners(sources).images(batch, generator(2)))
