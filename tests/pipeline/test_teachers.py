from __future__ import annotations

from pathlib import Path

import pytest

from manifests.errors import InputError
from pipeline.teachers import load_teacher
from pipeline.teachers.base import Teacher
from tests.contracts import FileContract, TeacherContract


class TestDlibResnet(TeacherContract, FileContract):
    @pytest.fixture(scope="class")
    @classmethod
    def teacher(cls, dlib_resnet: Teacher) -> Teacher:
        return dlib_resnet

    @pytest.fixture
    def backend(self, dlib_resnet: Teacher) -> Teacher:
        return dlib_resnet


def test_unknown_teacher_is_answered_with_the_valid_ones(weights: Path) -> None:
    with pytest.raises(InputError, match=r"unknown teacher 'arcface'; valid names: .*dlib-resnet"):
        load_teacher("arcface", weights)
