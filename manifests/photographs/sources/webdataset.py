"""webdataset:PATH, a tar file or a folder of them: KEY.png beside KEY.cls or KEY.json.

Who is on an image: what KEY.cls says, or a field of KEY.json; else the folder in KEY, so that any
tar of a folder an identity will do. Read by the headers alone, as tarfile would, but what a header
claims is held to the file's end and to the bounds here before anything is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from manifests.core.errors import Faults, InputError
from manifests.core.files import parse_json
from manifests.photographs.images import ENDINGS
from manifests.photographs.sources.base import (
    Bytes,
    Fields,
    ImageRanges,
    Label,
    Named,
    label_of_text,
    open_files,
    parse_label,
    pick_identity,
)
from manifests.photographs.sources.folder import folder_of

BLOCK = 512
MOST_TEXT = 1 << 16  # bytes of a label, a name, or a header's further fields
FILE, FOLDER, LONG_NAME, LONG_LINK, NEXT, ALL = b"0", b"5", b"L", b"K", b"x", b"g"
OTHERS = {b"1": "a hard link", b"2": "a link", b"3": "a device", b"4": "a device", b"6": "a pipe",
          b"S": "a file with holes"}  # fmt: skip
LABELS = ("cls", "json")


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar: where its bytes lie in it."""

    name: str
    kind: bytes
    offset: int
    size: int


Sample = dict[str, Member]  # the members of one KEY, by their endings


def members(file: Bytes) -> Iterator[Member]:
    """All files of a tar, in its order, by its headers.

    Raises InputError for what is no tar, one that ends too soon, and names or fields that are
    larger than any of a file's.
    """
    offset, name = 0, None
    fields: dict[str, str] = {}
    while offset < file.size:
        header = file.at(offset, BLOCK)
        if not any(header):
            return
        member = _parse(file, header, offset + BLOCK)
        kind = member.kind
        if kind in (LONG_NAME, LONG_LINK, NEXT, ALL):
            text = _text(file, member)
            if kind == LONG_NAME:
                name = _decoded(text.rstrip(b"\0"))
            elif kind in (NEXT, ALL):
                fields |= _further(text, file, member) if kind == NEXT else {}
        else:
            size = int(fields.get("size", member.size))
            member = Member(fields.get("path", name or member.name), kind, member.offset, size)
            if any(key.startswith("GNU.sparse.") for key in fields):
                member = Member(member.name, b"S", member.offset, size)
            _require_inside(file, member)
            yield member
            name, fields = None, {}
        offset = member.offset + -(-member.size // BLOCK) * BLOCK


def _parse(file: Bytes, header: bytes, offset: int) -> Member:
    stored = _number(header[148:156])
    if stored != sum(header[:148]) + 8 * 32 + sum(header[156:]):
        raise InputError(
            f"{file.path}: no tar file, or a damaged one (the header at {offset - BLOCK}); one "
            "that is packed (tar.gz) is unpacked first"
        )
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].partition(b"\0")[0]):
        name = prefix + b"/" + name
    kind = header[156:157]
    kind = FILE if kind in (b"\0", b"7") else kind
    size = _number(header[124:136]) if kind not in (*OTHERS, FOLDER) or kind == b"S" else 0
    if size is None:
        raise InputError(f"{file.path}: the header at {offset - BLOCK} has no size; bring it whole")
    member = Member(_decoded(name), kind, offset, size)
    _require_inside(file, member)
    return member


def _require_inside(file: Bytes, member: Member) -> None:
    if not 0 <= member.size <= file.size - member.offset:
        raise InputError(
            f"{file.path}: {member.name[:80]} claims {member.size} bytes, which it does not have; "
            "bring it whole"
        )


def _number(digits: bytes) -> int | None:
    """As headers have them: in eights, or large ones as bytes behind a mark."""
    if digits[0] & 0x80:
        return int.from_bytes(digits, "big") - (0x80 << 8 * (len(digits) - 1))
    text = digits.partition(b"\0")[0].strip()
    return int(text or b"0", 8) if all(48 <= digit < 56 for digit in text) else None


def _text(file: Bytes, member: Member) -> bytes:
    if member.size > MOST_TEXT:
        raise InputError(
            f"{file.path}: {member.size} bytes for the name or label {member.name[:80]}; at most "
            f"{MOST_TEXT} are read"
        )
    return file.at(member.offset, member.size)


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")  # which no name may have, see `is_safe`


def _further(text: bytes, file: Bytes, member: Member) -> dict[str, str]:
    """The fields of a header in the pax format: `LENGTH KEY=VALUE` lines."""
    fields, at = {}, 0
    while at < len(text) and text[at]:
        digits = text[at : at + 8].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        line = text[at + len(digits) + 1 : at + length]
        key, found, value = line[:-1].partition(b"=")
        whole = key != b"size" or (value.isdigit() and len(value) < 20)
        if not found or line[-1:] != b"\n" or at + length > len(text) or not whole:
            raise InputError(f"{file.path}: damaged fields of the header at {member.offset}")
        fields[_decoded(key)] = _decoded(value)
        at += length
    return fields


def open_images(path: Path, fields: Fields) -> ImageRanges:
    """Raises InputError, naming the file, for what is no tar, for an image that is a link or comes
    twice, for a key of several, and for labels that are none."""
    files, prefixes = open_files(path, ".tar")
    found, faults, said = Named(), Faults(str(path)), ""
    for number, (own, prefix) in enumerate(zip(files, prefixes, strict=True)):
        with faults, Bytes(own) as file:
            for key, sample in _samples(file, faults).items():
                with faults:
                    member = _image(file, key, sample, fields)
                    if member is not None:
                        by, label = _label(file, key, sample, fields)
                        if label is not None and by != (said := said or by):
                            raise InputError(
                                f"{own}: who is on {key} is said by {by}, on images before by "
                                f"{said}; say --identity NAME"
                            )
                        place = (number, member.offset, member.size)
                        found.add(own, prefix + member.name, place, label)
    faults.raise_any()
    if not found.places:
        raise InputError(f"{path}: no images ({', '.join(sorted(ENDINGS))}) in it")
    return found.ranges(path, files)


def _samples(file: Bytes, faults: Faults) -> dict[str, Sample]:
    samples: dict[str, Sample] = {}
    for member in members(file):
        with faults:
            folder, slash, base = member.name.removeprefix("./").rpartition("/")
            key, _, ending = base.partition(".")
            ending = ending.lower()
            known = ending in LABELS or _is_image(ending)
            if member.kind == FOLDER or not key or not known:
                continue
            if member.kind != FILE:
                what = OTHERS.get(member.kind, "of an unknown kind")
                raise InputError(f"{file.path}: {member.name} is {what}; bring the file itself")
            sample = samples.setdefault(folder + slash + key, {})
            if ending in sample:
                raise InputError(f"{file.path}: {member.name} comes twice; name them apart")
            sample[ending] = member
    return samples


def _is_image(ending: str) -> bool:
    return PurePosixPath(f"x.{ending}").suffix in ENDINGS


def _image(file: Bytes, key: str, sample: Sample, fields: Fields) -> Member | None:
    images = {ending: member for ending, member in sample.items() if _is_image(ending)}
    if fields.image is not None:
        return images.get(fields.image.lower())
    if len(images) > 1:
        raise InputError(
            f"{file.path}: {key} has {len(images)} images; say which is the face by its ending: "
            f"--image {min(images)}"
        )
    return next(iter(images.values()), None)


def _label(file: Bytes, key: str, sample: Sample, fields: Fields) -> tuple[str, Label]:
    """What says who it is, which must be one for all images of a set, and who it is."""
    wanted = fields.identity
    try:
        if "cls" in sample and wanted in (None, "cls"):
            return "cls", label_of_text(_text(file, sample["cls"]).decode("utf-8-sig"))
        if "json" in sample and wanted != "cls":
            said: Any = parse_json(_text(file, sample["json"]))
            known = [*said] if isinstance(said, dict) else []
            name = pick_identity(known, wanted, f"{file.path}: {key}.json")
            if name is not None:
                return name, parse_label(said[name])
    except ValueError as error:  # no UTF-8, no JSON, a number of too many digits
        raise InputError(
            f"{file.path}: the label of {key} cannot be read ({error})"[:300]
        ) from None
    except InputError as error:
        raise InputError(f"{file.path}: {key}: {error}") from None
    if wanted is not None:
        raise InputError(f"{file.path}: --identity {wanted}: {key} has none")
    return "its folder", folder_of(key)
