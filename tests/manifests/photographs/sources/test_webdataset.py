"""Tars of strangers: what a header claims is held to the file, and nothing is unpacked."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.core.errors import InputError
from manifests.photographs.sources.base import AS_FOUND, Bytes, Fields
from manifests.photographs.sources.webdataset import FILE, members, open_images
from tests.image_packs import pictures

IMAGE = pictures(people=1, each=1)[0].data
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/."), min_size=1)


def write(path: Path, files: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in files.items():
            add(tar, name, data)
    return path


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data))


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.lists(TEXT, min_size=1, max_size=4).map("/".join), st.binary(max_size=2000), max_size=9
    ),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_members_are_those_that_tarfile_finds(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], format: int
) -> None:
    path = write(tmp_path_factory.mktemp("tars") / "a.tar", files, format)
    with tarfile.open(path) as tar:
        wanted = [(each.name, each.offset_data, each.size) for each in tar]
    with Bytes(path) as file:
        found = [*members(file)]
    assert [(each.name, each.offset, each.size) for each in found] == wanted
    assert all(each.kind == FILE for each in found)


@pytest.mark.parametrize(
    ("files", "label"),
    [
        ({"7/a.png": IMAGE}, "7"),
        ({"a.png": IMAGE}, None),
        ({"7/a.cls": b" 12\n", "7/a.png": IMAGE}, 12),
        ({"a.png": IMAGE, "a.cls": b"Anna"}, "Anna"),
        ({"a.png": IMAGE, "a.json": b'{"label": -1}'}, None),
        ({"a.png": IMAGE, "a.json": b'{"label": 3, "identity_id": 4.0}'}, 4),
        ({"b/a.png": IMAGE, "b/a.json": b'{"caption": "x"}'}, "b"),
        ({"../../etc/passwd.png": IMAGE}, "../../etc"),  # a name, and never a path
        ({"./a.PNG": IMAGE, ".hidden.png": b"", "readme.txt": b""}, None),
    ],
)
def test_who_is_on_an_image(tmp_path: Path, files: dict[str, bytes], label: object) -> None:
    found = open_images(write(tmp_path / "a.tar", files), AS_FOUND)
    assert (len(found.names), list(found.labels)) == (1, [label])
    assert found.read(found.names[0]) == IMAGE


def test_fields_say_which_image_and_which_label(tmp_path: Path) -> None:
    files = {"a.face.png": IMAGE, "a.mask.png": b"?", "a.json": b'{"who": "x", "label": 1}'}
    path = write(tmp_path / "a.tar", files)
    with pytest.raises(InputError, match=r"a has 2 images; say which .* --image face\.png"):
        open_images(path, AS_FOUND)
    found = open_images(path, Fields("face.png", "who"))
    assert (list(found.names), list(found.labels)) == (["a.face.png"], ["x"])
    with pytest.raises(InputError, match="--identity age: not there; there are: who, label"):
        open_images(path, Fields("face.png", "age"))


def raw_size(size: bytes) -> Callable[[bytearray], object]:
    """The first header with another size, and a checksum that is right."""

    def change(data: bytearray) -> None:
        data[124:136] = size
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % sum(data[:512])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (raw_size(b"77777777777\0"), "a.png claims 8589934591 bytes, which it does not have"),
        (raw_size(b"\x80" + b"\xff" * 11), "claims 309485009821345068724781055 bytes"),
        (raw_size(b"\xff" * 12), "claims .* bytes, which it does not have"),
        (raw_size(b"12x\0        "), "the header at 0 has no size"),
        (lambda data: data.__delitem__(slice(700, None)), "a.png claims .* which it does not have"),
        (lambda data: data.__delitem__(slice(300, None)), "cut short or damaged, 512 bytes at 0"),
        (lambda data: data.__setitem__(0, 7), "no tar file, or a damaged one"),
        (lambda data: data.__setitem__(slice(None), b"\x1f\x8b" + b"x" * 2000), "tar.gz"),
        (lambda data: data.clear(), "no images"),
    ],
)
def test_headers_that_lie_are_refused(
    tmp_path: Path, change: Callable[[bytearray], object], message: str
) -> None:
    path = write(tmp_path / "a.tar", {"a.png": IMAGE})
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        open_images(path, AS_FOUND)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("b.png", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "b.png is a link"),
        ("b.png", {"type": tarfile.LNKTYPE, "linkname": "a.png"}, "b.png is a hard link"),
        ("b.png", {"type": tarfile.CHRTYPE}, "b.png is a device"),
        ("b.json", {"type": tarfile.FIFOTYPE}, "b.json is a pipe"),
        ("b.png", {"type": tarfile.GNUTYPE_SPARSE}, "b.png is a file with holes"),
        ("b.png", {"pax_headers": {"GNU.sparse.size": "9999999999"}}, "is a file with holes"),
        ("b.png", {"pax_headers": {"path": "b\nc.png"}}, "an image called 'b.nc.png'"),
        ("b.png", {"pax_headers": {"comment": "x" * 100_000}}, "at most 65536 are read"),
        ("a.png", {}, "a.png comes twice"),
        ("A.PNG/../a.png", {}, None),
    ],
)
def test_what_is_no_file_of_its_own_is_refused(
    tmp_path: Path, name: str, fields: dict[str, object], message: str | None
) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "a.png", IMAGE)
        add(tar, name, **fields)
    if message is None:
        assert len(open_images(path, AS_FOUND).names) == 2
        return
    with pytest.raises(InputError, match=message):
        open_images(path, AS_FOUND)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("cls", b"\xff"), ("cls", b"x" * 300), ("cls", b"9" * 5000), ("cls", b"a\nb"),
        ("cls", b"x" * 70_000), ("json", b"{"), ("json", b"[" * 9000), ("json", b'{"label": [1]}'),
        ("json", b'{"label": NaN}'), ("json", b'{"label": true}'), ("json", b'{"label": 1.5}'),
        ("json", b'{"label": 1e300}'), ("json", b'{"label": ' + b"9" * 5000 + b"}"),
        ("json", b'{"label": "\\u001b[2J"}'),
    ],
)  # fmt: skip
def test_labels_that_are_none_are_refused(tmp_path: Path, label: str, said: bytes) -> None:
    path = write(tmp_path / "a.tar", {"a.png": IMAGE, f"a.{label}": said})
    with pytest.raises(InputError) as caught:
        open_images(path, AS_FOUND)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tar")
    for path in (tmp_path, tmp_path / "a.tar"):
        with pytest.raises(InputError, match=r"no such folder|no file, or a link"):
            open_images(path, AS_FOUND)


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", {"a.png": IMAGE})
    found = open_images(path, AS_FOUND)
    os.truncate(path, 600)
    with pytest.raises(InputError, match=r"ends within image a\.png; bring it whole"):
        found.read("a.png")


@pytest.mark.parametrize(
    "others",
    [
        {"2.json": b'{"class": "thermal"}'},  # a class of pictures, where identity_id is empty
        {"2.cls": b"5"},
    ],
)
def test_one_thing_says_who_is_on_all_images(tmp_path: Path, others: dict[str, bytes]) -> None:
    said = {"1.json": b'{"identity_id": 5, "class": "thermal"}'}
    path = write(tmp_path / "a.tar", {"1.png": IMAGE, **said, "2.png": IMAGE, **others})
    with pytest.raises(InputError, match=r"who is on 2 is said by cl.*, on images before by ident"):
        open_images(path, AS_FOUND)


def test_a_mark_of_order_is_no_letter_of_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", {"1.png": IMAGE, "1.cls": "\ufeff5".encode()})
    assert open_images(path, AS_FOUND).labels == [5]
