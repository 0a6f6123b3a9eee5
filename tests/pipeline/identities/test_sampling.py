"""From boundaries to the rows of an identities round."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.records.boundaries import Boundaries
from manifests.settings.params import LONGEST_STEP, MOST_PROTECTION, Identities, Params, PriorRound
from manifests.stores.latents import DISSIMILAR, SIMILAR, LatentManifest
from pipeline.identities.sampling import sample_identities, shuffled
from pipeline.identities.sampling_laws import LAWS, Geometry, geometry_of
from pipeline.sample import (
    sample_prior,
    save,
)
from tests.pipeline.identities.toys import (
    EVEN,
    SETTINGS,
    WIDTH,
    teacher_response,
    unit_priors,
)


@pytest.fixture
def pool(workspace: Path, params: Params) -> LatentManifest:
    manifest = sample_prior("pool", PriorRound(count=20, seed=1), params)
    save(manifest)
    return manifest


@pytest.fixture
def boundaries(pool: LatentManifest) -> Boundaries:
    """Four boundaries of pool faces, the second one dropped; written where stages look."""
    made = Boundaries(
        pool.face_id[[3, 11, 5, 0]],
        unit_priors(4),
        np.full(4, 0.7, np.float32),
        ("", "accuracy below 0.8", "", ""),
        "z", "ridge", pool.digest, "ab" * 32, np.ones(WIDTH),
    )  # fmt: skip
    made.write(layout.boundaries("pool"))
    return made


def drawn(
    pool: LatentManifest, boundaries: Boundaries, settings: Identities
) -> dict[str, np.ndarray]:
    geometry = geometry_of(teacher_response(), float(np.sqrt(WIDTH)))
    return sample_identities(pool.face_id, pool.latents, boundaries, geometry, settings)


@pytest.fixture
def columns(pool: LatentManifest, boundaries: Boundaries) -> dict[str, np.ndarray]:
    return drawn(pool, boundaries, SETTINGS)


def test_each_kept_boundary_makes_two_identities(columns: dict[str, np.ndarray]) -> None:
    numbers, counts = np.unique(columns["identity_id"], return_counts=True)
    assert numbers.tolist() == [0, 1, 4, 5, 6, 7]  # the second boundary was dropped
    assert set(counts) == {SETTINGS.per_side}


def test_side_tells_which_of_the_two(columns: dict[str, np.ndarray]) -> None:
    odd = columns["identity_id"] % 2 == 1
    assert set(columns["side"][odd]) == {DISSIMILAR}
    assert set(columns["side"][~odd]) == {SIMILAR}


def test_both_sides_took_the_same_steps(columns: dict[str, np.ndarray]) -> None:
    steps = columns["step"].reshape(-1, 2, SETTINGS.per_side)
    assert np.array_equal(steps[:, 0], steps[:, 1])


def test_parent_is_the_reference(boundaries: Boundaries, columns: dict[str, np.ndarray]) -> None:
    wanted = boundaries.face_id[columns["identity_id"] // 2]
    assert np.array_equal(columns["parent_id"], wanted)


def test_latents_lie_on_their_side_of_the_reference(
    pool: LatentManifest, boundaries: Boundaries
) -> None:
    settings = replace(SETTINGS, law="along-normal")
    found = drawn(pool, boundaries, settings)
    normals = boundaries.normal[found["identity_id"] // 2]
    places = (found["latents"] * normals).sum(axis=1).reshape(-1, 2, 3)
    assert (places[:, 0] < places[:, 1]).all()


def test_dropping_a_boundary_leaves_the_others_alone(
    pool: LatentManifest, boundaries: Boundaries, columns: dict[str, np.ndarray]
) -> None:
    fewer = replace(boundaries, reason=("", "dropped", "dropped", ""))
    found = drawn(pool, fewer, SETTINGS)
    keep = np.isin(columns["identity_id"], found["identity_id"])
    assert np.array_equal(found["latents"], columns["latents"][keep])


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.1])
def test_no_two_rows_of_a_round_are_equal(
    pool: LatentManifest, boundaries: Boundaries, strength: float
) -> None:
    found = drawn(pool, boundaries, replace(EVEN, strength=strength))
    assert len(np.unique(found["latents"], axis=0)) == len(found["latents"])


def test_a_faces_offsets_follow_from_its_seed(
    boundaries: Boundaries, columns: dict[str, np.ndarray]
) -> None:
    offsets = np.random.default_rng(columns["seed"][0]).uniform(0.0, 8.0, WIDTH)
    normal = boundaries.normal[0].astype(float)
    assert columns["step"][0] == pytest.approx(offsets @ normal**2)
    seeds = columns["seed"].reshape(-1, 2, SETTINGS.per_side)
    assert np.array_equal(seeds[:, 0], seeds[:, 1])
    assert len(np.unique(seeds)) == 3 * SETTINGS.per_side


def test_more_faces_a_side_leave_the_first_ones_alone(
    pool: LatentManifest, boundaries: Boundaries, columns: dict[str, np.ndarray]
) -> None:
    more = drawn(pool, boundaries, replace(SETTINGS, per_side=7))
    for side in range(6):
        np.testing.assert_array_equal(
            more["latents"][7 * side :][:3], columns["latents"][3 * side :][:3]
        )


def test_in_w_steps_are_in_units_of_the_coordinates(
    pool: LatentManifest, boundaries: Boundaries
) -> None:
    units = np.geomspace(0.1, 10.0, WIDTH)
    stretched = replace(boundaries, space="w", scale=units)
    raw = geometry_of(teacher_response(), None)
    plain, found = (
        sample_identities(pool.face_id, latents, own, raw, EVEN)
        for latents, own in (
            (pool.latents, replace(boundaries, space="w")),
            ((pool.latents * units).astype(np.float32), stretched),
        )
    )
    np.testing.assert_allclose(found["latents"], plain["latents"] * units, rtol=1e-4, atol=1e-4)
    norms = np.linalg.norm(plain["latents"], axis=1)
    assert norms.std() > 0.01  # no norm is restored in w


@pytest.mark.parametrize("law", sorted(LAWS))
@pytest.mark.parametrize("space", ["z", "w"])
def test_the_largest_settings_make_finite_and_unlike_latents(
    pool: LatentManifest, boundaries: Boundaries, law: str, space: str
) -> None:
    largest = {"strength": LONGEST_STEP, "jitter": LONGEST_STEP, "protection": MOST_PROTECTION}
    settings = replace(SETTINGS, law=law, **largest)
    found = drawn(pool, replace(boundaries, space=space), settings)["latents"]
    assert np.isfinite(found).all()
    assert len(np.unique(found, axis=0)) == len(found)
    assert np.linalg.norm(found, axis=1).min() > 1.0


def test_a_reference_that_the_pool_lacks_is_refused(
    pool: LatentManifest, boundaries: Boundaries, geometry: Geometry
) -> None:
    with pytest.raises(InputError, match=r"boundary 0: reference \d+ is no face of the pool"):
        sample_identities(pool.face_id[4:], pool.latents[4:], boundaries, geometry, SETTINGS)


def test_no_kept_boundary_is_an_error(pool: LatentManifest, boundaries: Boundaries) -> None:
    none = replace(boundaries, reason=("dropped",) * 4)
    with pytest.raises(InputError, match=r"no boundary was kept; lower boundaries\.min_accuracy"):
        drawn(pool, none, SETTINGS)


def test_shuffling_keeps_rows_together() -> None:
    rows = np.arange(50)
    mixed = shuffled({"latents": rows, "side": rows * 2}, seed=1)
    assert not np.array_equal(mixed["latents"], rows)
    assert np.array_equal(np.sort(mixed["latents"]), rows)
    assert np.array_equal(mixed["side"], mixed["latents"] * 2)
