"""Pictures as PNG files, and back: every pixel is kept.

Their bytes follow from the pixels and the versions of Pillow and zlib alone.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL
from jaxtyping import UInt8
from PIL import Image, features

from manifests.core.errors import InputError
from manifests.photographs.images import BROKEN

# zlib's: as small as 6, the default, to 0.4 %, and written in half the time (docs/log/formats.md).
LEVEL = 4
ENCODER = f"Pillow {PIL.__version__}, zlib {features.version('zlib')}, level {LEVEL}"
PNG = b"\x89PNG\r\n\x1a\n"


def encode(images: UInt8[np.ndarray, "face size size 3"]) -> list[bytes]:
    """Threads share the work: zlib lets them."""
    with ThreadPoolExecutor() as threads:
        return list(threads.map(_encode, images))


def _encode(image: UInt8[np.ndarray, "size size 3"]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=LEVEL)
    return file.getvalue()


def decode(pictures: Sequence[bytes], size: int) -> UInt8[np.ndarray, "face size size 3"]:
    """What `encode` wrote. Raises InputError for anything else, before its pixels are there."""
    images = np.empty((len(pictures), size, size, 3), np.uint8)
    for image, data in zip(images, pictures, strict=True):
        try:
            with Image.open(io.BytesIO(data), formats=["PNG"]) as opened:
                if (opened.mode, opened.size) != ("RGB", (size, size)):
                    raise ValueError(f"{opened.mode} {opened.size}")
                image[:] = np.asarray(opened)
        except BROKEN as error:
            raise InputError(f"not a PNG file of {size} × {size} pixels ({error})") from None
    return images
