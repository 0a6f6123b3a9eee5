"""Images of strangers: where their bytes come from, and decoding within bounds."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import final

import numpy as np
import PIL
from jaxtyping import UInt8
from PIL import Image, ImageOps
from tqdm import tqdm

from manifests.core.errors import InputError

ENDINGS = {".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".bmp", ".webp", ".tif", ".tiff", ".gif"}
DECODER = f"Pillow {PIL.__version__}"  # decoders differ in low bits: recorded, not hashed
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "WEBP", "TIFF", "GIF")  # none that starts a program
MOST_BYTES = 64 << 20
MOST_PIXELS = 64_000_000
LEAST_SIDE = 16  # pixels
DETECT_THRESHOLD = 0.0  # dlib's own: photographs have backgrounds that a lower one finds faces in
# What Pillow's decoders raise over broken files, by their tests and its issues.
BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError,
    struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


class ImageSource(ABC):
    """Encoded images by name."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of an image; raises InputError for one that is missing or too large."""

    @abstractmethod
    def where(self, name: str) -> str:
        """What to call an image in a message."""


@final
class ImageFolder(ImageSource):
    """Files below one folder; no name, and no link, leads out of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.resolved = root.resolve()

    def read(self, name: str) -> bytes:
        path = self.root / name
        try:
            return self._read(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        except RuntimeError:  # of pathlib
            raise InputError(f"{path}: a link that leads to itself; remove it") from None

    def _read(self, path: Path) -> bytes:
        if not path.resolve().is_relative_to(self.resolved):
            raise InputError(f"{path}: lies outside {self.root}; bring the image itself in there")
        if not path.is_file():
            raise InputError(f"{path}: missing image")
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path}: {size} bytes, an image may have {MOST_BYTES}")
        return path.read_bytes()

    def where(self, name: str) -> str:
        return str(self.root / name)


@final
class ImageList(ImageSource):
    """Images that came in one file."""

    def __init__(self, path: Path, buffers: Mapping[str, bytes]) -> None:
        self.path = path
        self.buffers = buffers

    def read(self, name: str) -> bytes:
        return self.buffers[name]

    def where(self, name: str) -> str:
        return f"{self.path}: image {name}"


@contextmanager
def _opened(data: bytes, where: str) -> Iterator[Image.Image]:
    """An image whose header is within bounds; what goes wrong in the block is the file's fault."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about tags that nobody asks for
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                _check_size(opened.size, where)
                _check_depth(opened.mode, where)
                yield opened
    except BROKEN as error:
        text = str(error).split(" <_io")[0]  # without the address of the buffer
        raise InputError(f"{where}: not a readable image ({text})") from None


def _check_size(size: tuple[int, int], where: str) -> None:
    width, height = size
    if width * height > MOST_PIXELS:
        raise InputError(f"{where}: {width}x{height} pixels, at most {MOST_PIXELS} are decoded")
    if min(size) < LEAST_SIDE:
        raise InputError(f"{where}: {width}x{height} pixels, at least {LEAST_SIDE} a side needed")


def _check_depth(mode: str, where: str) -> None:
    """Pillow clips such values at 255 instead of scaling them, and nobody says what is white."""
    if mode[0] in "IF":
        raise InputError(
            f"{where}: pixels of more than 8 bits ({mode}); bring it with 8 bits a channel"
        )


def decode(data: bytes, where: str) -> UInt8[np.ndarray, "height width 3"]:
    """RGB, upright. Raises InputError for what is no image, or one beyond the bounds."""
    with _opened(data, where) as opened:
        return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))


def read_photograph(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """The photograph in a file, as `decode` gives it."""
    return decode(ImageFolder(path.parent).read(path.name), str(path))


def check_readable(data: bytes, where: str, *, square: bool = False) -> tuple[int, int]:
    """Width and height. Raises InputError for what `decode` would not read; a JPEG costs a
    fraction of decoding."""
    with _opened(data, where) as opened:
        width, height = opened.size
        opened.draft("L", (1, 1))  # all of the coded bytes, an eighth of the pixels
        opened.load()
    if square and width != height:
        raise InputError(f"{where}: {width}x{height} pixels; an aligned crop is square")
    return width, height


def image_hashes(
    source: ImageSource, names: Iterable[str], *, square: bool = False
) -> dict[str, str]:
    """sha256 of every image, all of which can be decoded.

    Raises InputError naming the first that cannot be, before anything long is done with any.
    """
    hashes = {}
    wanted = sorted(set(names))
    with tqdm(wanted, desc="check images", unit="image", leave=False, delay=2) as bar:
        for name in bar:
            data = source.read(name)
            check_readable(data, source.where(name), square=square)
            hashes[name] = sha256(data).hexdigest()
    return hashes
