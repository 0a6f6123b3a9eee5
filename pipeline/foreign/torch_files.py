"""Strangers' torch files: opened within bounds, and what a tensor of theirs may be."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FLOATS = (torch.float16, torch.float32, torch.float64, torch.bfloat16)


class UnreadableFile(ValueError):
    """What keeps a torch file from being read, in a few words."""


def read_torch_file(source: Path | bytes) -> Any:
    """What a file of torch.save holds, on the CPU: tensors and plain values.

    Raises UnreadableFile for one that is damaged, holds anything else (nothing of it is run), or
    would grow: torch stores its zips without compression, a stranger need not, and in its older
    layout tensors have the bytes that they claim, read or not.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # storages with a type are on their way out
        try:
            size = len(source) if isinstance(source, bytes) else source.stat().st_size
            _require_stored(source, size)
            file = io.BytesIO(source) if isinstance(source, bytes) else source
            return torch.load(file, map_location=_within(size), weights_only=True)
        except UnreadableFile:
            raise
        except Exception as error:  # a stranger's bytes can trip it in any way
            raise UnreadableFile(reason_of(error)) from None


def fault_of(tensor: Tensor) -> str | None:
    """What makes a tensor another than plain floating-point numbers that lie in its file."""
    if tensor.is_nested:
        return "a nested tensor"
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return f"{tensor.dtype}, {tensor.layout}, {tensor.device.type}"
    if tensor.dtype not in FLOATS:  # those of quantised tensors are not
        return str(tensor.dtype)
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"{list(tensor.shape)} of {tensor.untyped_storage().nbytes()} bytes"
    return None


def _within(size: int) -> Callable[[Any, str], Any]:
    """Takes storages as they are, on the CPU, while all together have no more than `size` bytes."""
    claimed = 0

    def taken(storage: torch.UntypedStorage, _: str) -> torch.UntypedStorage:
        nonlocal claimed
        claimed += storage.nbytes()
        if claimed > size:
            raise UnreadableFile(f"{size} bytes with tensors of {claimed}")
        return storage

    return taken


def _require_stored(source: Path | bytes, size: int) -> None:
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    if not zipfile.is_zipfile(file):
        return  # torch's older layout, which has no compression
    with zipfile.ZipFile(file) as opened:
        grown = sum(member.file_size for member in opened.infolist())
    if grown > size:
        raise UnreadableFile(f"{size} bytes that grow to {grown}")


def reason_of(error: Exception) -> str:
    """What torch found amiss, in one line, without the advice around it."""
    found = re.split("Check the documentation|Please use", str(error))[0]
    found = " ".join(re.split(r"trusted source\.|WeightsUnpickler error:", found)[-1].split())
    return found[:120] or type(error).__name__
