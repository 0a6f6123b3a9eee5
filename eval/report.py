"""Write the report of a run: reports/index.html, summary.json, metrics.json.

    facestill report mined-2     the last run; the runs before it are found in its log

Also training.csv and roc.csv, the figures' numbers. Reads finished files only. The page is one
file that opens offline. It holds photographs only of the folder that the user names under verify:
pairs in params.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from eval.reporting.benchmarks import (
    ORL,
    PAIRS,
    ROLES,
    drawn_over,
    interval_of,
    read_benchmarks,
)
from eval.reporting.curves import read_roc, roc_csv, training_csv, training_curve
from eval.reporting.drift_section import read_drift
from eval.reporting.gathered import Results
from eval.reporting.page import page_content, render_page
from eval.reporting.summary import (
    check_trained_on,
    key_figures,
    read_chain,
    summarise,
)
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, conclude, run_command, to_open
from manifests.core.files import read_json, write_json, write_text
from manifests.core.layout import PROBE
from manifests.core.locks import writing
from manifests.settings.params import Params, load_params
from manifests.stores.rounds import open_round
from pipeline.arrays.numerics import count_macs
from pipeline.teachers import load_teacher
from train.checkpoint import Student, load_student


@dataclass(frozen=True)
class Size:
    """None where it cannot be told: a network that torch does not run, or that is not here."""

    num_params: int | None
    macs: int | None
    input_size: int | None  # pixels
    frame: str | None


UNKNOWN = Size(None, None, None, None)


def size_of_student(student: Student) -> Size:
    card = student.card
    num_params = sum(own.numel() for own in student.network.parameters())
    macs = count_macs(student.network, card.input_size)
    return Size(num_params, macs, card.input_size, card.frame)


def size_of_teacher(name: str, weights: Path) -> Size:
    """UNKNOWN where its weights are not here: its embeddings may have come from others."""
    try:
        teacher = load_teacher(name, weights)
    except InputError:
        return UNKNOWN
    networks = [own for own in vars(teacher).values() if isinstance(own, nn.Module)]
    num_params = sum(own.numel() for network in networks for own in network.parameters())
    macs = count_macs(teacher.embed, teacher.frame.size)
    return Size(num_params or None, macs, teacher.frame.size, teacher.frame.name)


def gather(run: str, params: Params) -> Results:
    """Opens what `run` was made from and checks that all of it belongs together."""
    chain = read_chain(run)
    names = [*chain[-1].rounds, PROBE]
    rounds = [open_round(name, params.teacher) for name in names]
    check_trained_on(chain[-1], rounds)
    student = load_student(layout.run(run))
    asked = [ORL, *([PAIRS] if params.verify.pairs else [])]
    benchmarks = read_benchmarks(student.sha256, asked)
    sizes = {
        "student": asdict(size_of_student(student)),
        "teacher": asdict(size_of_teacher(params.teacher_text(params.teacher), layout.WEIGHTS)),
    }
    summary = summarise(
        chain, rounds, benchmarks, sizes, teacher=params.teacher, student_sha256=student.sha256
    )
    curves = [
        read_roc(layout.verification(name, role), name, role, with_band=True)
        for name in benchmarks
        for role in ROLES
    ]
    by_name = dict(zip(names, rounds, strict=True))
    return Results(chain, by_name, curves, summary, read_drift(rounds))


def write_reports(results: Results, params: Params, folder: Path) -> None:
    page = render_page(page_content(results, params))  # may fail: before anything is written
    write_json(folder / "summary.json", results.summary)
    write_json(folder / "metrics.json", key_figures(results.summary))
    write_text(folder / "training.csv", training_csv(training_curve(results.chain)))
    write_text(folder / "roc.csv", roc_csv(results.curves))
    write_text(folder / "index.html", page)


def headline(summary: Mapping[str, Any]) -> str:
    """The figures that a run is known by, with the interval that holds for other people."""
    student, measured = (summary[ORL][role] for role in ROLES)
    low, high = interval_of(student)
    run = summary["student"]["run"]
    return (
        f"{run} has {student['accuracy']:.1%} on ORL (95 % {drawn_over(student)} "
        f"[{low:.1%}, {high:.1%}]), "
        f"its teacher {measured['accuracy']:.1%}; mean gap on the probe "
        f"{summary['gap'][run]['mean']:.3f} (1 - cosine); all figures: summary.json"
    )


def check_replaced(run: str, folder: Path, *, force: bool) -> None:
    """Raises InputError where the page of another run would be lost."""
    path = folder / "summary.json"
    there = read_json(path)["student"].get("run") if path.exists() and not force else run
    if there != run:
        raise InputError(
            f"{folder}: has the report of run {there}, now it would be that of {run}; copy it "
            "elsewhere, or replace it with --force"
        )


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("run", type=layout.run_name, help="the last run of a chain")
    parser.add_force()
    args = parser.parse_args()
    check_replaced(args.run, layout.REPORTS, force=args.force)
    with timed("report"), writing(layout.REPORTS / "summary.json"):
        params = load_params()
        results = gather(args.run, params)
        write_reports(results, params, layout.REPORTS)
    page = layout.REPORTS / "index.html"
    conclude(page, headline(results.summary), to_open(page))


if __name__ == "__main__":
    run_command(main)
