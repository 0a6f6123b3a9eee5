"""What every teacher must keep."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import Tensor

from manifests.core import layout
from manifests.core.digests import canonical_json
from pipeline.arrays.frames import WIDE
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.building.embeddings import embed_faces
from pipeline.teachers.base import VIEWS, Teacher
from tests.contracts.backends import ROWS, SHA256


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
