"""Verify a model on photographs: metrics.json and scores.parquet.

    facestill verify --model runs/mined-2 --benchmark orl --out DIR
    facestill verify --model teacher:dlib-resnet --benchmark pairs:FOLDER --out DIR
    facestill verify … --protocol FILE.parquet     refuses anything but what was frozen
    facestill verify … --frame arcface112     the images are crops already
    facestill verify … --groups TABLE --by Asian,Black,White Male     figures by groups of people
    facestill verify … --probes MODEL     embeds right sides and probes: another modality
    facestill verify --stage mined-2     the run, its 8-bit file and its teacher, side by side

A dead end on purpose: nothing that trains or mines reads what is written here.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from eval.alignment import LISTED, LONGEST, Alignment, Asked, add_options, alignment_of, asked
from eval.benchmarks import open_benchmark, open_protocols, require_frozen
from eval.benchmarks.base import Protocol
from eval.photos import people
from eval.photos.crossing import crossed, verify_across
from eval.photos.models import VIEWS, load_model
from eval.photos.verification import check_replaced, verify_models
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.locks import writing
from manifests.photographs.protocols import Benchmark
from manifests.records.exports import INT8
from manifests.settings.params import Params, load_params


def stage(run: str, params: Params, *, force: bool = False) -> None:
    """The run's student, as 8 bits too where it was exported so, and the teacher: on orl and,
    where params name a folder, on pairs."""
    protocols = open_protocols(params)
    teacher = params.teacher_text(params.teacher)
    names = {"student": layout.run(run).as_posix(), "teacher": f"teacher:{teacher}"}
    int8 = layout.export(run) / INT8
    if int8.exists():
        names["student-int8"] = f"onnx:{int8.as_posix()}"
    models = [load_model(name, layout.WEIGHTS) for name in names.values()]
    for name, protocol in protocols.items():
        for role, model in zip(names, models, strict=True):
            check_replaced(layout.verification(name, role), model, protocol, None, force=force)
    done = {
        layout.verification(name, role): verification
        for name, protocol in protocols.items()
        for role, verification in zip(names, verify_models(models, protocol), strict=True)
    }
    for out, verification in done.items():
        verification.write(out)


def _check_folder(out: Path) -> None:
    nearest = next(path for path in (out, *out.parents) if path.exists())
    if not nearest.is_dir():
        raise InputError(f"{out}: {nearest} is a file; name a folder with --out")


def open_frozen(
    text: str, path: Path, options: Asked, groups: Path | None = None, by: Sequence[str] = ()
) -> Protocol:
    """Aligned by the rule of the frozen file, with the groups asked for, and what was frozen."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; make it with facestill freeze")
    frozen = Benchmark.read(path)
    opened = open_benchmark(text, _frozen_alignment(frozen.alignment, path, options))
    protocol = people.as_frozen(people.with_groups(opened, text, groups, by), frozen)
    require_frozen(protocol, frozen, path)
    return protocol


def _frozen_alignment(rule: str, path: Path, options: Asked) -> Alignment | None:
    """None where the images came with the points of their faces."""
    try:
        if rule.startswith(LISTED):
            options.require_none(f"the faces are where {rule[:LONGEST]!r} has them")
            return None
        return alignment_of(rule, options)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _measure(args: argparse.Namespace) -> None:
    """Everything that can be refused is refused before the measuring."""
    _check_folder(args.out)
    model = load_model(args.model, layout.WEIGHTS)
    if args.protocol is None:
        opened = open_benchmark(args.benchmark, asked(args).alignment)
        protocol = people.with_groups(opened, args.benchmark, args.groups, args.by)
    else:
        protocol = open_frozen(args.benchmark, args.protocol, asked(args), args.groups, args.by)
    if args.quality is not None:
        protocol = protocol.weighed(args.quality)
    probes = load_model(args.probes, layout.WEIGHTS) if args.probes else None
    named = crossed(model, probes) if probes else model
    check_replaced(args.out, named, protocol, args.views, force=args.force)
    with writing(args.out):
        if probes:
            done = verify_across(model, probes, protocol, args.views)
        else:
            (done,) = verify_models([model], protocol, args.views)
        done.write(args.out)
    conclude(args.out, "metrics.json, scores.parquet", f"facestill compare {args.out} OTHER")


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--model", help="a run, teacher:NAME or onnx:PATH")
    parser.add_argument("--probes", metavar="MODEL", help="that embeds right sides and probes")
    parser.add_argument(
        "--benchmark", help="orl, pairs:DIR, lfw:DIR, bin:FILE, … (docs/EVALUATION.md)"
    )
    parser.add_argument("--out", type=Path, help="folder for metrics.json and scores.parquet")
    parser.add_argument(
        "--protocol", type=Path, metavar="FILE", help="of facestill freeze; must be unchanged"
    )
    add_options(parser)
    people.add_options(parser)
    parser.add_argument(
        "--quality", type=Path, metavar="TABLE", help="of facestill face-quality: weighs templates"
    )
    parser.add_argument("--views", choices=VIEWS, help="instead of those that the model declares")
    parser.add_argument(
        "--stage", type=layout.run_name, metavar="RUN", help="run and teacher, into reports/verify/"
    )
    parser.add_force()
    args = parser.parse_args()
    if args.stage:
        asked(args).require_none("--stage takes params.yaml's")
        if args.groups or args.by or args.quality:
            raise InputError(
                "--stage takes no --groups and no --quality; give --model, --benchmark and --out"
            )
        if args.probes:
            raise InputError("--stage takes no --probes; give --model, --benchmark and --out")
        with timed("verify"), writing(layout.REPORTS / "verify"):
            stage(args.stage, load_params(), force=args.force)
        conclude(layout.REPORTS / "verify", "measured", f"facestill report {args.stage}")
    elif args.model and args.benchmark and args.out:
        _measure(args)
    else:
        raise InputError("give --model, --benchmark and --out")


if __name__ == "__main__":
    run_command(main)
