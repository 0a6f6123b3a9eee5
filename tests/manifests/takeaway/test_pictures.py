"""Every pixel comes back; whatever is no such picture is refused."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from manifests.core.errors import InputError
from manifests.takeaway.pictures import decode, encode

PICTURES = st.tuples(st.integers(0, 3), st.integers(1, 9)).flatmap(
    lambda form: arrays(np.uint8, (form[0], form[1], form[1], 3))
)


@given(PICTURES)
def test_pictures_come_back_here_and_elsewhere(images: np.ndarray) -> None:
    files = encode(images)
    np.testing.assert_array_equal(decode(files, images.shape[1]), images)
    assert encode(images) == files
    for file, image in zip(files, images, strict=True):
        found = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
        assert found is not None
        np.testing.assert_array_equal(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), image)


def picture(mode: str, side: int, kind: str) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        picture("RGB", 9, "PNG"),
        picture("RGB", 20_000, "PNG")[:200],  # of a gigabyte, if it were decoded
        picture("RGBA", 8, "PNG"),
        picture("L", 8, "PNG"),
        picture("RGB", 8, "BMP"),
        picture("RGB", 8, "PNG")[:-30],
    ],
)
def test_anything_else_is_refused_in_one_line(file: bytes) -> None:
    with pytest.raises(InputError, match="not a PNG file of 8 × 8 pixels") as caught:
        decode([file], 8)
    assert "\n" not in str(caught.value)
