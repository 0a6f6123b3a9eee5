"""How accurate a CPU minute makes a student -> docs/results/speedrun.json, .svg beside it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from eval.benchmarks import open_benchmark
from eval.reporting.style import picture
from eval.suites.formats import with_table
from manifests.core import layout
from manifests.core.errors import Parser, run_command
from manifests.core.files import put, require_file_place, write_json, write_text
from manifests.core.locks import writing
from manifests.settings.params import load_params
from tests.experiments.arms import RESULTS, workplace
from tests.experiments.speedrun.figure import speedrun_figure
from tests.experiments.speedrun.recipes import ARMS, MORE, Arm
from tests.experiments.speedrun.runs import check_hardware, measured, more_faces
from tests.experiments.speedrun.table import markdown, on_page, tabled
from tests.experiments.tables import read_results
from train.engine.processes import keep_freed_memory

SCRATCH = layout.WORK / "experiments" / "speedrun"
PAGE = "a page that shows figure and table, between its two marks"


def parser() -> Parser:
    found = Parser(description="The highest accuracy on photographs for each CPU minute.")
    found.add_argument("--pairs", required=True, help="a folder of photographs with pairs.csv")
    found.add_argument(
        "--arms",
        nargs="*",
        default=list(ARMS),
        metavar="NAME",
        help="such as ema+rate-double-x3; none: the table alone, of the results that are there",
    )
    found.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    found.add_argument("--more", type=int, default=49152, help="latents of the other round")
    found.add_argument("--target", type=float, default=0.9, help="accuracy on the pairs, 0 to 1")
    found.add_argument("--out", type=Path, default=Path("docs/results/speedrun.json"))
    found.add_argument("--page", type=Path, help=PAGE)
    return found


def run(arms: list[Arm], seeds: list[int], latents: int, benchmarks: dict[str, str]) -> None:
    """All that has no result yet, a seed of every arm after the other. In a workplace."""
    params = load_params()
    for text in benchmarks.values():
        open_benchmark(text)  # raises here, and not after the first hour
    check_hardware()
    if any(MORE in arm.recipe.rounds for arm in arms):
        begun = time.perf_counter()
        more_faces(latents, params)
        print(f"{latents} more latents rendered in {time.perf_counter() - begun:.0f} s")
    for seed in seeds:
        for arm in arms:
            measured(arm, seed, params, benchmarks)


def main() -> None:
    args = parser().parse_args()
    arms, out = [Arm.parsed(text) for text in args.arms], args.out.absolute()
    page = args.page.absolute() if args.page else None
    require_file_place(out)
    if page:
        with_table(page, "")  # raises here, and not after the first hour
    benchmarks = {"orl": "orl", "lfw_dev": f"pairs:{Path(args.pairs).absolute()}"}
    keep_freed_memory()  # as training does
    with workplace(SCRATCH), writing(RESULTS):
        RESULTS.mkdir(exist_ok=True)
        if arms:
            run(arms, args.seeds, args.more, benchmarks)
        table = tabled(read_results(RESULTS), args.target)
    shown = out.with_suffix(".svg")
    write_json(out, table)
    put(shown, picture(speedrun_figure(table), ".svg"))
    print(markdown(table))
    if page:
        write_text(page, with_table(page, on_page(table, os.path.relpath(shown, page.parent))))


if __name__ == "__main__":
    run_command(main)
