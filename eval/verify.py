"""Verify a model on photographs: metrics.json and scores.parquet.

    facestill verify --model runs/mined-2 --benchmark orl --out DIR
    facestill verify --model teacher:dlib-resnet --benchmark pairs:FOLDER --out DIR
    facestill verify … --protocol FILE.parquet     refuses anything but what was frozen
    facestill verify --stage mined-2     the run, its 8-bit file and its teacher, side by side

A dead end on purpose: nothing that trains or mines reads what is written here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from eval.benchmarks import open_benchmark, require_frozen
from eval.benchmarks.base import Protocol
from eval.photos.embedding import (
    VIEWS,
    Finder,
    declared_views,
    embed_protocol,
    frame_coverage,
    placed,
)
from eval.photos.models import Model, load_model
from eval.scoring.verification import Verification, verify
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, run_command
from manifests.core.files import write_json
from manifests.core.tables import write_table
from manifests.photographs.images import DETECT_THRESHOLD
from manifests.photographs.protocols import Benchmark
from manifests.photographs.scores import KIND
from manifests.records.exports import INT8
from manifests.settings.params import Params, load_params
from pipeline.arrays.align import Aligner, find_in_photograph

FACTS = ("model", "model_sha256", "metric", "views", "benchmark", "protocol_sha256", "subject_rule")


def finder(protocol: Protocol) -> Finder:
    """Where the face is: as declared for aligned images, detected in photographs."""
    if protocol.frame is not None:
        return partial(placed, protocol.frame)
    return partial(find_in_photograph, Aligner(layout.WEIGHTS, threshold=DETECT_THRESHOLD))


def verify_models(
    models: Sequence[Model], protocol: Protocol, views: str | None = None
) -> list[Verification]:
    """Every model on the same found faces, by its own views unless others are named."""
    used = [views or declared_views(model) for model in models]
    for model in models:
        _warn_of_edges(model, protocol)
    embedded, detected = embed_protocol(protocol, models, used, finder(protocol))
    return [verify(protocol, each, detected, use) for each, use in zip(embedded, used, strict=True)]


def _warn_of_edges(model: Model, protocol: Protocol) -> None:
    if protocol.frame is None:
        return
    covered = frame_coverage(protocol.frame, model.frame)
    if covered < 1.0:
        print(
            f"warning: {model.name} looks at the frame {model.frame.name}, of which the images "
            f"(crops in {protocol.frame.name}) hold {covered:.1%}; their edges are repeated for "
            "the rest (frame_coverage in metrics.json)",
            file=sys.stderr,
        )


def write(done: Verification, out: Path) -> None:
    """metrics.json and scores.parquet, and a line to read."""
    metrics = done.metrics
    facts = {name: str(metrics[name]) for name in FACTS}
    write_table(out / "scores.parquet", KIND, done.scores, facts)
    write_json(out / "metrics.json", metrics)
    low, high = metrics["accuracy_ci95"]
    print(
        f"{metrics['model']} on {metrics['benchmark']}: accuracy {metrics['accuracy']:.4f} "
        f"[{low:.4f}, {high:.4f}], {metrics['num_pairs']} pairs"
    )


def stage(run: str, params: Params) -> None:
    """The run's student, as 8 bits too where it was exported so, and the teacher: on orl and,
    where params name a folder, on pairs."""
    protocols = open_protocols(params)
    teacher = params.teacher_text(params.teacher)
    names = {"student": layout.run(run).as_posix(), "teacher": f"teacher:{teacher}"}
    int8 = layout.export(run) / INT8
    if int8.exists():
        names["student-int8"] = f"onnx:{int8.as_posix()}"
    models = [load_model(name, layout.WEIGHTS) for name in names.values()]
    done = {
        layout.verification(name, role): verification
        for name, protocol in protocols.items()
        for role, verification in zip(names, verify_models(models, protocol), strict=True)
    }
    for out, verification in done.items():
        write(verification, out)


def open_protocols(params: Params) -> dict[str, Protocol]:
    """orl and, where params name a folder, pairs: {name: protocol}."""
    protocols = {"orl": open_benchmark("orl")}
    if params.verify.pairs is not None:
        protocols["pairs"] = open_benchmark(f"pairs:{params.verify.pairs}")
        _check_protocol(protocols["pairs"], params.verify.pairs, params.verify.protocol)
    return protocols


def _check_protocol(protocol: Protocol, folder: str, wanted: str | None) -> None:
    found = protocol.benchmark.protocol_sha256
    if wanted is not None and found != wanted:
        raise InputError(
            f"{folder}: protocol {found[:12]}, params.yaml says {wanted[:12]}; "
            "bring that folder or change verify.protocol"
        )


def _check_folder(out: Path) -> None:
    nearest = next(path for path in (out, *out.parents) if path.exists())
    if not nearest.is_dir():
        raise InputError(f"{out}: {nearest} is a file; name a folder with --out")


def _read_frozen(path: Path) -> Benchmark:
    if not path.is_file():
        raise InputError(f"{path}: no such file; make it with facestill freeze")
    return Benchmark.read(path)


def _measure(args: argparse.Namespace) -> None:
    """Everything that can be refused is refused before the measuring."""
    _check_folder(args.out)
    model = load_model(args.model, layout.WEIGHTS)
    frozen = _read_frozen(args.protocol) if args.protocol else None
    protocol = open_benchmark(args.benchmark)
    if frozen is not None:
        require_frozen(protocol, frozen, args.protocol)
    (done,) = verify_models([model], protocol, args.views)
    write(done, args.out)


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--model", help="a run directory, teacher:NAME or onnx:PATH")
    parser.add_argument(
        "--benchmark", help="orl, or pairs:, rfw:, templates: or folder:DIR, or bin:FILE"
    )
    parser.add_argument("--out", type=Path, help="folder for metrics.json and scores.parquet")
    parser.add_argument(
        "--protocol", type=Path, metavar="FILE", help="of facestill freeze; must be unchanged"
    )
    parser.add_argument("--views", choices=VIEWS, help="instead of those that the model declares")
    parser.add_argument("--stage", metavar="RUN", help="run and teacher, into reports/verify/")
    args = parser.parse_args()
    if args.stage:
        with timed("verify"):
            stage(args.stage, load_params())
    elif args.model and args.benchmark and args.out:
        _measure(args)
    else:
        raise InputError("give --model, --benchmark and --out")


if __name__ == "__main__":
    run_command(main)
