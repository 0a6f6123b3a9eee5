"""Colours against the published formulas and known values."""

from __future__ import annotations

import numpy as np
import pytest

from eval.attributes.colour import lab, lightness, typology_angle
from tests import references


def test_lab_is_that_of_the_formulas() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 20, 3)).astype(np.uint8)
    expected = [[references.lab(*map(int, pixel)) for pixel in row] for row in pixels]
    np.testing.assert_allclose(lab(pixels), expected, atol=1e-9)
    np.testing.assert_allclose(lightness(pixels), np.array(expected)[..., 0], atol=1e-3)


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((119, 119, 119), (50.03, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_known_colours(rgb: tuple[int, int, int], expected: tuple[float, ...]) -> None:
    found = lab(np.array([rgb], np.uint8))[0]
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_typology_angle_by_hand() -> None:
    colours = np.array([[60.0, 8.0, 10.0], [50.0, 8.0, 10.0], [30.0, 8.0, 20.0]])
    np.testing.assert_allclose(typology_angle(colours), [45.0, 0.0, -45.0])


@pytest.mark.parametrize("colour", [(60.0, 0.1, 0.2), (60.0, 5.0, -1.0), (60.0, 5.0, 0.0)])
def test_greys_and_blues_have_no_typology_angle(colour: tuple[float, ...]) -> None:
    assert np.isnan(typology_angle(np.array([colour])))[0]


def test_every_grey_is_without_an_angle() -> None:
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    assert np.isnan(typology_angle(lab(greys))).all()
