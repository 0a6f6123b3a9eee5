"""InsightFace's .bin: both Pythons' pickles, the known answer, and nothing that is not asked."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval.benchmarks import open_benchmark
from eval.benchmarks.bin import PUBLIC
from eval.photos.verification import verify_models
from manifests.core import layout
from manifests.core.errors import InputError
from tests.protocols import (
    ACCURACY,
    AUC,
    CUT,
    STD,
    TIGHT,
    bin_lists,
    colours,
    jpeg,
    measure,
    picture,
    python_2_pickle,
)

IMAGES, SAME = bin_lists()


def as_arrays(protocol: int) -> bytes:
    buffers = [np.frombuffer(image, np.uint8) for image in IMAGES]
    return pickle.dumps((buffers, np.array(SAME)), protocol)


WRITERS: dict[str, Callable[[], bytes]] = {
    "python 2, protocol 0": lambda: python_2_pickle(IMAGES, SAME, 0),
    "python 2, protocol 1": lambda: python_2_pickle(IMAGES, SAME, 1),
    "python 2, protocol 2": lambda: python_2_pickle(IMAGES, SAME, 2),
    "python 3, protocol 2": lambda: pickle.dumps((IMAGES, SAME), 2),
    "python 3, protocol 4": lambda: pickle.dumps((IMAGES, SAME), 4),
    "python 3, protocol 5": lambda: pickle.dumps([IMAGES, tuple(SAME)], 5),
    "arrays, protocol 2": lambda: as_arrays(2),
    "arrays, protocol 5": lambda: as_arrays(5),
    "arrays of objects": lambda: pickle.dumps(
        (np.array([*IMAGES, None], object)[:-1], np.array([*SAME, None], object)[:-1]), 4
    ),
    "numpy truth": lambda: pickle.dumps((IMAGES, [np.bool_(x) for x in SAME]), 3),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_writer_gives_the_same_protocol_and_the_known_answer(
    tmp_path: Path, writer: str
) -> None:
    (tmp_path / "x.bin").write_bytes(WRITERS[writer]())
    (tmp_path / "y.bin").write_bytes(WRITERS["python 3, protocol 4"]())
    done = measure(f"bin:{tmp_path / 'x.bin'}")
    assert done.metrics["accuracy"] == pytest.approx(ACCURACY, abs=1e-12)
    assert done.metrics["accuracy_std"] == pytest.approx(STD, abs=1e-12)
    assert done.metrics["auc"] == pytest.approx(AUC, abs=1e-12)
    assert (done.metrics["num_pairs"], done.metrics["num_failed"]) == (40, 0)
    assert done.metrics["subject_rule"] == "image"
    assert done.metrics["alignment"] == CUT.rule
    other = open_benchmark(f"bin:{tmp_path / 'y.bin'}")
    assert done.metrics["protocol_sha256"] == other.benchmark.protocol_sha256


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_the_bytes_of_python_2_are_such(protocol: int) -> None:
    codes = {op.name for op, *_ in pickletools.genops(python_2_pickle([b"ab"], [True], protocol))}
    protocols = {op.proto for op in pickletools.opcodes if op.name in codes}
    assert max(protocols) == protocol
    assert codes & {"STRING", "BINSTRING", "SHORT_BINSTRING"}  # what Python 3 never writes


def test_images_2i_and_2i_plus_1_are_pair_i_in_contiguous_folds(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(pickle.dumps((IMAGES[:46], SAME[:23]), 4))
    frozen = open_benchmark(f"bin:{tmp_path / 'x.bin'}").benchmark
    assert (frozen.left[5], frozen.right[5]) == ("000010", "000011")
    assert frozen.same.tolist() == SAME[:23]
    # scikit-learn's KFold(10, shuffle=False), which InsightFace uses: 3, 3, 3, then twos
    assert np.bincount(frozen.fold).tolist() == [3, 3, 3, 2, 2, 2, 2, 2, 2, 2]
    assert (np.diff(frozen.fold) >= 0).all()


def test_a_frame_that_the_crop_does_not_hold_is_said_once_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.bin").write_bytes(WRITERS["python 3, protocol 4"]())
    protocol = open_benchmark(f"bin:{tmp_path / 'x.bin'}")
    assert "compare a picture with itself" in capsys.readouterr().err  # of one colour each
    (done,) = verify_models([colours(TIGHT)], protocol)
    # dlib150 begins at y = 19.997 and is 100.581 high; the crop ends at 111.4
    assert done.metrics["frame_coverage"] == pytest.approx(91.403 / 100.581, abs=1e-9)
    assert done.metrics["accuracy"] == pytest.approx(ACCURACY, abs=1e-12)  # edges are repeated
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1 and "hold 90.9%" in warnings[0]
    (whole,) = verify_models([colours()], protocol)
    assert whole.metrics["frame_coverage"] == 1.0
    assert "warning" not in capsys.readouterr().err


def test_photographs_that_are_no_crops_are_said_to_be_none(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Squares of ORL, in which heads fill the height."""
    images = []
    for person in range(1, 11):
        for number in (1, 2, 1, 2):
            file = io.BytesIO()
            picture = Image.open(layout.WEIGHTS / f"orl/s{person}/{number}.pgm")
            picture.crop((0, 10, 92, 102)).save(file, "PNG")
            images.append(file.getvalue())
    (workspace / "x.bin").write_bytes(pickle.dumps((images, [True, False] * 10)))
    verify_models([colours()], open_benchmark("bin:x.bin"))
    said = capsys.readouterr().err
    assert "warning: benchmark bin: no crops in the frame arcface112: the faces found in" in said


class Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_by_name_and_not_run(tmp_path: Path, protocol: int) -> None:
    hidden = ([*IMAGES[:-1], Attack(tmp_path / "ran")], SAME)
    (tmp_path / "x.bin").write_bytes(pickle.dumps(hidden, protocol))
    with pytest.raises(InputError, match=r"x\.bin: it asks for [\w.]+; refused, it was not run"):
        open_benchmark(f"bin:{tmp_path / 'x.bin'}")
    assert not (tmp_path / "ran").exists()


def nested(levels: int) -> Any:
    """A list of a few bytes that is written out in two to the power of its levels."""
    return [nested_in := nested(levels - 1), nested_in] if levels else [1]


def wide() -> bytes:
    file = io.BytesIO()
    picture((1, 2, 3)).resize((40, 32)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([IMAGES, SAME, 1], "holds no pair of lists"),
        (({"a": 1}, SAME), "a dict where a list was expected"),
        ((IMAGES[:-1], SAME), "79 images and 40 labels"),
        (([], []), "0 images and 0 labels; expected two images a label, and at least 10"),
        (([*IMAGES[:-1], "text"], SAME), "image 000079 is a str"),
        (([*IMAGES[:-1], b"junk"], SAME), "image 000079: not a readable image"),
        (([*IMAGES[:-1], jpeg((9, 9, 9))[:-200]], SAME), "image 000079: not a readable image"),
        (([*IMAGES[:-1], wide()], SAME), "image 000079: 40x32 pixels; an aligned crop is square"),
        ((IMAGES, [*SAME[:-1], 7]), "label 7, expected true or false"),
        ((IMAGES, [*SAME[:-1], 10**5000]), "label <int of 16610 bits>, expected true or false"),
        ((IMAGES, [*SAME[:-1], nested(28)]), r"label \[\[.*\]\], expected true or false"),
        ((np.array(3), SAME), "1 images and 40 labels"),
        ((IMAGES, np.array(True)), "80 images and 1 labels"),
        (
            (IMAGES, [True] * 20 + [False] * 20),
            r"x\.bin: .* fold 0 needs genuine and impostor pairs; folds .* blocks .*: shuffle them",
        ),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, value: Any, message: str) -> None:
    (tmp_path / "x.bin").write_bytes(pickle.dumps(value))
    with pytest.raises(InputError, match=message):
        open_benchmark(f"bin:{tmp_path / 'x.bin'}")


@pytest.mark.parametrize(("name", "each"), PUBLIC.items())
def test_other_pairs_under_a_known_name_are_refused(tmp_path: Path, name: str, each: int) -> None:
    path = tmp_path / f"{name}.bin"
    path.write_bytes(pickle.dumps((IMAGES, SAME)))
    message = rf"{name}\.bin: 20 genuine and 20 impostor .* {name}\.bin has {each} of each; bring"
    with pytest.raises(InputError, match=message):
        open_benchmark(f"bin:{path}")


def test_as_many_pairs_as_the_public_file_has_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PUBLIC, "lfw", 20)
    path = tmp_path / "lfw.bin"
    path.write_bytes(pickle.dumps((IMAGES, SAME)))
    assert open_benchmark(f"bin:{path}").benchmark.same.tolist() == SAME
    path.write_bytes(pickle.dumps((IMAGES, [*SAME[:-1], True])))
    with pytest.raises(InputError, match="21 genuine and 19 impostor pairs"):
        open_benchmark(f"bin:{path}")


def test_no_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_benchmark(f"bin:{tmp_path / 'x.bin'}")
    with pytest.raises(InputError, match="needs a file: bin:FILE"):
        open_benchmark("bin:")
