"""Strangers' images: bounds come before decoding, and no name leads out of the folder."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from manifests.core.errors import InputError
from manifests.photographs import images
from manifests.photographs.images import (
    AT_ONCE,
    FORMATS,
    ImageFolder,
    at_once,
    check_readable,
    decode,
    image_hashes,
    read_photograph,
)
from tests.protocols import encoded_bomb, jpeg, picture


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


pillow_heif.register_heif_opener(thumbnails=False)  # to write HEIF


@pytest.mark.parametrize("kind", FORMATS)
def test_the_usual_kinds_are_read(kind: str) -> None:
    data = encoded(picture((200, 30, 90)), kind)
    check_readable(data, "x")
    found = decode(data, "x")
    assert found.shape == (32, 32, 3)
    assert np.abs(found.mean((0, 1)) - (200, 30, 90)).max() < 3


def test_a_photograph_taken_sideways_is_upright() -> None:
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[274] = 6  # turn by 90 degrees
    assert decode(encoded(image, "JPEG", exif=exif), "x").shape == (40, 20, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x: not a readable image"),
        (b"not an image", "x: not a readable image"),
        (jpeg((1, 2, 3))[:-100], "x: not a readable image .*[Tt]runcated"),
        (encoded(picture((1, 2, 3), 64), "PNG")[:-30], "x: not a readable image"),
        (encoded_bomb(9_000, 9_000), "x: 9000x9000 pixels, at most 64000000 are decoded"),
        (encoded_bomb(60_000, 60_000), "x: not a readable image .*pixels"),
        (encoded(picture((1, 2, 3), 15), "PNG"), "x: 15x15 pixels, at least 16 a side"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "x: not a readable image"),
    ],
    ids=lambda value: repr(value)[:24],
)
@pytest.mark.parametrize("read", [decode, check_readable])
def test_what_cannot_be_read_is_named(read: object, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(data, "x")  # type: ignore[operator]


@given(st.sampled_from([*FORMATS]), st.data())
def test_damage_is_read_or_refused_in_words(kind: str, data: st.DataObject) -> None:
    whole = bytearray(encoded(picture((9, 99, 199)), kind))
    for _ in range(3):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode(bytes(whole), "x").shape[2] == 3
    except InputError as error:
        assert str(error).startswith("x: ")


def test_no_name_and_no_link_leads_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture((1, 2, 3)).save(tmp_path / "secret.png")
    picture((1, 2, 3)).save(tmp_path / "in/own.png")
    (tmp_path / "in/link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "in/near.png").symlink_to("own.png")
    source = ImageFolder(tmp_path / "in")
    assert source.read("near.png") == source.read("own.png")
    for name in ("../secret.png", "link.png", str(tmp_path / "secret.png")):
        with pytest.raises(InputError, match="lies outside"):
            source.read(name)
    with pytest.raises(InputError, match=r"gone\.png: missing image"):
        source.read("gone.png")


def test_a_link_that_leads_to_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").symlink_to("x.png")
    with pytest.raises(InputError, match=r"x\.png: a link that leads to itself; remove it"):
        ImageFolder(tmp_path).read("x.png")


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    picture((1, 2, 3)).save(tmp_path / "a.png")
    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(InputError, match=r"a\.png: cannot be read \(Permission denied\)"):
        ImageFolder(tmp_path).read("a.png")


@pytest.mark.parametrize(
    ("kind", "dtype"), [("PNG", np.uint16), ("TIFF", np.int32), ("TIFF", np.float32)]
)
@pytest.mark.parametrize("read", [decode, check_readable])
def test_pixels_that_would_be_white_or_black_are_refused(
    read: Callable[..., object], kind: str, dtype: type
) -> None:
    image = Image.fromarray(np.full((32, 32), 200 if dtype is np.float32 else 20_000, dtype))
    with pytest.raises(InputError, match=r"x: pixels of more than 8 bits \([IF].*with 8 bits a"):
        read(encoded(image, kind), "x")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_grey_and_transparent_pictures_of_8_bits_are_read(mode: str) -> None:
    assert decode(encoded(picture((9, 99, 199)).convert(mode), "PNG"), "x").shape == (32, 32, 3)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, 32, *shape), dtype=np.uint8)


def hidden(mode: str) -> Image.Image:
    """Noise, the right half of which is transparent."""
    alpha = np.full((32, 32), 255, np.uint8)
    alpha[:, 16:] = 0
    image = Image.fromarray(noise() if mode == "LA" else noise(3))
    image.putalpha(Image.fromarray(alpha))
    return image


def keyed(mode: str) -> Image.Image:
    """A picture whose right half is of the one colour that stands for nothing."""
    pixels = noise()
    pixels[:, :16] |= 1
    pixels[:, 16:] = 0
    image = Image.fromarray(pixels)
    if mode == "RGB":
        image = Image.merge("RGB", [image] * 3)
    elif mode == "P":
        image = Image.fromarray(pixels, "L").convert("P")
    return image


@pytest.mark.parametrize(
    ("image", "kind", "options"),
    [
        (hidden("RGBA"), "PNG", {}),
        (hidden("RGBA"), "TIFF", {}),
        (hidden("RGBA"), "WEBP", {"lossless": True, "exact": True}),
        (hidden("RGBA"), "AVIF", {"quality": 100}),
        (hidden("RGBA"), "HEIF", {"quality": 100}),
        (hidden("RGBA"), "JPEG2000", {}),
        (hidden("LA"), "PNG", {}),
        (keyed("L"), "PNG", {"transparency": 0}),
        (keyed("RGB"), "PNG", {"transparency": (0, 0, 0)}),
        (keyed("P"), "PNG", {"transparency": 0}),
        (keyed("P"), "PNG", {"transparency": b"\0"}),
        (keyed("P"), "GIF", {"transparency": 0}),
    ],
    ids=lambda value: getattr(value, "mode", str(value)[:20]),
)
def test_what_is_transparent_is_white_whatever_it_hides(
    image: Image.Image, kind: str, options: dict[str, Any]
) -> None:
    found = decode(encoded(image, kind, **options), "x").astype(int)
    assert found[:, 16:].min() >= (255 if kind not in ("AVIF", "HEIF") else 250)
    if kind not in ("AVIF", "HEIF"):
        assert np.array_equal(found[:, :16], np.asarray(image.convert("RGB"))[:, :16])


def test_what_is_half_transparent_is_mixed_with_white() -> None:
    image = Image.new("RGBA", (32, 32), (200, 100, 0, 51))  # a fifth
    assert decode(encoded(image, "PNG"), "x")[0, 0].tolist() == [244, 224, 204]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_opaque_pictures_keep_their_bytes(mode: str) -> None:
    data = encoded(Image.fromarray(noise(3)).convert(mode), "TIFF" if mode == "CMYK" else "PNG")
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    assert np.array_equal(decode(data, "x"), expected)


def test_pictures_of_phones_are_read() -> None:
    """HEIC of ten bits and more, several in one file, and JPEG with a second picture behind it."""
    deep = np.full((32, 32, 3), 40_000, np.uint16)
    file = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (32, 32), deep.tobytes()).save(file)
    assert np.abs(decode(file.getvalue(), "x").astype(int) - 40_000 // 256).max() <= 1
    first, second = picture((200, 30, 90)), picture((1, 2, 3))
    for kind in ("HEIF", "MPO"):
        data = encoded(first, kind, save_all=True, append_images=[second])
        assert np.abs(decode(data, "x").mean((0, 1)) - (200, 30, 90)).max() < 3


def test_a_picture_of_a_phone_without_its_decoder_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(images, "_has_heif", lambda: False)
    for read in (decode, check_readable):
        with pytest.raises(InputError, match=r"x: a HEIC picture, .*: pip install pillow-heif"):
            read(encoded(picture((1, 2, 3)), "HEIF"), "x")
        read(encoded(picture((1, 2, 3)), "AVIF"), "x")


def test_all_that_cannot_be_read_is_named_at_once(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number:02}.jpg").write_bytes(jpeg((number, 2, 3)))
    for number in range(3, 28):
        (tmp_path / f"{number:02}.jpg").write_bytes(b"no image")
    (tmp_path / "04.jpg").unlink()
    with pytest.raises(InputError) as caught:
        image_hashes(ImageFolder(tmp_path), [f"{number:02}.jpg" for number in range(30)])
    first, *named, rest = str(caught.value).splitlines()
    assert (first, rest) == ("images: 25 faults", "... and 5 more")
    assert "03.jpg: not a readable image" in named[0] and "04.jpg: missing image" in named[1]


def test_a_folder_that_is_itself_a_link_is_fine(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    picture((1, 2, 3)).save(tmp_path / "real/a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert list(image_hashes(ImageFolder(tmp_path / "link"), ["a.png"])) == ["a.png"]


def test_a_large_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(bytes(100))
    monkeypatch.setattr(images, "MOST_BYTES", 99)
    with pytest.raises(InputError, match=r"a\.png: 100 bytes, an image may have 99"):
        read_photograph(tmp_path / "a.png")


def test_photographs_are_held_a_few_at_a_time_and_large_ones_fewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sides = [20] * 18 + [40, 40, 60, 20]
    made: list[int] = []

    def pictures() -> Iterator[np.ndarray]:
        for side in sides:
            made.append(side)
            yield np.zeros((side, side, 3), np.uint8)

    monkeypatch.setattr(images, "MOST_PIXELS", 16 * 20 * 20)
    groups = at_once(pictures())
    first = next(groups)
    assert len(first) == AT_ONCE and len(made) == AT_ONCE + 1
    # Two of 20 and two of 40 have 4,000 pixels, and one of 60 alone more than are held with others.
    assert [[len(each) for each in group] for group in groups] == [[20, 20, 40, 40], [60, 20]]
