from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifests.core.errors import InputError
from manifests.core.tables import write_table
from manifests.records.boundaries import KIND, Boundaries


def boundaries(count: int = 3) -> Boundaries:
    normals = np.random.default_rng(0).standard_normal((count, 5)).astype(np.float32)
    return Boundaries(
        np.arange(count, dtype=np.int64) + (7 << 40),
        normals / np.linalg.norm(normals, axis=1, keepdims=True),
        np.linspace(0.5, 0.7, count, dtype=np.float32),
        ("", "accuracy below 0.6", "")[:count],
        space="z",
        solver="ridge",
        manifest_digest="ab" * 32,
        teacher_root="cd" * 32,
        scale=np.ones(5),
    )


@pytest.mark.parametrize("count", [0, 3])
def test_boundaries_come_back_as_they_were(tmp_path: Path, count: int) -> None:
    ours = boundaries(count)
    ours.write(tmp_path / "boundaries.parquet")
    found = Boundaries.read(tmp_path / "boundaries.parquet")
    assert found.digest == ours.digest
    for name, value in vars(ours).items():
        np.testing.assert_array_equal(getattr(found, name), value)


def test_kept_are_those_without_a_reason() -> None:
    assert boundaries().kept.tolist() == [True, False, True]


@pytest.mark.parametrize("length", [0.0, 0.99, float("nan")])
def test_a_normal_that_is_not_of_unit_length_is_refused_by_file_and_row(
    tmp_path: Path, length: float
) -> None:
    ours = boundaries()
    path = tmp_path / "boundaries.parquet"
    ours.normal[0] *= length  # behind the constructor's back
    write_table(path, KIND, ours._table(), ours._metadata())
    with pytest.raises(InputError, match=r"boundaries\.parquet: boundary 0: normal has length"):
        Boundaries.read(path)


@pytest.mark.parametrize("accuracy", [-0.1, 1.1, float("nan"), float("inf")])
def test_an_accuracy_that_is_no_share_is_refused(accuracy: float) -> None:
    values = boundaries().accuracy.copy()
    values[1] = accuracy
    with pytest.raises(InputError, match=r"boundary 1: accuracy .*, expected 0 to 1"):
        replace(boundaries(), accuracy=values)


def test_columns_of_unlike_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="unlike lengths"):
        replace(boundaries(), reason=("",))


def test_digest_covers_the_labels_source() -> None:
    assert boundaries().digest != replace(boundaries(), teacher_root="ef" * 32).digest


def test_scales_come_back_to_the_last_bit(tmp_path: Path) -> None:
    ours = replace(boundaries(), space="w", scale=np.array([0.1, 1 / 3, 1e-7, 2.0, 5e9]))
    ours.write(tmp_path / "boundaries.parquet")
    assert np.array_equal(Boundaries.read(tmp_path / "boundaries.parquet").scale, ours.scale)
    assert ours.digest != boundaries().digest


@pytest.mark.parametrize("text", ["1 1", "1 1 1 1 0", "1 1 1 1 nan", "1 1 1 1 inf", "one 1 1 1 1"])
def test_a_scale_that_does_not_fit_is_refused(tmp_path: Path, text: str) -> None:
    ours, path = boundaries(), tmp_path / "boundaries.parquet"
    write_table(path, KIND, ours._table(), {**ours._metadata(), "scale": text})
    with pytest.raises(InputError, match=r"boundaries\.parquet: (scale is not|could not convert)"):
        Boundaries.read(path)


def test_only_a_refused_boundary_may_lack_its_normal() -> None:
    normals = boundaries().normal.copy()
    normals[1] = 0
    assert not replace(boundaries(), normal=normals).kept[1]
    with pytest.raises(InputError, match="boundary 1: normal has length 0"):
        replace(boundaries(), normal=normals, reason=("", "", ""))
