"""What every backend must keep. Inherit a suite and give it the fixture that it names."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from eval.annotators.base import AlignedFaces, Annotator
from manifests.core import layout
from manifests.core.digests import canonical_json
from manifests.core.errors import InputError
from manifests.stores.latents import SPACES
from pipeline.arrays.frames import WIDE
from pipeline.arrays.landmarks import SCHEMES
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.building.embeddings import embed_faces
from pipeline.generators.base import Generator
from pipeline.teachers.base import VIEWS, Teacher

ROWS = 40  # fewer than a batch, so that the tail is padded
SHA256 = re.compile("[0-9a-f]{64}")


class FileContract:
    """For backends that are looked up by name; needs the fixture `backend`."""

    def test_its_file_bears_its_name(self, backend: Any) -> None:
        file = sys.modules[type(backend).__module__].__name__.rpartition(".")[2]
        assert file == backend.name.replace("-", "_")


class GeneratorContract:
    """Needs the fixture `generator`."""

    @pytest.fixture
    def z(self, generator: Generator) -> Tensor:
        rng = np.random.default_rng(0)
        return torch.from_numpy(rng.standard_normal((ROWS, generator.prior_width), np.float32))

    @pytest.fixture
    def latents(self, generator: Generator, z: Tensor) -> Tensor:
        return in_fixed_batches(generator.map, z)

    @pytest.fixture
    def pictures(self, generator: Generator, latents: Tensor) -> Tensor:
        return in_fixed_batches(generator.render, latents)

    def test_the_prior_has_latents_of_the_stated_width(
        self, generator: Generator, latents: Tensor
    ) -> None:
        assert latents.dtype == torch.float32
        assert latents.shape == (ROWS, generator.latent_width)
        assert latents.isfinite().all()

    def test_company_of_a_draw_changes_no_bit(
        self, generator: Generator, z: Tensor, latents: Tensor
    ) -> None:
        assert torch.equal(in_fixed_batches(generator.map, z[7:10]), latents[7:10])

    def test_attributes_of_a_row_are_its_own(
        self, generator: Generator, z: Tensor, latents: Tensor
    ) -> None:
        found = generator.with_attributes(latents, z.flip(0))
        assert found.shape == latents.shape
        assert torch.equal(generator.with_attributes(latents, z), latents)

    def test_settling_where_it_is_changes_nothing(
        self, generator: Generator, latents: Tensor, pictures: Tensor
    ) -> None:
        psi = getattr(generator, "psi", 1.0)
        same = generator.in_space(generator.latent_space, psi)
        assert same.identity() == generator.identity()
        assert torch.equal(in_fixed_batches(same.render, latents), pictures)

    def test_an_unknown_space_is_refused(self, generator: Generator) -> None:
        with pytest.raises(InputError, match=generator.name):
            generator.in_space("x", 1.0)

    def test_pictures_are_square_float_rgb(self, pictures: Tensor) -> None:
        assert pictures.dtype == torch.float32
        assert pictures.shape == (ROWS, 3, pictures.shape[2], pictures.shape[2])

    def test_pixels_are_whole_numbers_up_to_255(self, pictures: Tensor) -> None:
        assert torch.equal(pictures, pictures.round().clamp(0, 255))
        assert pictures.max() > 1.0  # not a picture in 0..1

    def test_different_latents_give_different_pictures(self, pictures: Tensor) -> None:
        assert len(torch.unique(pictures, dim=0)) == ROWS

    def test_order_of_rows_changes_no_bit(
        self, generator: Generator, latents: Tensor, pictures: Tensor
    ) -> None:
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
        assert torch.equal(in_fixed_batches(generator.render, latents[order]), pictures[order])

    def test_company_of_a_row_changes_no_bit(
        self, generator: Generator, latents: Tensor, pictures: Tensor
    ) -> None:
        assert torch.equal(in_fixed_batches(generator.render, latents[7:10]), pictures[7:10])

    def test_no_latents_give_no_pictures(self, generator: Generator, pictures: Tensor) -> None:
        none = in_fixed_batches(generator.render, torch.empty(0, generator.latent_width))
        assert none.shape == (0, *pictures.shape[1:])

    def test_declared_frame_has_the_size_of_the_pictures(
        self, generator: Generator, pictures: Tensor
    ) -> None:
        assert generator.frame is None or generator.frame.size == pictures.shape[2]

    def test_identity_survives_json(self, generator: Generator) -> None:
        identity = generator.identity()
        assert json.loads(canonical_json(identity)) == identity
        assert identity["name"] == generator.name
        assert SHA256.fullmatch(identity["weights_sha256"])
        assert identity["latent_width"] == generator.latent_width
        assert identity["latent_space"] in SPACES
        assert (identity["frame"] is None) == (generator.frame is None)

    def test_licence_is_stated(self, generator: Generator) -> None:
        assert generator.licence.strip()


class TeacherContract:
    """Needs the fixture `teacher`; a class-scoped one spares the loading."""

    @pytest.fixture(scope="class")
    @classmethod
    def pictures(cls, teacher: Teacher) -> Tensor:
        rng = np.random.default_rng(0)
        shape = (ROWS, 3, teacher.frame.size, teacher.frame.size)
        return torch.from_numpy(rng.integers(0, 256, shape).astype(np.float32))

    @pytest.fixture(scope="class")
    @classmethod
    def embeddings(cls, teacher: Teacher, pictures: Tensor) -> Tensor:
        return in_fixed_batches(teacher.embed, pictures)

    def test_embeddings_are_finite_rows_of_the_stated_width(
        self, teacher: Teacher, embeddings: Tensor
    ) -> None:
        assert embeddings.dtype == torch.float32
        assert embeddings.shape == (ROWS, teacher.width)
        assert embeddings.isfinite().all()

    def test_different_pictures_give_different_embeddings(self, embeddings: Tensor) -> None:
        assert len(torch.unique(embeddings, dim=0)) == ROWS

    def test_order_of_rows_changes_no_bit(
        self, teacher: Teacher, pictures: Tensor, embeddings: Tensor
    ) -> None:
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
        assert torch.equal(in_fixed_batches(teacher.embed, pictures[order]), embeddings[order])

    def test_company_of_a_row_changes_no_bit(
        self, teacher: Teacher, pictures: Tensor, embeddings: Tensor
    ) -> None:
        assert torch.equal(in_fixed_batches(teacher.embed, pictures[7:10]), embeddings[7:10])

    def test_neighbours_of_a_row_change_no_bit(
        self, teacher: Teacher, pictures: Tensor, embeddings: Tensor
    ) -> None:
        others = torch.cat([255.0 - pictures[:5], pictures[5:6], torch.zeros_like(pictures[:3])])
        assert torch.equal(in_fixed_batches(teacher.embed, others)[5], embeddings[5])

    def test_no_pictures_have_no_embeddings(self, teacher: Teacher, pictures: Tensor) -> None:
        assert in_fixed_batches(teacher.embed, pictures[:0]).shape == (0, teacher.width)

    def test_pictures_are_left_as_they_were(self, teacher: Teacher, pictures: Tensor) -> None:
        before = pictures[:3].clone()
        in_fixed_batches(teacher.embed, pictures[:3])
        assert torch.equal(pictures[:3], before)

    def test_stored_views_are_the_picture_and_its_mirror_image(
        self, teacher: Teacher, pictures: Tensor, embeddings: Tensor
    ) -> None:
        images = pictures[:6].permute(0, 2, 3, 1).to(torch.uint8).numpy()
        views = torch.from_numpy(embed_faces(teacher, images, teacher.frame))
        mirrored = in_fixed_batches(teacher.embed, pictures[:6].flip(3))
        assert torch.equal(views[:, VIEWS.index("plain")], embeddings[:6])
        assert torch.equal(views[:, VIEWS.index("flip")], mirrored)
        assert not torch.equal(mirrored, embeddings[:6])

    def test_frame_lies_in_what_stores_keep(self, teacher: Teacher) -> None:
        assert WIDE.contains(teacher.frame)

    def test_metric_is_a_known_one(self, teacher: Teacher) -> None:
        assert teacher.metric in ("euclidean", "cosine")

    def test_name_can_be_that_of_a_store(self, teacher: Teacher) -> None:
        assert layout.teacher("pool", teacher.name).name == f"{teacher.name}.zarr"

    def test_identity_is_complete_and_survives_json(self, teacher: Teacher) -> None:
        identity = teacher.identity()
        assert json.loads(canonical_json(identity)) == identity
        assert identity == {
            "name": teacher.name,
            "weights_sha256": teacher.weights_sha256,
            "preprocessing": teacher.preprocessing,
            "frame": asdict(teacher.frame),
            "metric": teacher.metric,
            "views": list(VIEWS),
        }
        assert SHA256.fullmatch(identity["weights_sha256"]) and teacher.preprocessing.strip()

    def test_licence_is_stated(self, teacher: Teacher) -> None:
        assert teacher.licence.strip()


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
