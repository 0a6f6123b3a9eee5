"""Children stay where a Gaussian latent lies, and as far from their parents as the law says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.mining.mining_laws import (
    LAWS,
    Parents,
    boundary_walk,
    dynamic,
    dynamic_as_published,
    hard_near,
    interpolate,
)
from tests import references
from tests.pipeline.mining.toys import SETTINGS

COUNT, WIDTH = 4000, 50


def parents(
    gap: float = 0.4, *, count: int = COUNT, gaussian: bool = True, seed: int = 0
) -> Parents:
    rng = np.random.default_rng(seed)
    one, other, normals = (rng.standard_normal((count, WIDTH)) for _ in range(3))
    scale = np.ones(WIDTH) if gaussian else np.linspace(0.01, 10.0, WIDTH)
    return Parents(
        latents=one * scale,
        gap=np.full(count, gap),
        mates=other * scale,
        normals=normals / np.linalg.norm(normals, axis=1, keepdims=True),
        scale=scale,
        gaussian=gaussian,
    )


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("step", [0.1, 1.0, 2.0])
def test_children_of_gaussians_are_gaussian(law: str, step: float) -> None:
    settings = replace(SETTINGS, coefficient=step, near_step=step, walk_step=step)
    children = LAWS[law](parents(), rng(), settings).latents
    assert children.mean() == pytest.approx(0.0, abs=0.01)
    assert (children**2).mean() == pytest.approx(1.0, abs=0.02)
    # Nothing that the mean and variance hide: no coordinate is preferred, no tail is longer.
    assert np.abs(children.std(axis=0) - 1).max() < 0.06
    assert (children**4).mean() == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("gap", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("coefficient", [0.5, 1.0, 3.0])
def test_dynamic_goes_as_far_as_student_and_teacher_agree(gap: float, coefficient: float) -> None:
    given_to = parents(gap)
    found = dynamic(given_to, rng(), replace(SETTINGS, coefficient=coefficient))
    cosine = 1 - gap
    np.testing.assert_allclose(found.step, coefficient * (cosine + 1) / 2)
    wanted = 1 / np.sqrt(1 + found.step[0] ** 2)
    assert correlation(found.latents, given_to.latents) == pytest.approx(wanted, abs=0.01)


def test_dynamic_stays_where_they_are_opposite() -> None:
    given_to = parents(2.0)
    assert np.array_equal(dynamic(given_to, rng(), SETTINGS).latents, given_to.latents)


def test_hard_near_takes_the_same_step_for_all() -> None:
    given_to = parents()
    found = hard_near(given_to, rng(), replace(SETTINGS, near_step=0.3))
    assert set(found.step) == {0.3}
    wanted = 1 / np.sqrt(1 + 0.3**2)
    assert correlation(found.latents, given_to.latents) == pytest.approx(wanted, abs=0.005)


@pytest.mark.parametrize("gaussian", [True, False])
@pytest.mark.parametrize("law", ["dynamic", "hard-near"])
def test_jitter_equals_its_slow_twin(law: str, gaussian: bool) -> None:
    given_to = parents(count=30, gaussian=gaussian)
    found = LAWS[law](given_to, rng(7), SETTINGS)
    scale = None if gaussian else given_to.scale
    wanted = references.jitter(given_to.latents, found.step, scale, rng(7))
    np.testing.assert_allclose(found.latents, wanted, atol=1e-12)


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 2.0])
def test_as_published_it_equals_its_slow_twin(coefficient: float) -> None:
    """The twin's jitter in w with a spread of 1: of latents of any scale."""
    given_to = parents(count=30, gaussian=False)
    cosine = np.linspace(-1.0, 1.0, 30)
    found = dynamic_as_published(given_to.latents, cosine, coefficient, rng(7))
    np.testing.assert_allclose(found.step, coefficient * (cosine + 1) / 2)
    wanted = references.jitter(given_to.latents, found.step, np.ones(WIDTH), rng(7))
    np.testing.assert_allclose(found.latents, wanted, atol=1e-12)


@pytest.mark.parametrize("law", ["dynamic", "hard-near", "boundary-walk"])
@pytest.mark.parametrize("gaussian", [True, False])
def test_no_step_is_the_parent(law: str, gaussian: bool) -> None:
    settings = replace(SETTINGS, coefficient=0.0, near_step=0.0, walk_step=0.0)
    given_to = parents(count=9, gaussian=gaussian)
    np.testing.assert_allclose(LAWS[law](given_to, rng(), settings).latents, given_to.latents)


@pytest.mark.parametrize("law", ["dynamic", "hard-near"])
def test_in_w_a_step_is_in_units_of_the_pools_spread(law: str) -> None:
    given_to = parents(gaussian=False)
    found = LAWS[law](given_to, rng(), SETTINGS)
    moved = (found.latents - given_to.latents).std(axis=0)
    np.testing.assert_allclose(moved, found.step[0] * given_to.scale, rtol=0.06)


class TestBoundaryWalk:
    def test_goes_along_the_normal_to_either_side(self) -> None:
        given_to = parents()
        found = boundary_walk(given_to, rng(), SETTINGS)
        assert np.abs(found.step).max() <= SETTINGS.walk_step
        assert (found.step > 0).mean() == pytest.approx(0.5, abs=0.04)
        along = ((found.latents - given_to.latents) * given_to.normals).sum(axis=1)
        assert np.array_equal(along > 0, found.step > 0)

    def test_keeps_the_norm_and_the_plane(self) -> None:
        given_to = parents(count=50)
        found = boundary_walk(given_to, rng(), SETTINGS)
        norms = [np.linalg.norm(rows, axis=1) for rows in (found.latents, given_to.latents)]
        np.testing.assert_allclose(*norms)
        for child, parent, normal in zip(
            found.latents, given_to.latents, given_to.normals, strict=True
        ):
            basis = np.stack([parent, normal], axis=1)
            rest = child - basis @ np.linalg.lstsq(basis, child, rcond=None)[0]
            assert np.linalg.norm(rest) < 1e-9

    def test_in_w_is_a_straight_line_in_units_of_the_spread(self) -> None:
        given_to = parents(count=50, gaussian=False)
        found = boundary_walk(given_to, rng(), SETTINGS)
        moved = (found.latents - given_to.latents) / given_to.scale
        np.testing.assert_allclose(moved, found.step[:, None] * given_to.normals, atol=1e-9)


class TestInterpolate:
    def test_lies_on_the_great_circle_between_both(self) -> None:
        given_to = parents(count=50)
        found = interpolate(given_to, rng(), SETTINGS)
        assert 0.25 <= found.step.min() and found.step.max() <= 0.75
        for child, one, other, share in zip(
            found.latents, given_to.latents, given_to.mates, found.step, strict=True
        ):
            whole, part = references.angle(one, other), references.angle(one, child)
            assert part == pytest.approx(share * whole)
            assert part + references.angle(child, other) == pytest.approx(whole)
            norm = (1 - share) * np.linalg.norm(one) + share * np.linalg.norm(other)
            assert np.linalg.norm(child) == pytest.approx(norm)

    def test_in_w_lies_on_the_straight_line(self) -> None:
        given_to = parents(count=50, gaussian=False)
        found = interpolate(given_to, rng(), SETTINGS)
        share = found.step[:, None]
        wanted = given_to.latents + share * (given_to.mates - given_to.latents)
        np.testing.assert_allclose(found.latents, wanted, atol=1e-9)

    @given(st.integers(0, 99), st.sampled_from([0.0, 1e-12, 1e-8, 1e-5]))
    def test_between_a_face_and_itself_is_that_face(self, seed: int, apart: float) -> None:
        alone = parents(count=5, seed=seed)
        alone = replace(alone, mates=alone.latents * (1 + apart))
        found = interpolate(alone, rng(), SETTINGS)
        np.testing.assert_allclose(found.latents, alone.latents, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("law", LAWS)
def test_a_seed_says_which_children(law: str) -> None:
    one, same, other = (LAWS[law](parents(count=9), rng(s), SETTINGS) for s in (1, 1, 2))
    assert np.array_equal(one.latents, same.latents)
    assert not np.array_equal(one.latents, other.latents)
