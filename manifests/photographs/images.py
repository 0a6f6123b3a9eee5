"""Images of strangers: where their bytes come from, and decoding within bounds."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import final

import numpy as np
import PIL
from jaxtyping import UInt8
from PIL import Image, ImageOps

from manifests.core.errors import Faults, InputError
from manifests.core.progress import Bar
from manifests.photographs.names import Spellings

FORMATS = {  # none that starts a program, and how files of them end
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "PPM": (".pgm", ".ppm", ".pnm"),  # not .pbm and .pfm: masks and depths, no photographs
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
    "HEIF": (".heic", ".heics", ".heif", ".heifs", ".hif"),  # of pillow-heif
}
ENDINGS = {ending for endings in FORMATS.values() for ending in endings}
DECODER = f"Pillow {PIL.__version__}"  # decoders differ in low bits: recorded, not hashed
MOST_BYTES = 64 << 20
MOST_PIXELS = 64_000_000
LEAST_SIDE = 16  # pixels; of sources that do not say another
AT_ONCE = 16  # decoded photographs that are held while faces are looked for; fewer large ones
# What Pillow's decoders raise over broken files, by their tests and its issues.
BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, RuntimeError,
    struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
GROUND = "white"  # what transparent pictures are laid on: pages are white, and viewers mostly
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")


class ImageSource(ABC):
    """Encoded images by name."""

    least_side = LEAST_SIDE  # of an image, pixels

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The bytes of an image; raises InputError for one that is missing or too large."""

    @abstractmethod
    def where(self, name: str) -> str:
        """What to call an image in a message."""

    def picture(self, name: str) -> UInt8[np.ndarray, "height width 3"]:
        """An image as `decode` gives it; raises InputError as that and `read` do."""
        return decode(self.read(name), self.where(name), self.least_side)


@final
class ImageFolder(ImageSource):
    """Files below one folder; no name, and no link, leads out of it."""

    def __init__(self, root: Path, *, least_side: int = LEAST_SIDE) -> None:
        self.root, self.least_side = root, least_side
        self.resolved = root.resolve()

    def read(self, name: str) -> bytes:
        path = self.find(name)
        try:
            size = path.stat().st_size
            if size > MOST_BYTES:
                raise InputError(f"{path}: {size} bytes, an image may have {MOST_BYTES}")
            return path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None

    def find(self, name: str) -> Path:
        """The file of an image: of exactly this name, or else of the only one that is spelled
        otherwise (see `Spellings`).

        Raises InputError for a name that leads out of the folder, and for one that is not there.
        """
        path = self.root / name
        try:
            inside = path.resolve().is_relative_to(self.resolved)
            if inside and path.is_file():
                return path
        except (OSError, ValueError) as error:  # too long; of a byte that names cannot have
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{self.root}: image {_shown(name)}: {reason}") from None
        except RuntimeError:  # of pathlib
            raise InputError(f"{path}: a link that leads to itself; remove it") from None
        if not inside:
            raise InputError(f"{path}: lies outside {self.root}; bring the image itself in there")
        there = self._spellings.find(name)
        if there is None or there == name:
            hint = self._spellings.hint(name) if there is None else ""
            raise InputError(f"{path}: missing image{hint}")
        return self.find(there)

    @cached_property
    def _spellings(self) -> Spellings:
        """Of every file below the folder; asked for only where a name is not there."""
        walked = os.walk(self.root)
        paths = (Path(folder, name) for folder, _, files in walked for name in files)
        return Spellings(path.relative_to(self.root).as_posix() for path in paths)

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


def _shown(name: str) -> str:
    return ascii(name) if len(name) <= 80 else f"{name[:60]!a}… ({len(name)} characters)"


@cache
def _has_heif() -> bool:
    """Makes pillow-heif known to Pillow, where it is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False)
    return True


def _formats(data: bytes, where: str) -> list[str]:
    """What an image may be. Raises InputError for HEIC that nothing here decodes."""
    formats = [name for name in FORMATS if name != "HEIF"]
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[at : at + 4] for at in range(8, size, 4)] if data[4:8] == b"ftyp" else []
    if any(brand in HEIF_BRANDS for brand in brands) and not any(b in AVIF_BRANDS for b in brands):
        if not _has_heif():
            raise InputError(
                f"{where}: a HEIC picture, which pillow-heif decodes: pip install pillow-heif, or "
                "bring it as JPEG"
            )
        return ["HEIF"]
    return formats


@contextmanager
def _opened(data: bytes, where: str, least_side: int) -> Iterator[Image.Image]:
    """An image whose header is within bounds; what goes wrong in the block is the file's fault."""
    formats = _formats(data, where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about tags that nobody asks for
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=formats) as opened:
                _check_size(opened.size, where, least_side)
                _check_depth(opened.mode, where)
                yield opened
    except BROKEN as error:
        text = str(error).split(" <_io")[0]  # without the address of the buffer
        raise InputError(f"{where}: not a readable image ({text})") from None


def _check_size(size: tuple[int, int], where: str, least_side: int) -> None:
    width, height = size
    if width * height > MOST_PIXELS:
        raise InputError(f"{where}: {width}x{height} pixels, at most {MOST_PIXELS} are decoded")
    if min(size) < least_side:
        raise InputError(f"{where}: {width}x{height} pixels, at least {least_side} a side needed")


def _check_depth(mode: str, where: str) -> None:
    """Pillow clips such values at 255 instead of scaling them, and nobody says what is white."""
    if mode[0] in "IF":
        raise InputError(
            f"{where}: pixels of more than 8 bits ({mode}); bring it with 8 bits a channel"
        )


def decode(
    data: bytes, where: str, least_side: int = LEAST_SIDE
) -> UInt8[np.ndarray, "height width 3"]:
    """RGB, upright; a transparent picture is laid on white, so that what is hidden stays so.
    Raises InputError for what is no image, or one beyond the bounds."""
    with _opened(data, where, least_side) as opened:
        upright = ImageOps.exif_transpose(opened)
        return np.asarray(_on_ground(upright).convert("RGB"))


def _on_ground(image: Image.Image) -> Image.Image:
    """Also of palettes, and of one colour that stands for nothing (PNG's tRNS, GIF)."""
    if not image.has_transparency_data:
        return image
    ground = Image.new("RGBA", image.size, GROUND)
    ground.alpha_composite(image.convert("RGBA"))
    return ground


def at_once(
    pictures: Iterable[UInt8[np.ndarray, "_ _ 3"]],
) -> Iterator[list[UInt8[np.ndarray, "_ _ 3"]]]:
    """Decoded photographs in groups of AT_ONCE, or of fewer that have MOST_PIXELS together."""
    group: list[UInt8[np.ndarray, "_ _ 3"]] = []
    for picture in pictures:
        pixels = sum(own.size for own in (*group, picture)) // 3
        if group and (len(group) == AT_ONCE or pixels > MOST_PIXELS):
            yield group
            group = []
        group.append(picture)
    if group:
        yield group


def read_photograph(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """The photograph in a file, as `decode` gives it."""
    return decode(ImageFolder(path.parent).read(path.name), str(path))


def check_readable(
    data: bytes, where: str, *, square: bool = False, least_side: int = LEAST_SIDE
) -> tuple[int, int]:
    """Width and height. Raises InputError for what `decode` would not read; a JPEG costs a
    fraction of decoding."""
    with _opened(data, where, least_side) as opened:
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

    Raises InputError naming those that cannot be, before anything long is done with any.
    """
    faults = Faults("images")
    hashes = {}
    for name, digest, _ in checked_images(source, sorted(set(names)), faults, square=square):
        hashes[name] = digest
    faults.raise_any()
    return hashes


def checked_images(
    source: ImageSource, names: Sequence[str], faults: Faults, *, square: bool = False
) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """Name, sha256, width and height of every image that `decode` would read; of others, the
    fault is noted."""
    for name in Bar(names, desc="check images", unit="image", leave=False, delay=2):
        size = None
        with faults:
            data = source.read(name)
            size = check_readable(
                data, source.where(name), square=square, least_side=source.least_side
            )
        if size is not None:
            yield name, sha256(data).hexdigest(), size
