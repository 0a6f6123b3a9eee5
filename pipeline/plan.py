"""Forecast the shards, files, bytes and hours of render and embed.

    facestill plan [ROUND …] [--faces N] [--teacher NAME] [--workers W] [--json FILE]

Rounds are planned together, each number of faces for itself; without either, all rounds that
have a manifest. Shards and files are exact; bytes and hours are estimates that say where they
are from. Exit 1 if what is still to be written does not fit on the disk.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from manifests.building.ledger import read_ledger
from manifests.core import layout
from manifests.core.errors import InputError, Parser, run_command
from manifests.core.files import require_file_place, require_new, write_json
from manifests.settings.params import load_params
from manifests.stores.latents import FOLDER
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.passport import Passport
from manifests.stores.rounds import read_manifest
from pipeline.building.faces import check_shard_rows
from pipeline.building.shards import Build
from pipeline.building.workers import num_cores
from pipeline.embed import open_embedding
from pipeline.generators import load_generator
from pipeline.planning.estimates import Parts, estimate, spread_over
from pipeline.planning.forecasts import forecast
from pipeline.planning.report import Plan, as_json, notes, table, warnings
from pipeline.render import open_rendering
from pipeline.teachers import load_teacher
from pipeline.teachers.base import in_precision


def main() -> int:
    args = _arguments()
    params = load_params()
    params = replace(params, teacher=args.teacher or params.teacher)
    check_shard_rows(params.render)
    names = args.round or ([] if args.faces else rounds_here())
    generator = load_generator(params.generator, layout.WEIGHTS)
    generator = generator.in_space(params.latent_space, params.psi)
    teacher = load_teacher(params.teacher_text(params.teacher), layout.WEIGHTS)
    teacher = in_precision(teacher, params.embed.precision, params.device)
    parts = Parts(params, generator, teacher)
    plan = plan_of(names, args.faces, parts, workers=args.workers)
    warned = (f"warning: {text}" for text in warnings(plan))
    print(*table(plan), "", *notes(plan), *warned, sep="\n")
    if args.json:
        _write(args.json, plan)
    return 0 if plan.fits else 1


def _arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument(
        "round", type=layout.round_name, nargs="*", help="default: all that have a manifest"
    )
    parser.add_argument(
        "--faces", metavar="N", type=int, action="append", default=[],
        help="a round of N latents; may be repeated",
    )  # fmt: skip
    parser.add_argument("--teacher", help="default: the one in params.yaml")
    parser.add_argument("--workers", type=int, help="hours with so many; default: as measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes the numbers there")
    parser.add_force()
    args = parser.parse_args()
    if args.json:
        require_file_place(args.json)
        require_new(args.json, force=args.force)
    for option, given in (("--faces", args.faces), ("--workers", [args.workers])):
        bad = [count for count in given if count is not None and count < 1]
        if bad:
            raise InputError(f"{option} {bad[0]}: expected at least 1")
    return args


def _write(path: Path, plan: Plan) -> None:
    try:
        write_json(path, as_json(plan))
    except (OSError, ValueError) as error:  # no name of a file, say
        raise InputError(f"--json {path}: cannot be written ({error})") from None


def rounds_here() -> list[str]:
    """Names of the rounds that this checkout renders; those of other teams lie deeper."""
    names = sorted(path.stem for path in layout.MANIFESTS.glob("*.parquet"))
    names = [name for name in names if read_manifest(name).recipe.generator != FOLDER]
    if not names:
        raise InputError(f"{layout.MANIFESTS}: no manifest; sample a round, or give --faces N")
    return names


def plan_of(
    names: Sequence[str], counts: Sequence[int], parts: Parts, *, workers: int | None = None
) -> Plan:
    """For rounds by their names, and for numbers of latents. `workers`: in place of as many as
    this machine has cores, by which the rates are taken to be measured."""
    cores = num_cores()
    renderings = [open_rendering(name, parts.params) for name in names]
    estimates = estimate(parts)
    if workers is not None:
        estimates = spread_over(estimates, workers, cores)
    rounds = [
        forecast(each.name, each.num_rows, parts, estimates, done=shards_done(each, parts))
        for each in renderings
    ]
    simulated = [forecast(f"{count:,}", count, parts, estimates) for count in counts]
    free = shutil.disk_usage(layout.DATA if layout.DATA.exists() else ".").free
    return Plan(rounds, simulated, parts, estimates, free, workers or cores)


def shards_done(render: Build, parts: Parts) -> tuple[int, int]:
    """(rendered, embedded) shards of a round that ledgers in .work name; whether their files
    are sound is for the stages to see."""
    rendered = _named(render)
    if not render.finished or not (render.output / PASSPORT).exists():
        return rendered, 0
    if Passport.read(render.store).merkle_root != Passport.read(render.output).merkle_root:
        return rendered, 0  # faces of other inputs, which will go
    return rendered, _named(open_embedding(render.name, parts.params.teacher, parts.params))


def _named(build: Build) -> int:
    lines = read_ledger(build.ledger, torn_tail=True).shards
    return len({line.shard for line in lines})


if __name__ == "__main__":
    run_command(main)
