from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import layout
from manifests.boundaries import Boundaries
from manifests.errors import InputError
from manifests.files import read_json
from manifests.latents import DISSIMILAR, SIMILAR, LatentManifest
from manifests.params import Identities, Params, PriorRound
from pipeline.sample import (
    LAWS,
    main,
    prior,
    sample_from_boundaries,
    sample_identities,
    sample_prior,
    save,
    shuffled,
    summary,
    walk,
)

WIDTH = 100
SETTINGS = Identities(law="exfacegan-uniform", per_side=3, max_offset=8.0, seed=4)


def unit_rows(count: int) -> np.ndarray:
    rows = prior(count, WIDTH, "pool", seed=9)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


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
        unit_rows(4),
        np.full(4, 0.7, np.float32),
        ("", "accuracy below 0.8", "", ""),
        "z", "ridge", pool.digest, "ab" * 32,
    )  # fmt: skip
    made.write(layout.boundaries("pool"))
    return made


@pytest.fixture
def columns(pool: LatentManifest, boundaries: Boundaries) -> dict[str, np.ndarray]:
    return sample_identities(pool.face_id, pool.latents, boundaries, SETTINGS)


def test_prior_is_a_function_of_its_seed() -> None:
    assert np.array_equal(prior(50, WIDTH, "pool", seed=1), prior(50, WIDTH, "pool", seed=1))
    assert not np.array_equal(prior(50, WIDTH, "pool", seed=1), prior(50, WIDTH, "pool", seed=2))


def test_rounds_with_one_seed_share_no_latent() -> None:
    pool, probe = (prior(50, WIDTH, name, seed=1) for name in ("pool", "probe"))
    assert not {row.tobytes() for row in pool} & {row.tobytes() for row in probe}


def test_prior_is_standard_normal() -> None:
    latents = prior(2000, WIDTH, "pool", seed=0)
    assert abs(latents.mean()) < 0.01
    assert abs(latents.std() - 1) < 0.01


def test_a_prior_round_is_reproducible(workspace: Path, params: Params) -> None:
    first, second = (sample_prior("pool", PriorRound(30, 1), params) for _ in range(2))
    assert first.digest == second.digest


def test_rounds_of_one_seed_do_not_share_ids(workspace: Path, params: Params) -> None:
    pool, probe = (sample_prior(name, PriorRound(30, 1), params) for name in ("pool", "probe"))
    assert not set(pool.face_id) & set(probe.face_id)


@given(st.integers(0, 2**31), st.floats(0.0, 20.0), st.sampled_from(sorted(LAWS)))
def test_walk_restores_the_norm_of_a_gaussian(seed: int, limit: float, law: str) -> None:
    offsets = LAWS[law](np.random.default_rng(seed), (4, WIDTH), limit)
    for side in walk(prior(1, WIDTH, "pool", seed=seed)[0], unit_rows(1)[0], offsets):
        np.testing.assert_allclose(np.linalg.norm(side, axis=1), np.sqrt(WIDTH))


def test_no_step_stays_on_the_reference() -> None:
    reference = prior(1, WIDTH, "pool", seed=0)[0]
    similar, dissimilar = walk(reference, unit_rows(1)[0], np.zeros((2, WIDTH)))
    wanted = reference * 10 / np.linalg.norm(reference)
    np.testing.assert_allclose(similar, [wanted] * 2, rtol=1e-5)
    assert np.array_equal(similar, dissimilar)


def test_sides_part_along_the_normal() -> None:
    normal = unit_rows(1)[0]
    offsets = LAWS["along-normal"](np.random.default_rng(0), (50, WIDTH), 8.0)
    similar, dissimilar = walk(prior(1, WIDTH, "pool", seed=0)[0], normal, offsets)
    assert ((dissimilar - similar) @ normal > 0).all()


def test_same_offsets_serve_both_sides() -> None:
    reference, normal = (
        prior(1, WIDTH, "pool", seed=0)[0].astype(float),
        unit_rows(1)[0].astype(float),
    )
    offsets = LAWS["exfacegan-uniform"](np.random.default_rng(0), (5, WIDTH), 8.0)
    for left, right, offset in zip(*walk(reference, normal, offsets), offsets, strict=True):
        for side, latent in ((-1, left), (+1, right)):
            raw = reference + side * offset * normal
            np.testing.assert_allclose(latent, raw * 10 / np.linalg.norm(raw))


def test_laws_draw_within_their_limit() -> None:
    rng = np.random.default_rng(0)
    for law in LAWS.values():
        offsets = law(rng, (200, WIDTH), 8.0)
        assert (0 <= offsets.min(), offsets.max() <= 8.0) == (True, True)
        assert offsets.max() > 7.5
    assert np.ptp(LAWS["along-normal"](rng, (9, WIDTH), 8.0), axis=1).max() == 0
    assert np.ptp(LAWS["exfacegan-uniform"](rng, (9, WIDTH), 8.0), axis=1).min() > 4


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
    found = sample_identities(pool.face_id, pool.latents, boundaries, settings)
    normals = boundaries.normal[found["identity_id"] // 2]
    places = (found["latents"] * normals).sum(axis=1).reshape(-1, 2, 3)
    assert (places[:, 0] < places[:, 1]).all()


def test_dropping_a_boundary_leaves_the_others_alone(
    pool: LatentManifest, boundaries: Boundaries, columns: dict[str, np.ndarray]
) -> None:
    fewer = replace(boundaries, reason=("", "dropped", "dropped", ""))
    found = sample_identities(pool.face_id, pool.latents, fewer, SETTINGS)
    keep = np.isin(columns["identity_id"], found["identity_id"])
    assert np.array_equal(found["latents"], columns["latents"][keep])


def test_no_kept_boundary_is_an_error(pool: LatentManifest, boundaries: Boundaries) -> None:
    none = replace(boundaries, reason=("dropped",) * 4)
    with pytest.raises(InputError, match=r"no boundary was kept; lower boundaries\.min_accuracy"):
        sample_identities(pool.face_id, pool.latents, none, SETTINGS)


def test_unknown_law_is_answered_with_the_valid_ones(
    pool: LatentManifest, boundaries: Boundaries
) -> None:
    settings = replace(SETTINGS, law="spiral")
    with pytest.raises(InputError, match=r"law 'spiral'; valid names: along-normal, exfacegan"):
        sample_identities(pool.face_id, pool.latents, boundaries, settings)


def test_shuffling_keeps_rows_together() -> None:
    rows = np.arange(50)
    mixed = shuffled({"latents": rows, "side": rows * 2}, seed=1)
    assert not np.array_equal(mixed["latents"], rows)
    assert np.array_equal(np.sort(mixed["latents"]), rows)
    assert np.array_equal(mixed["side"], mixed["latents"] * 2)


def test_identities_round_is_reproducible(
    boundaries: Boundaries, params: Params, pool: LatentManifest
) -> None:
    small = replace(params, identities=SETTINGS)
    first, second = (sample_from_boundaries(small) for _ in range(2))
    assert first.digest == second.digest
    assert len(first) == 3 * 2 * SETTINGS.per_side
    assert set(first.table["parent_id"].to_pylist()) <= set(pool.face_id)


def test_boundaries_of_another_pool_are_refused(boundaries: Boundaries, params: Params) -> None:
    save(sample_prior("pool", PriorRound(20, seed=2), params))
    with pytest.raises(InputError, match=r"pool\.parquet: manifest digest"):
        sample_from_boundaries(params)


def test_summary_describes_the_round(boundaries: Boundaries, params: Params) -> None:
    save(sample_from_boundaries(replace(params, identities=SETTINGS)))
    found = read_json(layout.manifest_summary("identities"))
    assert (found["rows"], found["num_identities"], found["num_parents"]) == (18, 6, 3)
    assert found["digest"] == LatentManifest.read(layout.manifest("identities")).digest
    assert (found["origins"], found["laws"]) == ({"boundary": 18}, {SETTINGS.law: 18})
    assert sum(found["latent_norm_histogram"]["counts"]) == 18


def test_summary_of_an_empty_round_is_legal(workspace: Path, params: Params) -> None:
    found = summary(sample_prior("none", PriorRound(0, 1), params))
    assert (found["rows"], found["origins"]) == (0, {})


def test_unknown_round_is_answered_with_the_valid_ones(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["sample", "crowd"])
    with pytest.raises(InputError, match=r"unknown round 'crowd'; valid names: pool, probe"):
        main()
