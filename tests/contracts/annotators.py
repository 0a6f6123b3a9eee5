"""What every annotator must keep."""

from __future__ import annotations

import json

import numpy as np
import pytest

from eval.annotators.base import AlignedFaces, Annotator
from manifests.core.digests import canonical_json
from pipeline.arrays.landmarks import SCHEMES
from tests.contracts.backends import ROWS


class AnnotatorContract:
    """Needs the fixture `annotator`."""

    @pytest.fixture(params=sorted(SCHEMES))
    def faces(self, annotator: Annotator, request: pytest.FixtureRequest) -> AlignedFaces:
        """Random pictures: some have their landmarks, some those of their source too."""
        scheme = SCHEMES[request.param]
        rng = np.random.default_rng(0)
        size = annotator.frame.size
        images = rng.integers(0, 256, (ROWS, size, size, 3), dtype=np.uint8)
        landmarks = scheme.inside(annotator.frame) + rng.normal(0, size / 50, (ROWS, 5, 2))
        source = 2 * landmarks + 7
        landmarks[:10], source[:20] = np.nan, np.nan
        return AlignedFaces(images, landmarks, source, scheme)

    @pytest.fixture
    def values(self, annotator: Annotator, faces: AlignedFaces) -> np.ndarray:
        return annotator.annotate(faces)

    def test_values_are_a_float32_column_an_attribute(
        self, annotator: Annotator, values: np.ndarray
    ) -> None:
        assert values.dtype == np.float32
        assert values.shape == (ROWS, len(annotator.attributes))

    def test_values_lie_in_the_declared_range(
        self, annotator: Annotator, values: np.ndarray
    ) -> None:
        low, high = np.array([(own.low, own.high) for own in annotator.attributes]).T
        assert (np.isnan(values) | ((values >= low) & (values <= high))).all()

    def test_every_attribute_is_defined_on_a_face_whose_source_is_known(
        self, values: np.ndarray
    ) -> None:
        assert not np.isnan(values[20:]).all(axis=0).any()

    def test_different_faces_have_different_values(self, values: np.ndarray) -> None:
        assert len(np.unique(values[20:], axis=0)) == ROWS - 20

    def test_company_of_a_face_changes_no_bit(
        self, annotator: Annotator, faces: AlignedFaces, values: np.ndarray
    ) -> None:
        some = np.array([31, 3, 17])
        alone = annotator.annotate(faces.rows(some))
        np.testing.assert_array_equal(alone, values[some])

    def test_no_faces_have_no_values(
        self, annotator: Annotator, faces: AlignedFaces, values: np.ndarray
    ) -> None:
        none = annotator.annotate(faces.rows(slice(0)))
        assert none.shape == (0, values.shape[1])

    def test_names_units_and_bins_are_declared(self, annotator: Annotator) -> None:
        names = [own.name for own in annotator.attributes]
        assert len(set(names)) == len(names)
        for own in annotator.attributes:
            assert own.unit and own.meaning
            assert len(own.edges) > 2

    def test_identity_survives_json(self, annotator: Annotator) -> None:
        identity = annotator.identity()
        assert json.loads(canonical_json(identity)) == identity
        assert (identity["name"], identity["version"]) == (annotator.name, annotator.version)
