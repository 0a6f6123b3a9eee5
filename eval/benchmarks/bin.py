"""InsightFace's .bin files: a pickle of (JPEG buffers, same or not); images 2i and 2i+1 are pair i.

The images are crops in the frame arcface112 already, so nothing is detected in them. Folds are
ten contiguous blocks of pairs, as InsightFace's own evaluation cuts them (its KFold without
shuffling: the first folds are one longer where ten does not divide the count).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from eval.benchmarks.base import NUM_FOLDS, Protocol, Row, as_benchmark
from manifests.core.errors import InputError
from manifests.photographs.images import MOST_BYTES, ImageList, image_hashes
from pipeline.arrays.frames import ARCFACE112, Frame
from pipeline.foreign.pickles import WITH_OBJECTS, PickledArray, load_pickle, shown

# What is public under a name, in pairs of each kind (Huang et al. 2007; Sengupta et al. 2016;
# Moschoglou et al. 2017; Zheng, Deng & Hu 2017; Zheng & Deng 2018).
PUBLIC = {
    "lfw": 3000, "cfp_fp": 3500, "cfp_ff": 3500, "agedb_30": 3000, "calfw": 3000, "cplfw": 3000,
}  # fmt: skip
MOST_FILE_BYTES = 4 << 30
MOST_STEPS = 20_000_000  # instructions; a file of 6,000 pairs has about 50,000


def frame_of(argument: str) -> Frame:
    """Of the images, always."""
    return ARCFACE112


def open_protocol(argument: str, *, square: bool = True) -> Protocol:
    """Raises InputError for a pickle that asks for more than arrays and bytes, for images and
    labels that do not fit each other, and for other pairs under the name of a public file."""
    if not argument:
        raise InputError("benchmark bin needs a file: bin:FILE, as InsightFace packs them")
    path = Path(argument)
    images, rows = read_bin(path)
    source = ImageList(path, images)
    hashes = image_hashes(source, [*images], square=square)
    try:
        benchmark = as_benchmark("bin", rows, hashes)
    except InputError as error:
        raise InputError(
            f"{path}: {error}; folds are ten contiguous blocks of its pairs: shuffle them"
        ) from None
    return Protocol(benchmark, source, "image")


def read_bin(path: Path, inside: str = "") -> tuple[dict[str, bytes], list[Row]]:
    """{name: image}, named by their places below `inside`, and the pairs in their folds.

    Raises InputError, naming the file, as `open_protocol` does.
    """
    value = load_pickle(path, WITH_OBJECTS, most_bytes=MOST_FILE_BYTES, most_steps=MOST_STEPS)
    try:
        buffers, same = _parse(value)
        _require_public(path.stem, same)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    names = [f"{inside}{index:06}" for index in range(len(buffers))]
    fold = contiguous(len(same), NUM_FOLDS)
    rows = list(zip(fold.tolist(), names[::2], names[1::2], same, strict=True))
    return dict(zip(names, buffers, strict=True)), rows


def contiguous(count: int, parts: int) -> Int[np.ndarray, " _"]:
    """The part that each of `count` things is in: equal parts in their order, the first ones one
    longer where they cannot be equal."""
    blocks = enumerate(np.array_split(np.arange(count), parts))
    return np.concatenate([np.full(len(block), number) for number, block in blocks])


def _parse(value: Any) -> tuple[list[bytes], list[bool]]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise InputError("holds no pair of lists (images, same or not)")
    images, labels = (_as_list(part) for part in value)
    if len(images) != 2 * len(labels) or len(labels) < NUM_FOLDS:
        raise InputError(
            f"{len(images)} images and {len(labels)} labels; expected two images a label, and at "
            f"least {NUM_FOLDS} labels"
        )
    return [_bytes(k, image) for k, image in enumerate(images)], [_truth(x) for x in labels]


def _require_public(name: str, same: list[bool]) -> None:
    genuine, impostors = sum(same), len(same) - sum(same)
    if name in PUBLIC and (genuine, impostors) != (PUBLIC[name],) * 2:
        raise InputError(
            f"{genuine} genuine and {impostors} impostor pairs, where the public {name}.bin has "
            f"{PUBLIC[name]} of each; bring that one, or give this one a name of its own"
        )


def _as_list(part: Any) -> list[Any]:
    if isinstance(part, PickledArray):
        if part.objects is not None:
            return part.objects
        return [*np.atleast_1d(part.values)] if part.values.ndim != 1 else part.values.tolist()
    if not isinstance(part, tuple | list):
        raise InputError(f"a {type(part).__name__} where a list was expected")
    return list(part)


def _bytes(index: int, image: Any) -> bytes:
    if isinstance(image, PickledArray) and image.values.dtype == np.uint8:
        image = image.values.tobytes()
    if not isinstance(image, bytes | bytearray) or len(image) > MOST_BYTES:
        kind = type(image).__name__
        raise InputError(f"image {index:06} is a {kind}, expected at most {MOST_BYTES} bytes")
    return bytes(image)


def _truth(label: Any) -> bool:
    if label not in (0, 1):  # True and False are among them
        raise InputError(f"label {shown(label)}, expected true or false")
    return bool(label)
