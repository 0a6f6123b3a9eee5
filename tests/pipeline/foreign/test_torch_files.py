"""Strangers' torch files: both layouts come back, growth and other tensors are refused."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.serialization import MAGIC_NUMBER, PROTOCOL_VERSION

from manifests.core.errors import InputError
from pipeline.foreign.torch_files import UnreadableFile, fault_of, read_torch_file
from pipeline.generators import load_generator
from pipeline.teachers import load_teacher
from tests.gan_control import checkpoint
from tests.stylegans import SMALL2, declare, load, network_of, storage_of, write_pickle

NUMBERS = 100_000
EMPTY = Path("weights")


def saved(value: Any, *, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def deflated(data: bytes) -> bytes:
    """The same zip, compressed as torch never does."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
            for member in source.infolist():
                target.writestr(member.filename, source.read(member))
    return file.getvalue()


@pytest.mark.parametrize("zipped", [True, False])
def test_both_layouts_come_back(tmp_path: Path, zipped: bool) -> None:
    data = saved({"x": torch.arange(6.0).reshape(2, 3), "epoch": 3}, zipped=zipped)
    (tmp_path / "a.pt").write_bytes(data)
    for found in (read_torch_file(data), read_torch_file(tmp_path / "a.pt")):
        assert found["epoch"] == 3
        assert torch.equal(found["x"], torch.arange(6.0).reshape(2, 3))


def test_a_zip_that_grows_is_refused(tmp_path: Path) -> None:
    data = deflated(saved(torch.zeros(NUMBERS)))
    assert torch.load(io.BytesIO(data), weights_only=True).shape == (NUMBERS,)  # torch would
    (tmp_path / "a.pt").write_bytes(data)
    for source in (data, tmp_path / "a.pt"):
        with pytest.raises(UnreadableFile, match=rf"^{len(data)} bytes that grow to 4\d{{5}}$"):
            read_torch_file(source)


def claiming(numbers: int) -> bytes:
    """A file of the older layout that names a storage, and ends before its bytes."""

    class Claimed:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch._utils._rebuild_tensor_v2, (storage, 0, (numbers,), (1,), False, {})

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            own = ("storage", torch.FloatStorage, "0", "cpu", numbers, None)
            return own if value is storage else None

    storage, file = object(), io.BytesIO()
    for value in (MAGIC_NUMBER, PROTOCOL_VERSION, {"little_endian": True}):
        pickle.dump(value, file, 2)
    Pickler(file, 2).dump({"x": Claimed()})
    pickle.dump([], file, 2)
    return file.getvalue()


def test_tensors_that_the_file_has_no_bytes_for_are_refused() -> None:
    assert read_torch_file(claiming(1))["x"].shape == (1,)
    data = claiming(NUMBERS)
    assert torch.load(io.BytesIO(data), weights_only=True)["x"].shape == (NUMBERS,)  # torch would
    with pytest.raises(UnreadableFile, match=rf"^{len(data)} bytes with tensors of {NUMBERS * 4}$"):
        read_torch_file(data)


@pytest.mark.parametrize(
    "data", [b"", b"hello" * 9, b"PK\x03\x04" + bytes(99), b"}.", b"\x80\x02K"]
)
def test_junk_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(UnreadableFile, match=r"\w+"):
        read_torch_file(data)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.bfloat16])
def test_plain_numbers_have_no_fault(dtype: torch.dtype) -> None:
    whole = torch.ones(4, 6, dtype=dtype)
    assert [fault_of(own) for own in (whole, whole.T, whole[1:, 2], whole[:0])] == [None] * 4


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch makes quantised tensors, but would rather not
    ODD = {
        "sparse": (torch.eye(3).to_sparse(), "torch.float32, torch.sparse_coo, cpu"),
        "meta": (torch.ones(3, device="meta"), "torch.float32, torch.strided, meta"),
        "float8": (torch.ones(3).to(torch.float8_e4m3fn), "torch.float8_e4m3fn"),
        "quantised": (torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "torch.qint8"),
        "whole": (torch.ones(3, dtype=torch.int32), "torch.int32"),
        "expanded": (torch.ones(1).expand(1 << 40), "[1099511627776] of 4 bytes"),
    }


@pytest.mark.parametrize(("tensor", "fault"), ODD.values(), ids=ODD)
def test_other_tensors_are_named(tensor: Tensor, fault: str) -> None:
    assert fault_of(tensor) == fault


@pytest.mark.parametrize("name", ["sparse", "float8", "quantised", "expanded"])
def test_readers_refuse_other_tensors(tmp_path: Path, name: str) -> None:
    path = declare(tmp_path / "a.pt")
    torch.save({"g_ema": checkpoint() | {"conv1.conv.weight": ODD[name][0]}}, path)
    with pytest.raises(InputError, match=r"a\.pt: g_ema: conv1\.conv\.weight is .*in order"):
        load_generator(f"gan-control:{path}", EMPTY)


READERS = {
    "gan-control": lambda path: load_generator(f"gan-control:{path}", EMPTY),
    "arcface-iresnet": lambda path: load_teacher(f"arcface-iresnet:{path}", EMPTY),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    "data",
    [b"\x80\x02K", b"\x80\x02(t.", b"\x80\x02}q\x00.", b"r" * 50, b"\x8a\xff" + bytes(9),
     deflated(saved({"g_ema": {"input.input": torch.zeros(NUMBERS)}}))],
    ids=["cut", "tuple", "empty", "memo", "long", "bomb"],
)  # fmt: skip
def test_junk_is_refused_by_readers_in_one_line(tmp_path: Path, reader: Any, data: bytes) -> None:
    path = declare(tmp_path / "a.pt")
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"^{path}: not a (state dict|checkpoint)") as caught:
        reader(path)
    assert "\n" not in str(caught.value)


def test_a_storage_in_a_pickle_that_grows_is_refused(tmp_path: Path) -> None:
    class Growing:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch.storage._load_from_bytes, (deflated(saved(torch.zeros(NUMBERS))),)

    extra = {"_x": Growing()}
    path = write_pickle(tmp_path / "a.pkl", network_of(2, SMALL2), SMALL2, extra=extra)
    with pytest.raises(InputError, match=r"tensor's numbers cannot be read \(\d+ bytes that grow"):
        load(2, path)


def test_a_tensor_in_a_pickle_of_more_numbers_than_it_holds_is_refused(tmp_path: Path) -> None:
    class Expanded:
        def __reduce__(self) -> tuple[Any, ...]:
            numbers = storage_of(torch.zeros(4))
            return torch._utils._rebuild_tensor_v2, (numbers, 0, (1 << 40,), (0,), False, {})

    extra = {"_x": Expanded()}
    path = write_pickle(tmp_path / "a.pkl", network_of(2, SMALL2), SMALL2, extra=extra)
    with pytest.raises(InputError, match=r"a tensor of \[1099511627776\] of 16 bytes"):
        load(2, path)
