"""Every aligner of the project, with its real weights, keeps what aligners promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.aligners import load_aligner
from pipeline.aligners.base import Aligner
from tests.contracts import AlignerContract, FileContract


class Contract(AlignerContract, FileContract):
    NAME: str

    @pytest.fixture
    def aligner(self, weights: Path) -> Aligner:
        return load_aligner(self.NAME, weights)

    @pytest.fixture
    def backend(self, aligner: Aligner) -> Aligner:
        return aligner


class TestYunetOnet(Contract):
    NAME = "yunet-onet"


class TestYunet(Contract):
    NAME = "yunet"


class TestDlib(Contract):
    NAME = "dlib"
    THRESHOLD = 0.0  # of its own scores
