"""Finished runs that were never run: real writers, random pictures, no network trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from eval.attributes.coverage import FaceSet
from eval.benchmarks import open_benchmark
from eval.benchmarks.base import Protocol
from eval.drift import drift
from eval.photos.embedding import Embedded
from eval.photos.models import Model
from eval.photos.verification import Verification, verify
from manifests.core import layout
from manifests.core.digests import canonical_json
from manifests.core.files import read_json, write_json
from manifests.photographs.images import ImageFolder
from manifests.photographs.protocols import Benchmark
from manifests.records.attributes import FACES, PHOTOGRAPHS, Attribute, AttributeTable, Source
from manifests.records.boundaries import Boundaries
from manifests.records.gaps import GapTable
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import FaceStore
from pipeline.arrays.align import Face
from pipeline.arrays.frames import ARCFACE112
from pipeline.arrays.landmarks import ARCFACE5
from tests.toys import make_round
from train.checkpoint import FILE, LOG, StudentCard, load_student, save_student
from train.students import build_student

RUNS = ("start", "mined-1", "mined-2")
TRAINED = ("pool", "identities", "mined-1", "mined-2")
NUM_REGIONS = 3
NAMES = [f"{number:02}.png" for number in range(60)]
PAIRED = [(row % 2, left, right, row % 4 < 2) for row, (left, right) in enumerate(pairwise(NAMES))]


def round_with(name: str, origin: str, **columns: np.ndarray) -> None:
    """A round whose manifest has these nullable columns."""
    count = len(next(iter(columns.values())))
    make_round(name, count, seed=7, failed=0.1, origin=origin, law="toy-law", **columns)


def make_rounds(num_mined: int) -> None:
    make_round("pool", 100, seed=1)
    make_round("probe", 40, seed=2)
    pool = LatentManifest.read(layout.manifest("pool"))
    references = np.repeat(pool.face_id[:7], 8)
    side = np.tile([-1, 1], 28).astype(np.int8)
    identity = np.repeat(np.arange(7), 8) * 2 + (side > 0)
    round_with("identities", "boundary", parent_id=references, side=side, identity_id=identity)
    for name in RUNS[1:]:
        parents = np.random.default_rng(0).choice(pool.face_id, num_mined)
        score, step = (np.full(num_mined, value, np.float32) for value in (0.6, 0.7))
        region = np.zeros(num_mined, np.int32)
        round_with(name, "mined", parent_id=parents, region_id=region, score=score, step=step)
    normals = np.eye(8, dtype=np.float32)[:7]
    reasons = ("", "", "", "", "", "", "inaccurate")
    accuracy = np.full(7, 0.7, np.float32)
    Boundaries(
        pool.face_id[:7],
        normals,
        accuracy,
        reasons,
        "z",
        "ridge",
        pool.digest,
        "0" * 64,
        np.ones(8),
    ).write(layout.boundaries("pool"))


def make_run(index: int, num_steps: int) -> None:
    """runs/NAME with a log of `num_steps` lines, and its figures on the probe."""
    name, trained = RUNS[index], TRAINED[: index + 2 if index else 1]
    paths = [p for r in trained for p in (layout.faces(r), layout.teacher(r, "toy"))]
    roots = {path.as_posix(): read_json(path / "passport.json")["merkle_root"] for path in paths}
    card = StudentCard(
        "small-resnet", 32, 0.25, 16, "arcface112", "cosine", "plain", canonical_json(roots),
        "0" * 64, "unknown", 640 + 64 * num_steps * index,
    )  # fmt: skip
    network = build_student("small-resnet", input_size=32, width=0.25, embedding_width=16)
    save_student(layout.run(name) / FILE, network, card)
    steps = 10 if index == 0 else num_steps
    history = [{"faces_seen": 64 * k, "loss": 1 / k, "learning_rate": 0.1} for k in range(1, steps)]
    sha256 = load_student(layout.run(name)).sha256
    student = asdict(card) | {"num_params": 1234, "sha256": sha256}
    log = {"student": student, "rounds": trained, "num_faces": 99, "history": history}
    after = RUNS[index - 1] if index else None
    write_json(layout.run(name) / LOG, {**log, "after": after, "train_seconds": 1.5})
    gap = {"mean": 0.5 - 0.1 * index, "standard_error": 0.01, "num_faces": 40}
    write_json(layout.gap_report(name), {"student_sha256": sha256, "probe": gap, "pool": gap})


def make_gaps() -> None:
    """The regions of mined-1, the probe's gaps of the last student, and those of parents and
    children by the students that were mined for."""
    for name in RUNS[1:]:
        gap_table("probe", "", NUM_REGIONS).write(layout.regions(name))
    last = gap_table("probe", RUNS[-1], NUM_REGIONS)
    unknown = np.full(len(last.face_id), -1, np.int32)
    replace(last, region=unknown, gap=last.gap / 2, flip_gap=last.flip_gap / 2).write(
        layout.gap_table(RUNS[-1], "probe")
    )
    for before, after in pairwise(RUNS):
        gap_table("pool", before).write(layout.gap_table(before, "pool"))
        gap_table(after, before).write(layout.children_gaps(after))


def gap_table(round: str, run: str, num_regions: int = 1) -> GapTable:
    """Gaps of a round's usable faces by a run's student; its regions in turn, 0.5, 0.4, …"""
    root = read_json(layout.teacher(round, "toy") / "passport.json")["merkle_root"]
    ok = FaceStore.open(layout.faces(round)).ok()
    ids = LatentManifest.read(layout.manifest(round)).face_id[ok]
    region = np.arange(len(ids), dtype=np.int32) % num_regions
    gap = (0.5 - 0.1 * region).astype(np.float32)
    student = load_student(layout.run(run)).sha256 if run else "0" * 64
    return GapTable(ids, gap, gap, gap, region, gap, student, root)


def make_photographs(folder: Path) -> Protocol:
    """A folder for pairs:DIR, of pictures of noise."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for name in NAMES:
        pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / name)
    rows = [f"{fold},{left},{right},{int(same)}" for fold, left, right, same in PAIRED]
    (folder / "pairs.csv").write_text("\n".join(["fold,left,right,same", *rows]))
    return open_benchmark(f"pairs:{folder}")


def make_protocol(name: str) -> Protocol:
    """The same pairs, without any pictures."""
    fold, left, right, same = zip(*PAIRED, strict=True)
    hashes = dict.fromkeys(NAMES, "0" * 64)
    benchmark = Benchmark(name, np.array(fold, np.int16), left, right, np.array(same), hashes)
    return Protocol(benchmark, ImageFolder(Path("photographs")), "image")


MEASURED: dict[tuple[str, str], Verification] = {}  # figures take seconds, and are the same


def make_verification(protocol: Protocol, student_sha256: str) -> None:
    """reports/verify/NAME by the code that measures, of random embeddings."""
    for seed, (role, sha256) in enumerate((("student", student_sha256), ("teacher", "1" * 64))):
        key = (protocol.benchmark.protocol_sha256, role)
        if key not in MEASURED:
            MEASURED[key] = _measure(protocol, role, seed)
        done = MEASURED[key]
        done = Verification(done.pairs, {**done.metrics, "model_sha256": sha256})
        done.write(layout.verification(protocol.benchmark.name, role))


def _measure(protocol: Protocol, role: str, seed: int) -> Verification:
    outputs = np.random.default_rng(seed).standard_normal((len(NAMES), 48), np.float32)
    model = Model(role, "", ARCFACE112.at(4), "cosine", False, lambda x: x.flatten(1))
    here = ARCFACE5.inside(ARCFACE112)
    faces = [Face(here, 1.0, detected=row > 0) for row in range(len(NAMES))]
    return verify(protocol, Embedded(model, {"plain": outputs}), faces, "plain")


def make_drift() -> None:
    """reports/drift.json: the pool's faces look to the left, photographs to both sides."""
    ids = LatentManifest.read(layout.manifest("pool")).face_id
    faces = FaceStore.open(layout.faces("pool"))
    annotator = {"name": "toy", "version": "1"}
    yaw = Attribute("yaw", "degrees", -90.0, 90.0, (-45.0, -15.0, 15.0, 45.0), "to the right")
    left = np.where(np.arange(len(ids)) < 98, -20, 20).astype(np.float32)[:, None]
    both = np.tile([-20.0, 20.0], 30).astype(np.float32)[:, None]
    images = tuple(f"s{row}/1.pgm" for row in range(len(both)))
    people = tuple(Path(image).parent.name for image in images)
    sources = (Source(FACES, "pool", faces.root), Source(PHOTOGRAPHS, "orl", "0" * 64))
    synthetic = AttributeTable(annotator, sources[0], (yaw,), left, ids, None, ("",) * len(ids))
    real = AttributeTable(annotator, sources[1], (yaw,), both, None, images, people)
    report = drift([FaceSet("orl", (real,))], FaceSet("synthetic", (synthetic,)))
    write_json(layout.REPORTS / "drift.json", report)


def make_costs() -> None:
    """What building the pool cost."""
    layout.COSTS.mkdir(parents=True)
    for stage, seconds, rows in (("render", 2.0, 100), ("embed", 4.0, 80), ("gap", 3.0, None)):
        line = {"stage": f"{stage}@pool", "seconds": seconds, "rows": rows}
        (layout.COSTS / f"{stage}@pool.jsonl").write_text(json.dumps(line) + "\n")


def make_everything(
    *,
    num_mined: int = 12,
    benchmarks: Sequence[str] = ("orl",),
    photographs: Path | None = None,
) -> None:
    """All that a report of mined-2 reads; `photographs`: a folder to make and measure as pairs."""
    make_rounds(num_mined)
    for index in range(len(RUNS)):
        make_run(index, num_steps=5 if num_mined else 0)
    make_gaps()
    protocols = [make_protocol(name) for name in benchmarks]
    if photographs is not None:
        protocols.append(make_photographs(photographs))
    for protocol in protocols:
        make_verification(protocol, load_student(layout.run("mined-2")).sha256)
