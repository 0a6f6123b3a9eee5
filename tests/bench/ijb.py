"""Reading and scoring a stand-in of IJB-C by its number of pairs: CPU seconds and peak memory.

    python -m tests.bench.ijb 1000000

IJB-C's 23,124 templates of 3,531 people, of one drawn picture each, and made-up embeddings.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from PIL import Image

from eval.benchmarks import ijb, open_benchmark
from eval.photos import verification
from eval.photos.embedding import Embedded
from eval.photos.verification import verify
from tests.protocols import colours

TEMPLATES, PEOPLE, GENUINE, WIDTH = 23_124, 3_531, 19_557, 512
POINTS = "12 14 20 14 16 18 13 22 19 22"


def make(root: Path, count: int) -> None:
    """The first template of everyone is in a gallery, the others are probes."""
    rng = np.random.default_rng(0)
    subject = np.append(np.arange(PEOPLE), rng.integers(PEOPLE, size=TEMPLATES - PEOPLE))
    left = rng.integers(TEMPLATES, size=count)
    right = (left + 1 + rng.integers(TEMPLATES - 1, size=count)) % TEMPLATES
    order = np.argsort(subject, kind="stable")
    mates = np.flatnonzero(subject[order[:-1]] == subject[order[1:]])[:GENUINE]
    left[: len(mates)], right[: len(mates)] = order[mates], order[mates + 1]
    same = (subject[left] == subject[right]).astype(int)
    file = BytesIO()
    Image.new("RGB", (32, 32), "grey").save(file, "JPEG")
    (root / "meta").mkdir()
    (root / "loose_crop").mkdir()
    for row in range(TEMPLATES):
        (root / f"loose_crop/{row}.jpg").write_bytes(file.getvalue() + row.to_bytes(4))
    rows = range(TEMPLATES)
    lists = {
        "name_5pts_score.txt": [f"{row}.jpg {POINTS} 0.9" for row in rows],
        "face_tid_mid.txt": [f"{row}.jpg {row} {row}" for row in rows],
    }
    half = PEOPLE // 2
    for name, own in {
        "gallery_G1": rows[:half], "gallery_G2": rows[half:PEOPLE], "probe_mixed": rows[PEOPLE:],
    }.items():  # fmt: skip
        head = "TEMPLATE_ID,SUBJECT_ID"
        lists[f"1N_{name}.csv"] = [head, *(f"{row},{subject[row]}" for row in own)]
    for name, lines in lists.items():
        (root / f"meta/ijbc_{name}").write_text("\n".join(lines) + "\n")
    options = pc.WriteOptions(include_header=False, delimiter=" ")
    table = pa.table({"left": left, "right": right, "same": same})
    pc.write_csv(table, root / "meta/ijbc_template_pair_label.txt", options)


def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    def call(*given: Any, **more: Any) -> Any:
        start = time.process_time()
        done = work(*given, **more)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"| {name} | {time.process_time() - start:.1f} | {peak:.2f} |", flush=True)
        return done

    return call


def main(count: int) -> None:
    rng = np.random.default_rng(1)
    with TemporaryDirectory() as folder:
        make(Path(folder), count)
        print(f"| {count:,} pairs | CPU seconds | peak so far, GiB |\n|---|---|---|")
        with patch.object(ijb, "image_hashes", timed("of opening: images", ijb.image_hashes)):
            protocol = timed("opening", open_benchmark)(f"ijb:{folder}")
        timed("digest", lambda: protocol.benchmark.protocol_sha256)()
        names, points = protocol.benchmark.images, protocol.points
        assert points is not None
        rows = rng.standard_normal((len(names), WIDTH)).astype(np.float32)
        for step in ("score_pairs", "figures_of_pairs", "identification_figures"):
            setattr(verification, step, timed(f"of measuring: {step}", getattr(verification, step)))
        embedded, faces = Embedded(colours(), {"plain": rows}), points.faces(names)
        done = timed("measuring", verify)(protocol, embedded, faces, "plain")
        timed("writing", done.write)(Path(folder) / "out")


if __name__ == "__main__":
    main(int(sys.argv[1]))
