"""Benchmarks of known answer: pictures of one colour each, and a model that sees colours.

The model's embedding is the mean colour less grey: pictures of the colour RED score 1 with each
other, -1 with CYAN and 0 with GREEN. A set has ten folds of two genuine and two impostor pairs;
one genuine pair scores 0 and one impostor pair 1, in two folds. So InsightFace's accuracy is
(8 + 2 · 3/4) / 10 = 0.95 with a standard deviation of 0.1, and the AUC
(19 · (19 + 1/2) + 19) / 400 = 0.97375.
"""

from __future__ import annotations

import csv
import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image

from eval.alignment import crops_in
from eval.benchmarks import open_benchmark
from eval.benchmarks.base import Protocol
from eval.photos.embedding import embed_protocol
from eval.photos.models import Model
from eval.photos.verification import Verification, verify
from pipeline.arrays.frames import ARCFACE112, DLIB150, Frame

RED, CYAN, GREEN = (255, 128, 128), (1, 128, 128), (128, 255, 128)
ACCURACY, STD, AUC = 0.95, 0.1, 0.97375
NUM_FOLDS = 10
SIDE = 32  # pixels


SMALL, TIGHT = ARCFACE112.at(8), DLIB150.at(10)
CUT = crops_in(ARCFACE112)
# As it stands in the protocols that were frozen before aligners could be chosen.
DLIB_RULE = "dlib HOG, score > 0, + dlib5; most central face; retry at 2x; then the box 0.3..0.7"


def colours(frame: Frame = SMALL, metric: str = "cosine") -> Model:
    """The model that sees colours."""

    def mean_colour(batch: torch.Tensor) -> torch.Tensor:
        return batch.mean(dim=(2, 3)) - 128.0

    return Model("colours", "c" * 64, frame, metric, False, mean_colour)


def opened(text: str) -> Protocol:
    """A benchmark of square pictures, taken for crops: no face is looked for in them."""
    return open_benchmark(text, CUT)


def measure(text: str, model: Model | None = None, views: str = "plain") -> Verification:
    """A benchmark by a model, faces taken for where arcface112 has them."""
    protocol = opened(text)
    (done,), faces = embed_protocol(protocol, [model or colours()], [views])
    return verify(protocol, done, faces, views)


def picture(colour: tuple[int, int, int], side: int = SIDE) -> Image.Image:
    return Image.new("RGB", (side, side), colour)


def jpeg(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    picture(colour).save(file, "JPEG", quality=95)
    return file.getvalue()


def save(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(colour).save(path)


Pair = tuple[tuple[int, int, int], tuple[int, int, int], bool]


GENUINE, IMPOSTOR = "genuine", "impostor"  # the mistakes of the known answer


def known_pairs(mistakes: Sequence[str] = (GENUINE, IMPOSTOR)) -> list[Pair]:
    """The pairs of the known answer, fold by fold, with these of its mistakes."""
    pairs: list[Pair] = []
    for fold in range(NUM_FOLDS):
        far, near = fold == 3 and GENUINE in mistakes, fold == 7 and IMPOSTOR in mistakes
        pairs += [(RED, RED, True), (RED, GREEN if far else RED, True)]
        pairs += [(RED, CYAN, False), (RED, RED if near else CYAN, False)]
    return pairs


def bin_lists(mistakes: Sequence[str] = (GENUINE, IMPOSTOR)) -> tuple[list[bytes], list[bool]]:
    """What a .bin of the known answer holds."""
    pairs = known_pairs(mistakes)
    images = [jpeg(colour) for left, right, _ in pairs for colour in (left, right)]
    return images, [same for *_, same in pairs]


def python_2_pickle(images: Sequence[bytes], same: Sequence[bool], protocol: int) -> bytes:
    """The bytes that Python 2's cPickle writes of (images, same), memo left out."""
    if protocol == 0:
        strings = b"".join(b"S" + repr(image).encode()[1:] + b"\na" for image in images)
        truths = b"".join(b"I01\na" if value else b"I00\na" for value in same)
        return b"((l" + strings + b"(l" + truths + b"t."
    strings = b"".join(
        b"U" + bytes([len(image)]) + image
        if len(image) < 256
        else b"T" + struct.pack("<i", len(image)) + image
        for image in images
    )
    if protocol == 1:
        truths = b"".join(b"I01\n" if value else b"I00\n" for value in same)
        return b"(](" + strings + b"e](" + truths + b"et."
    truths = b"".join(b"\x88" if value else b"\x89" for value in same)
    return b"\x80\x02](" + strings + b"e](" + truths + b"e\x86."


def write_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


GROUPS = ("African", "Asian", "Caucasian", "Indian")


def make_rfw(root: Path, mistakes: Mapping[str, Sequence[str]], *, header: bool = False) -> Path:
    """Four groups with the known answer, of whose mistakes each makes the named ones.

    In fold K person m.K has photographs 1 (RED), 2 (RED) and 3 (of the second genuine pair),
    n.K has 1 and 2.
    """
    for group in GROUPS:
        lines = ["10\t2"] if header else []
        for fold in range(NUM_FOLDS):
            far = fold == 3 and GENUINE in mistakes[group]
            near = fold == 7 and IMPOSTOR in mistakes[group]
            m, n = f"m.{fold}", f"n.{fold}"
            shades = {m: [RED, RED, GREEN if far else RED], n: [CYAN, RED if near else CYAN]}
            for person, each in shades.items():
                for number, colour in enumerate(each, 1):
                    save(root / f"data/{group}/{person}/{person}_{number:04}.jpg", colour)
            lines += [f"{m}\t1\t2", f"{m}\t1\t3", f"{m}\t1\t{n}\t1", f"{m}\t1\t{n}\t2"]
        path = root / f"txts/{group}/{group}_pairs.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    return root


def make_folder(root: Path, people: Mapping[str, int]) -> Path:
    """One folder a person with so many photographs; the even people are RED, the odd ones CYAN."""
    for number, (person, count) in enumerate(people.items()):
        for image in range(count):
            save(root / person / f"{image}.png", CYAN if number % 2 else RED)
    return root


def make_templates(root: Path) -> Path:
    """Four templates of three people; the mean over media is not the mean over images.

    a/1: a video of two RED frames and a GREEN photograph: (1, 1) / √2 in (RED, GREEN).
    a/2: RED. b/3: GREEN. c/4: CYAN. Ten folds compare a/1-a/2 (1/√2), a/1-b/3 (1/√2),
    a/2-b/3 (0) and a/2-c/4 (-1).
    """
    shades = {"r1": RED, "r2": RED, "g": GREEN, "r3": RED, "g2": GREEN, "c": CYAN}
    for name, colour in shades.items():
        save(root / f"images/{name}.png", colour)
    members = [
        (1, "a", "video", "r1.png"), (1, "a", "video", "r2.png"), (1, "a", "still", "g.png"),
        (2, "a", "x", "r3.png"), (3, "b", "x", "g2.png"), (4, "c", "x", "c.png"),
    ]  # fmt: skip
    write_rows(root / "templates.csv", ("template_id", "subject_id", "media_id", "image"), members)
    pairs = [(fold, *pair) for fold in range(10) for pair in ((1, 2), (1, 3), (2, 3), (2, 4))]
    write_rows(root / "pairs.csv", ("fold", "left", "right"), pairs)
    return root


def encoded_bomb(width: int, height: int) -> bytes:
    """A PNG that claims to be large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")
