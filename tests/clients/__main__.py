"""Cosines of a student's files for clients to the student itself, on photographs.

    python -m tests.clients runs/mined-2 --photographs FOLDER [--weights DIR]

By every client that is installed, else by onnxruntime fed as the client feeds it. Every 40th
photograph, cut as `facestill match` cuts it; milliseconds are the thread's own.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

from manifests.core import layout
from manifests.photographs.listing import list_images
from manifests.records.clients import RECORD, ClientRecord
from pipeline.aligners import DEFAULT, load_aligner
from pipeline.arrays.align import crop_photograph
from pipeline.arrays.frames import ARCFACE112
from tests.clients import rows_of_the_student
from train.exporting.client_files import client_of, cosines

STEP = 40


def crops_of(folder: Path, weights: Path) -> np.ndarray:
    """RGB crops in arcface112 of the photographs in which a face is found."""
    aligner, crops = load_aligner(DEFAULT, weights), []
    for name in list_images(folder)[::STEP]:
        picture = np.array(Image.open(folder / name).convert("RGB"))
        (face,) = aligner.find([picture])
        if face.detected:
            crops.append(crop_photograph(picture, face, ARCFACE112).permute(1, 2, 0).numpy())
    return np.stack(crops).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=layout.WEIGHTS)
    args = parser.parse_args()
    crops = crops_of(args.photographs, args.weights)
    wanted = rows_of_the_student(args.run, crops)
    for path in sorted(layout.export(args.run.name).glob(f"*/{RECORD}")):
        record = ClientRecord.read(path.parent)
        for file in record.files:
            measured_by, embed = client_of(record.client).opened(path.parent / file)
            embed(crops[:2])
            start = time.thread_time()
            found = cosines(embed(crops), wanted)
            spent = 1000 * (time.thread_time() - start) / len(crops)
            print(
                f"{record.client}/{file} by {measured_by}: cosine {found.mean():.6f} in the mean, "
                f"{found.min():.6f} at least, {len(crops)} photographs, {spent:.2f} ms a face"
            )


if __name__ == "__main__":
    main()
