from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifests.errors import InputError
from manifests.latents import LatentManifest
from manifests.params import BoundaryParams, Params, load_params
from pipeline.boundaries import (
    boundaries_of_pool,
    draw_boundaries,
    held_out_accuracy,
    linear_svc,
    median_labels,
    ridge,
    split_rows,
)
from tests import references

SETTINGS = BoundaryParams(
    solver="ridge",
    references=5,
    neighbours=600,
    penalty=0.01,
    held_out=0.3,
    min_accuracy=0.0,
    seed=1,
)
WIDTH = 12


@pytest.fixture(scope="module")
def latents() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((800, WIDTH)).astype(np.float32) + np.float32(0.5)


@pytest.fixture(scope="module")
def embeddings(latents: np.ndarray) -> np.ndarray:
    """A noisy rotation of the latents: who lies near in one lies near in the other."""
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
    noise = rng.standard_normal(latents.shape)
    return ((latents - 0.5) @ rotation + 0.5 * noise).astype(np.float32)


@pytest.fixture(scope="module")
def labels(embeddings: np.ndarray) -> np.ndarray:
    return median_labels(embeddings[:5], embeddings[5:])


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("count", [600, 601])
def test_median_labels_equal_their_slow_twin(embeddings: np.ndarray, count: int) -> None:
    found = median_labels(embeddings[:3], embeddings[5 : 5 + count])
    twin = references.median_labels(embeddings[:3], embeddings[5 : 5 + count])
    assert (found != twin).mean() < 0.002  # the median itself may round to either side


def test_half_of_the_neighbours_are_similar(labels: np.ndarray) -> None:
    assert np.abs((labels < 0).mean(axis=0) - 0.5).max() < 0.002


@pytest.mark.parametrize("penalty", [0.0, 0.01, 1.0])
def test_ridge_equals_its_slow_twin(
    latents: np.ndarray, labels: np.ndarray, penalty: float
) -> None:
    found = ridge(latents[5:], labels, replace(SETTINGS, penalty=penalty))
    twin = references.ridge(latents[5:].astype(np.float64), labels, penalty)
    for ours, theirs in zip(found, twin, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_ridge_finds_the_normals_of_the_published_solver(
    latents: np.ndarray, labels: np.ndarray
) -> None:
    ours, _ = ridge(latents[5:], labels, SETTINGS)
    theirs, _ = linear_svc(latents[5:], labels, SETTINGS)
    assert cosines(ours, theirs).min() > 0.95


@pytest.mark.parametrize("solver", ["ridge", "linear_svc"])
def test_normals_are_units_towards_the_dissimilar_side(
    latents: np.ndarray, embeddings: np.ndarray, labels: np.ndarray, solver: str
) -> None:
    settings = replace(SETTINGS, solver=solver)
    split = split_rows(np.arange(len(latents)), settings)
    normals, accuracy = draw_boundaries(latents, embeddings, split, settings)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0)
    for reference, normal in zip(split.references, normals, strict=True):
        alike = cosines(embeddings, embeddings[[reference]])
        places = latents @ normal
        assert places[alike > 0.5].mean() < places.mean() < places[alike < -0.5].mean()
    assert accuracy.min() > 0.6


def test_accuracy_counts_the_right_sides() -> None:
    latents = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    labels = np.array([[-1.0, -1.0], [-1.0, -1.0], [1.0, -1.0], [1.0, 1.0]])
    found = held_out_accuracy(np.array([[1.0], [1.0]]), np.array([0.0, 0.0]), latents, labels)
    assert found.tolist() == [1.0, 0.75]


def test_no_face_serves_twice() -> None:
    split = split_rows(np.arange(1000), SETTINGS)
    drawn = np.concatenate([split.references, split.fit, split.held_out])
    assert len(set(drawn.tolist())) == SETTINGS.references + SETTINGS.neighbours
    assert (len(split.fit), len(split.held_out)) == (420, 180)


def test_only_usable_faces_are_drawn() -> None:
    usable = np.arange(0, 2000, 2)
    split = split_rows(usable, SETTINGS)
    assert set(split.references) | set(split.fit) | set(split.held_out) <= set(usable)


def test_too_few_faces_say_how_many_are_missing() -> None:
    with pytest.raises(InputError, match=r"605 usable pool faces wanted .* has 604; enlarge"):
        split_rows(np.arange(604), SETTINGS)


def test_unknown_solver_is_answered_with_the_valid_ones(
    latents: np.ndarray, embeddings: np.ndarray
) -> None:
    split = split_rows(np.arange(len(latents)), SETTINGS)
    with pytest.raises(InputError, match=r"solver 'svm'; valid names: linear_svc, ridge"):
        draw_boundaries(latents, embeddings, split, replace(SETTINGS, solver="svm"))


class TestOnARealPool:
    @pytest.fixture
    def small(self, rounds: Path) -> Params:
        settings = replace(SETTINGS, references=4, neighbours=40)
        return replace(load_params(), boundaries=settings)

    def test_boundaries_name_what_they_were_drawn_from(self, small: Params) -> None:
        pool = LatentManifest.read(Path("manifests/rounds/pool.parquet"))
        found = boundaries_of_pool(small)
        assert set(found.face_id) <= set(pool.face_id)
        assert found.manifest_digest == pool.digest
        assert found.normal.shape == (4, pool.recipe.latent_width)

    def test_same_seed_same_boundaries(self, small: Params) -> None:
        assert boundaries_of_pool(small).digest == boundaries_of_pool(small).digest

    def test_inaccurate_boundaries_keep_their_row_and_a_reason(self, small: Params) -> None:
        strict = replace(small, boundaries=replace(small.boundaries, min_accuracy=1.01))
        found = boundaries_of_pool(strict)
        assert not found.kept.any()
        assert set(found.reason) == {"accuracy below 1.01"}
