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
from manifests.params import Identities, Params, PriorRound, load_params
from pipeline.boundaries import boundaries_of_pool
from pipeline.identities.labels import unit
from pipeline.identities.laws import LAWS, SIDES, Geometry, even_step, geometry_of, shielding
from pipeline.identities.sampling import LIMITS, check_settings, sample_identities, shuffled
from pipeline.sample import (
    main,
    prior,
    require_recipe,
    sample_from_boundaries,
    sample_prior,
    save,
    summary,
)
from tests.stylegans import SMALL2, network_of, write_pickle

WIDTH, EMBEDDING = 100, 16
SETTINGS = Identities(
    law="exfacegan-uniform", per_side=3, strength=8.0, jitter=0.6, protection=2.0,
    decorrelation=1.0, restore_norm=True, seed=4,
)  # fmt: skip
EVEN = replace(SETTINGS, law="even", strength=1.3)


def unit_rows(count: int) -> np.ndarray:
    rows = prior(count, WIDTH, "pool", seed=9)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def teacher_response() -> np.ndarray:
    """Of a teacher that sees the first coordinates best, and the last not at all."""
    matrix = np.random.default_rng(2).standard_normal((WIDTH, EMBEDDING))
    return matrix * np.maximum(0.0, np.linspace(1.0, -0.2, WIDTH))[:, None]


def seen_normals(count: int) -> np.ndarray:
    """Unit normals in directions that the teacher sees."""
    rng = np.random.default_rng(0)
    return unit(rng.standard_normal((count, EMBEDDING)) @ teacher_response().T)


def streams(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng((seed, number)) for number in range(count)]


@pytest.fixture
def geometry() -> Geometry:
    return geometry_of(teacher_response(), float(np.sqrt(WIDTH)))


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
def test_laws_restore_the_norm_of_a_gaussian(seed: int, strength: float, law: str) -> None:
    geometry = geometry_of(teacher_response(), 10.0)
    reference, normal = prior(1, WIDTH, "pool", seed=seed)[0], unit_rows(1)[0]
    settings = replace(SETTINGS, strength=strength)
    sides = LAWS[law](reference, normal, geometry, streams(4, seed), settings)
    for side in (sides.similar, sides.dissimilar):
        np.testing.assert_allclose(np.linalg.norm(side, axis=1), 10.0)


@pytest.mark.parametrize("law", sorted(set(LAWS) - {"even"}))
def test_no_strength_stays_on_the_reference(geometry: Geometry, law: str) -> None:
    reference = prior(1, WIDTH, "pool", seed=0)[0]
    settings = replace(SETTINGS, strength=0.0)
    sides = LAWS[law](reference, unit_rows(1)[0], geometry, streams(2), settings)
    wanted = reference * 10 / np.linalg.norm(reference)
    np.testing.assert_allclose(sides.similar, [wanted] * 2, rtol=1e-5)
    assert np.array_equal(sides.similar, sides.dissimilar)


@pytest.mark.parametrize("law", ["exfacegan-uniform", "along-normal"])
def test_sides_part_along_the_normal(geometry: Geometry, law: str) -> None:
    normal, reference = unit_rows(1)[0], prior(1, WIDTH, "pool", seed=0)[0]
    sides = LAWS[law](reference, normal, geometry, streams(50), SETTINGS)
    assert ((sides.dissimilar - sides.similar) @ normal > 0).all()
    assert np.array_equal(sides.similar_step, sides.dissimilar_step)
    assert 0 < sides.similar_step.min() < sides.similar_step.max() < 8


def test_the_published_law_draws_every_coordinate_on_its_own() -> None:
    """By hand from the paper's formula: reference -/+ offset * normal, element by element."""
    reference, normal = (
        prior(1, WIDTH, "pool", seed=0)[0].astype(float),
        unit_rows(1)[0].astype(float),
    )
    raw = geometry_of(teacher_response(), None)
    sides = LAWS["exfacegan-uniform"](reference, normal, raw, streams(5), SETTINGS)
    for face, rng in enumerate(streams(5)):
        offset = rng.uniform(0.0, 8.0, WIDTH)
        np.testing.assert_allclose(sides.similar[face], reference - offset * normal)
        np.testing.assert_allclose(sides.dissimilar[face], reference + offset * normal)
        assert sides.similar_step[face] == pytest.approx((offset * normal**2).sum())


def test_the_figures_law_has_no_side(geometry: Geometry) -> None:
    reference, normal = prior(1, WIDTH, "pool", seed=0)[0], unit_rows(1)[0]
    raw = geometry_of(teacher_response(), None)
    sides = LAWS["exfacegan-normal"](reference, normal, raw, streams(400), SETTINGS)
    moved = (sides.dissimilar - reference) @ normal
    np.testing.assert_allclose(moved, (reference - sides.similar) @ normal, atol=1e-4)
    assert abs(moved.mean()) < 0.1 * moved.std()


def test_steps_along_the_normal_leave_the_line_nowhere() -> None:
    reference, normal = prior(1, WIDTH, "pool", seed=0)[0], unit_rows(1)[0].astype(float)
    raw = geometry_of(teacher_response(), None)
    sides = LAWS["along-normal"](reference, normal, raw, streams(9), SETTINGS)
    shift = sides.dissimilar - reference
    np.testing.assert_allclose(shift, np.outer(sides.dissimilar_step, normal), atol=1e-6)


@pytest.mark.parametrize("law", sorted(LAWS))
def test_a_step_is_the_move_along_the_normal(law: str) -> None:
    reference, normal = prior(1, WIDTH, "pool", seed=0)[0], seen_normals(1)[0]
    raw = geometry_of(teacher_response(), None)
    settings = replace(SETTINGS, law=law, jitter=0.0, decorrelation=0.0)
    sides = LAWS[law](reference, normal, raw, streams(9), settings)
    np.testing.assert_allclose((sides.dissimilar - reference) @ normal, sides.dissimilar_step)
    np.testing.assert_allclose((reference - sides.similar) @ normal, sides.similar_step)


class TestEvenLaw:
    def test_directions_and_weights_are_those_of_the_response(self, geometry: Geometry) -> None:
        moment = teacher_response() @ teacher_response().T
        shares = geometry.weights * np.trace(moment)
        np.testing.assert_allclose(
            geometry.directions * shares @ geometry.directions.T, moment, atol=1e-9
        )

    def test_prior_latents_have_a_distinctness_of_one(self, geometry: Geometry) -> None:
        found = geometry.distinctness(prior(4000, WIDTH, "pool", seed=1))
        assert np.sqrt((found**2).mean()) == pytest.approx(1.0, abs=0.02)

    @pytest.mark.parametrize("wanted", [0.5, 1.0, 1.3])
    def test_centres_are_at_least_as_distinct_as_wanted(
        self, geometry: Geometry, wanted: float
    ) -> None:
        settings = replace(EVEN, jitter=0.0, strength=wanted)
        for seed, normal in enumerate(seen_normals(20)):
            reference = prior(1, WIDTH, "pool", seed=seed)[0]
            sides = LAWS["even"](reference, normal, geometry, streams(1), settings)
            for latents in (sides.similar, sides.dissimilar):
                assert geometry.distinctness(latents)[0] >= wanted - 1e-9
            apart = geometry.seen(sides.dissimilar - sides.similar)[0]
            walked = geometry.decorrelated(normal, settings.decorrelation)
            least = [even_step(reference, side * walked, geometry, wanted) for side in SIDES]
            more = sides.similar_step[0] - least[0]
            assert sides.dissimilar_step[0] - least[1] == pytest.approx(more)
            assert wanted < apart
            assert apart < wanted + 0.1 or more == 0.0  # the least such step

    def test_the_least_step_is_just_distinct_enough(self, geometry: Geometry) -> None:
        reference, normal = prior(1, WIDTH, "pool", seed=0)[0], seen_normals(1)[0]
        step = even_step(reference, normal, geometry, 1.5)
        found = geometry.distinctness(reference + np.array([[step - 0.1], [step]]) * normal)
        assert step > 0
        assert found[0] < 1.5 <= found[1]

    @given(
        st.integers(0, 2**31), st.floats(0.0, 3.0), st.sampled_from([0.0, 1.0]),
        st.sampled_from([10.0, None]), st.booleans(),
    )  # fmt: skip
    def test_two_sides_are_two_people(
        self, seed: int, strength: float, power: float, norm: float | None, blind: bool
    ) -> None:
        """Also where the reference is distinct by itself, and where the teacher sees no change."""
        geometry = geometry_of(teacher_response(), norm)
        reference = prior(1, WIDTH, "pool", seed=seed)[0]
        normal = geometry.directions[:, -1] if blind else unit_rows(1)[0].astype(float)
        settings = replace(EVEN, strength=strength, decorrelation=power)
        sides = LAWS["even"](reference, normal, geometry, streams(3, seed), settings)
        assert (
            (sides.similar.astype(np.float32) != sides.dissimilar.astype(np.float32))
            .any(axis=1)
            .all()
        )
        assert len(np.unique(np.concatenate([sides.similar, sides.dissimilar]), axis=0)) == 6

    @pytest.mark.parametrize("strength", [0.3, 0.6, 0.9])
    def test_centres_are_as_far_apart_as_from_the_mean_face(
        self, geometry: Geometry, strength: float
    ) -> None:
        settings = replace(EVEN, strength=strength, jitter=0.0)
        steps = []
        for seed in range(30):
            reference, normal = prior(1, WIDTH, "pool", seed=seed)[0], seen_normals(30)[seed]
            sides = LAWS["even"](reference, normal, geometry, streams(1), settings)
            steps.append(sides.similar_step[0] + sides.dissimilar_step[0])
            assert geometry.seen(sides.dissimilar - sides.similar)[0] > strength
        assert min(steps) > 0

    def test_where_no_step_is_enough_the_most_distinct_is_taken(self, geometry: Geometry) -> None:
        reference = prior(1, WIDTH, "pool", seed=0)[0]
        blind = geometry.directions[:, -1]  # the teacher does not see it
        assert even_step(reference, blind, geometry, 9.0) == 0.0
        assert even_step(reference, blind, geometry, 0.0) == 0.0

    @pytest.mark.parametrize("power", [0.0, 1.0])
    def test_decorrelation_leaves_or_whitens_the_normals(
        self, geometry: Geometry, power: float
    ) -> None:
        normals = np.random.default_rng(0).standard_normal((3000, EMBEDDING)) @ teacher_response().T
        found = np.stack([geometry.decorrelated(normal, power) for normal in normals])
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0)
        spectrum = np.linalg.eigvalsh(found.T @ found)[::-1][:EMBEDDING]
        if power:
            assert spectrum[0] < 1.5 * spectrum[-1]
        else:
            wanted = normals / np.linalg.norm(normals, axis=1, keepdims=True)
            np.testing.assert_allclose(found, wanted)

    def test_protection_takes_jitter_from_the_directions_of_identity(self) -> None:
        weights = np.array([0.6, 0.3, 0.1, 0.0])
        assert np.allclose(shielding(weights, 0.0), 1.0)
        found = shielding(weights, 5.0)
        assert (np.diff(found) > 0).all()
        assert (found**2).mean() == pytest.approx(1.0)

    def test_jitter_is_as_large_as_it_says(self, geometry: Geometry) -> None:
        raw = replace(geometry, norm=None)
        reference = prior(1, WIDTH, "pool", seed=0)[0]
        sides = LAWS["even"](reference, unit_rows(1)[0], raw, streams(2000), EVEN)
        assert np.sqrt(sides.similar.var(axis=0).mean()) == pytest.approx(0.6, rel=0.03)


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


@pytest.mark.parametrize(
    "wrong",
    [
        {"jitter": -1.0},
        {"jitter": 1e300},
        {"strength": -0.1},
        {"strength": 1e300},
        {"protection": 1e308},
        {"decorrelation": 2.0},
    ],
    ids=str,
)
def test_settings_without_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"identities.{next(iter(wrong))} is"):
        check_settings(replace(SETTINGS, **wrong))


@pytest.mark.parametrize("law", sorted(LAWS))
@pytest.mark.parametrize("space", ["z", "w"])
def test_the_largest_settings_make_finite_and_unlike_latents(
    pool: LatentManifest, boundaries: Boundaries, law: str, space: str
) -> None:
    settings = replace(SETTINGS, law=law, **LIMITS)
    check_settings(settings)
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


def test_unknown_law_is_answered_with_the_valid_ones(
    pool: LatentManifest, boundaries: Boundaries
) -> None:
    settings = replace(SETTINGS, law="spiral")
    with pytest.raises(InputError, match=r"law 'spiral'; valid names: along-normal, even,"):
        drawn(pool, boundaries, settings)


def test_shuffling_keeps_rows_together() -> None:
    rows = np.arange(50)
    mixed = shuffled({"latents": rows, "side": rows * 2}, seed=1)
    assert not np.array_equal(mixed["latents"], rows)
    assert np.array_equal(np.sort(mixed["latents"]), rows)
    assert np.array_equal(mixed["side"], mixed["latents"] * 2)


class TestOnARealPool:
    """Boundaries and the identities round of a pool with stores."""

    @pytest.fixture
    def small(self, rounds: Path) -> Params:
        params = load_params()
        settings = replace(params.boundaries, references=4, neighbours=40, min_accuracy=0.0)
        small = replace(params, boundaries=settings, identities=EVEN)
        boundaries_of_pool(small).write(layout.boundaries("pool"))
        return small

    def test_identities_round_is_reproducible_and_described(self, small: Params) -> None:
        first, second = (sample_from_boundaries(small) for _ in range(2))
        assert first.digest == second.digest
        assert len(first) == 4 * 2 * EVEN.per_side
        pool = LatentManifest.read(layout.manifest("pool"))
        assert set(first.table["parent_id"].to_pylist()) <= set(pool.face_id)
        save(first)
        found = read_json(layout.manifest_summary("identities"))
        assert (found["rows"], found["num_identities"], found["num_parents"]) == (24, 8, 4)
        assert found["digest"] == LatentManifest.read(layout.manifest("identities")).digest
        assert (found["origins"], found["laws"]) == ({"boundary": 24}, {EVEN.law: 24})
        assert sum(found["latent_norm_histogram"]["counts"]) == 24

    @pytest.mark.parametrize("link", ["manifest_digest", "teacher_root"])
    def test_boundaries_of_another_pool_are_refused(self, small: Params, link: str) -> None:
        path = layout.boundaries("pool")
        replace(Boundaries.read(path), **{link: "ef" * 32}).write(path)
        with pytest.raises(InputError, match=r"boundaries\.parquet: drawn from .* efefefefefef"):
            sample_from_boundaries(small)

    def test_a_penalty_without_sense_is_refused(self, small: Params) -> None:
        heavy = replace(small, boundaries=replace(small.boundaries, penalty=1e308))
        with pytest.raises(InputError, match=r"boundaries\.penalty is 1e\+308; expected between"):
            sample_from_boundaries(heavy)

    def test_another_generator_than_the_pools_is_refused(self, small: Params) -> None:
        write_pickle(Path("small.pkl"), network_of(2, SMALL2), SMALL2)
        other = replace(small, generator="stylegan2:small.pkl")
        wanted = r"pool\.parquet: generator dcgan-digiface, but params\.yaml .* say small; change"
        with pytest.raises(InputError, match=wanted):
            sample_from_boundaries(other)

    @pytest.mark.parametrize(
        "wrong", [{"latent_space": "w"}, {"psi": 0.5}, {"generator_sha256": "ef" * 32}], ids=str
    )
    def test_latents_of_another_kind_are_refused(
        self, small: Params, wrong: dict[str, object]
    ) -> None:
        pool = LatentManifest.read(layout.manifest("pool")).recipe
        require_recipe(pool, replace(pool, round="identities"))
        name, value = next(iter(wrong.items()))
        with pytest.raises(InputError, match=rf"pool\.parquet: {name} .* say {value}; change"):
            require_recipe(pool, replace(pool, **wrong))


def test_summary_of_an_empty_round_is_legal(workspace: Path, params: Params) -> None:
    found = summary(sample_prior("none", PriorRound(0, 1), params))
    assert (found["rows"], found["origins"]) == (0, {})


def test_unknown_round_is_answered_with_the_valid_ones(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["sample", "crowd"])
    with pytest.raises(InputError, match=r"unknown round 'crowd'; valid names: pool, probe"):
        main()
