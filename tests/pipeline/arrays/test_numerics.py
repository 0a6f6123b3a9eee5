from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from manifests.core.errors import InputError
from pipeline.arrays import numerics
from pipeline.arrays.numerics import (
    BATCH,
    computing_in,
    has_bfloat16,
    in_fixed_batches,
    precision_of,
    weights_path,
)
from pipeline.generators.base import Generator
from pipeline.teachers.base import Teacher
from tests.conftest import ROOT
from train.students import build_student


@given(st.integers(0, 3 * BATCH))
def test_every_row_comes_back_in_its_place(count: int) -> None:
    rows = torch.arange(2.0 * count).reshape(count, 2)
    assert torch.equal(in_fixed_batches(lambda batch: batch * 2, rows), rows * 2)


@pytest.mark.parametrize("count", [0, 1, BATCH, BATCH + 1])
def test_a_backend_meets_one_shape_only(count: int) -> None:
    shapes = set()

    def backend(batch: torch.Tensor) -> torch.Tensor:
        shapes.add(tuple(batch.shape))
        return batch

    in_fixed_batches(backend, torch.zeros(count, 3))
    assert shapes == {(BATCH, 3)}


def test_the_number_of_threads_changes_no_bit(
    dcgan: Generator, dlib_resnet: Teacher, torch_threads: None
) -> None:
    latents = torch.randn(BATCH, 100, generator=torch.Generator().manual_seed(1))
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        pictures = in_fixed_batches(dcgan.render, latents)
        faces = interpolate(pictures, dlib_resnet.frame.size).round()
        found.append((pictures, in_fixed_batches(dlib_resnet.embed, faces)))
    for pictures, embeddings in found[1:]:
        assert torch.equal(pictures, found[0][0])
        assert torch.equal(embeddings, found[0][1])


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.dat: missing weight file; run `facestill weights`"):
        weights_path(tmp_path, "a.dat")


CPU = torch.device("cpu")
ASKED = "from pipeline.arrays.numerics import precision_of; print(precision_of('auto', 'cpu'))"


@pytest.mark.skipif(not has_bfloat16(CPU), reason="no bfloat16 of this processor's own")
@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("ATEN_CPU_CAPABILITY=avx512", "bfloat16"),
        ("ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16", "bfloat16"),
        ("ONEDNN_MAX_CPU_ISA=no such name", "bfloat16"),  # which oneDNN passes over
        ("ATEN_CPU_CAPABILITY=avx2", "float32"),
        ("ATEN_CPU_CAPABILITY=default", "float32"),
        ("ONEDNN_MAX_CPU_ISA=AVX2", "float32"),
        ("ONEDNN_MAX_CPU_ISA=avx512_core", "float32"),  # torch still calls bfloat16 supported
        ("DNNL_MAX_CPU_ISA=AVX512_CORE_VNNI", "float32"),
    ],
)
def test_auto_is_what_is_left_of_a_processor_that_is_narrowed(setting: str, expected: str) -> None:
    name, value = setting.split("=")
    done = subprocess.run(
        [sys.executable, "-c", ASKED], env=os.environ | {name: value}, cwd=ROOT,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == expected


@pytest.mark.parametrize(
    ("machine", "instructions", "vectors", "environment", "expected"),
    [
        ("x86_64", "avx512_bf16", "AVX512", {}, True),
        ("AMD64", "amx_tile", "AVX512", {}, True),
        ("x86_64", "none", "AVX512", {}, False),  # oneDNN would emulate it
        ("x86_64", "none", "AVX2", {}, False),
        ("x86_64", "avx512_bf16", "AVX2", {}, False),
        ("x86_64", "avx512_bf16", "AVX512", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, False),
        ("aarch64", "none", "DEFAULT", {}, True),
    ],
)
def test_bfloat16_counts_where_it_is_native(
    machine: str,
    instructions: str,
    vectors: str,
    environment: dict[str, str],
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: vectors)
    for name in ("avx512_bf16", "amx_tile"):
        monkeypatch.setattr(f"torch.cpu._is_{name}_supported", lambda own=name: own == instructions)
    for supported in (True, False):
        monkeypatch.setattr(
            "torch.ops.mkldnn._is_mkldnn_bf16_supported", lambda found=supported: found
        )
        assert has_bfloat16(CPU, environment) == (expected and supported)
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    assert not has_bfloat16(CPU, environment)


def test_a_gpu_is_asked_whether_it_emulates(monkeypatch: pytest.MonkeyPatch) -> None:
    for native in (True, False):
        monkeypatch.setattr(
            "torch.cuda.is_bf16_supported",
            lambda including_emulation=True, found=native: found or including_emulation,
        )
        assert has_bfloat16(torch.device("cuda")) == native


def test_what_is_asked_for_by_name_is_used() -> None:
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        assert precision_of(precision, "cpu") == precision
        with computing_in(precision, CPU):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.parametrize(
    ("name", "depthwise"),
    [
        ("small-resnet", False),  # whose last convolution is depthwise
        ("iresnet-18", False),
        ("mobilefacenet", True),
        ("pocketnet-s128", True),
        ("tinyfar-c", True),
        ("edgeface-xxs", True),
    ],
)
def test_auto_leaves_depthwise_students_alone_on_a_cpu(
    name: str, depthwise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numerics, "has_bfloat16", lambda place: True)
    with torch.device("meta"):
        network = build_student(name, input_size=64, width=1.0, embedding_width=128)
    assert precision_of("auto", "cpu", network) == ("float32" if depthwise else "bfloat16")
    assert precision_of("bfloat16", "cpu", network) == "bfloat16"
    monkeypatch.setattr(numerics, "device_of", torch.device)
    assert precision_of("auto", "cuda", network) == "bfloat16"
