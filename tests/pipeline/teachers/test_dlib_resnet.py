from __future__ import annotations

from pathlib import Path

import dlib
import numpy as np
import pytest
import torch

from manifests.core.errors import InputError
from pipeline.aligners.base import Aligner
from pipeline.arrays.align import crop_photograph
from pipeline.arrays.frames import DLIB150
from pipeline.teachers.base import Teacher
from pipeline.teachers.dlib_resnet import WEIGHTS, DatReader, load


@pytest.fixture(scope="module")
def chips(aligner: Aligner, photographs: list[np.ndarray]) -> torch.Tensor:
    pairs = zip(photographs, aligner.find(photographs), strict=True)
    return torch.stack([crop_photograph(picture, face, DLIB150) for picture, face in pairs])


def test_the_port_agrees_with_dlib(
    dlib_resnet: Teacher, weights: Path, chips: torch.Tensor
) -> None:
    original = dlib.face_recognition_model_v1(str(weights / WEIGHTS))
    pictures = chips.permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy()
    theirs = np.array([original.compute_face_descriptor(picture) for picture in pictures])
    with torch.inference_mode():
        ours = dlib_resnet.embed(chips).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, weights: Path, share: float) -> None:
    data = (weights / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=WEIGHTS):
        load(tmp_path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{WEIGHTS}: missing weight file"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"\x01\x05", 5), (b"\x02\x00\x01", 256), (b"\x81\x07", -7), (b"\x00", 0)],
    ids=str,
)
def test_dlibs_integers_are_read(data: bytes, value: int) -> None:
    reader = DatReader(data + b"rest")
    assert reader.integer() == value
    assert reader.at == len(data)
