"""Laws of sampling: norms, sides, steps, distinctness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.arrays.neighbours import unit_rows
from pipeline.identities.sampling_laws import (
    LAWS,
    SIDES,
    Geometry,
    even_step,
    geometry_of,
    shielding,
)
from pipeline.sample import (
    prior,
)
from tests.pipeline.identities.toys import (
    EMBEDDING,
    EVEN,
    SETTINGS,
    WIDTH,
    teacher_response,
    unit_priors,
)


def seen_normals(count: int) -> np.ndarray:
    """Unit normals in directions that the teacher sees."""
    rng = np.random.default_rng(0)
    return unit_rows(rng.standard_normal((count, EMBEDDING)) @ teacher_response().T)


def streams(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng((seed, number)) for number in range(count)]


@given(st.integers(0, 2**31), st.floats(0.0, 20.0), st.sampled_from(sorted(LAWS)))
def test_laws_restore_the_norm_of_a_gaussian(seed: int, strength: float, law: str) -> None:
    geometry = geometry_of(teacher_response(), 10.0)
    reference, normal = prior(1, WIDTH, "pool", seed=seed)[0], unit_priors(1)[0]
    settings = replace(SETTINGS, strength=strength)
    sides = LAWS[law](reference, normal, geometry, streams(4, seed), settings)
    for side in (sides.similar, sides.dissimilar):
        np.testing.assert_allclose(np.linalg.norm(side, axis=1), 10.0)


@pytest.mark.parametrize("law", sorted(set(LAWS) - {"even"}))
def test_no_strength_stays_on_the_reference(geometry: Geometry, law: str) -> None:
    reference = prior(1, WIDTH, "pool", seed=0)[0]
    settings = replace(SETTINGS, strength=0.0)
    sides = LAWS[law](reference, unit_priors(1)[0], geometry, streams(2), settings)
    wanted = reference * 10 / np.linalg.norm(reference)
    np.testing.assert_allclose(sides.similar, [wanted] * 2, rtol=1e-5)
    assert np.array_equal(sides.similar, sides.dissimilar)


@pytest.mark.parametrize("law", ["exfacegan-uniform", "along-normal"])
def test_sides_part_along_the_normal(geometry: Geometry, law: str) -> None:
    normal, reference = unit_priors(1)[0], prior(1, WIDTH, "pool", seed=0)[0]
    sides = LAWS[law](reference, normal, geometry, streams(50), SETTINGS)
    assert ((sides.dissimilar - sides.similar) @ normal > 0).all()
    assert np.array_equal(sides.similar_step, sides.dissimilar_step)
    assert 0 < sides.similar_step.min() < sides.similar_step.max() < 8


def test_the_published_law_draws_every_coordinate_on_its_own() -> None:
    """By hand from the paper's formula: reference -/+ offset * normal, element by element."""
    reference, normal = (
        prior(1, WIDTH, "pool", seed=0)[0].astype(float),
        unit_priors(1)[0].astype(float),
    )
    raw = geometry_of(teacher_response(), None)
    sides = LAWS["exfacegan-uniform"](reference, normal, raw, streams(5), SETTINGS)
    for face, rng in enumerate(streams(5)):
        offset = rng.uniform(0.0, 8.0, WIDTH)
        np.testing.assert_allclose(sides.similar[face], reference - offset * normal)
        np.testing.assert_allclose(sides.dissimilar[face], reference + offset * normal)
        assert sides.similar_step[face] == pytest.approx((offset * normal**2).sum())


def test_the_figures_law_has_no_side(geometry: Geometry) -> None:
    reference, normal = prior(1, WIDTH, "pool", seed=0)[0], unit_priors(1)[0]
    raw = geometry_of(teacher_response(), None)
    sides = LAWS["exfacegan-normal"](reference, normal, raw, streams(400), SETTINGS)
    moved = (sides.dissimilar - reference) @ normal
    np.testing.assert_allclose(moved, (reference - sides.similar) @ normal, atol=1e-4)
    assert abs(moved.mean()) < 0.1 * moved.std()


def test_steps_along_the_normal_leave_the_line_nowhere() -> None:
    reference, normal = prior(1, WIDTH, "pool", seed=0)[0], unit_priors(1)[0].astype(float)
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
        normal = geometry.directions[:, -1] if blind else unit_priors(1)[0].astype(float)
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
        sides = LAWS["even"](reference, unit_priors(1)[0], raw, streams(2000), EVEN)
        assert np.sqrt(sides.similar.var(axis=0).mean()) == pytest.approx(0.6, rel=0.03)
