from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from manifests.core.errors import InputError
from pipeline.arrays.numerics import BATCH, in_fixed_batches, weights_path
from pipeline.generators.base import Generator
from pipeline.teachers.base import Teacher


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
