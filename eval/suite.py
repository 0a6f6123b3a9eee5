"""Measure models on every benchmark of a suite, as one table.

    facestill suite                         own: ORL, and the folder under verify: pairs
    facestill suite synthdistill --data DIR --models runs/mined-2 teacher:dlib-resnet onnx:PATH
    facestill suite my/suite.yaml --page README.md     the table between two marks of a page

Without --models: the run that is reported, its 8-bit export and its teacher. Results that are there
already are taken; what was stopped goes on. reports/suites/SUITE/ has the table as Markdown, CSV,
LaTeX and JSON, and a page with the curves. A benchmark that is not there is a dash with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import get_terminal_size

from eval.photos.models import Model, load_model
from eval.suites.formats import FORMS, as_json, markdown, text_table, with_table
from eval.suites.page import suite_page
from eval.suites.rules import Entry, by_rules, check_entry, entrant, write_submission
from eval.suites.running import Measured, check_kinds, measure_all, open_all, require_unlike
from eval.suites.table import Table, make_table
from manifests.core import layout
from manifests.core.errors import InputError, Parser, conclude, run_command, to_open
from manifests.core.files import read_json, write_json, write_text
from manifests.core.locks import writing
from manifests.records.exports import INT8
from manifests.settings.params import Params, load_params
from manifests.settings.suite import Suite, find_suite, load_suite

OWN = "own"
TABLE = "table.json"


def usual_models(params: Params) -> list[str]:
    """The run that is reported, as 8 bits too where it was exported so, and its teacher."""
    int8 = layout.export(params.report) / INT8
    exported = [f"onnx:{int8.as_posix()}"] if int8.exists() else []
    run, teacher = layout.run(params.report), params.teacher_text(params.teacher)
    if not run.exists():
        raise InputError(f"{run}: no such run; train it, or name models with --models")
    return [run.as_posix(), *exported, f"teacher:{teacher}"]


def load_models(texts: Sequence[str], baseline: str | None) -> list[Model]:
    """Every model once, the baseline behind them."""
    models = [load_model(text, layout.WEIGHTS) for text in texts]
    if baseline is not None:
        last = load_model(baseline, layout.WEIGHTS)
        models = [*(model for model in models if model.sha256 != last.sha256), last]
    require_unlike(models)
    return models


def of_people(models: Sequence[Model]) -> Iterator[str]:
    """What is to be said of rows of models that were trained here on photographs of people."""
    for model in models:
        if model.real_faces:
            yield f"{model.name} was trained on photographs of real people: {model.real_faces}."


def check_replaced(out: Path, path: Path, *, force: bool) -> None:
    """Raises InputError where the table of another suite would be lost."""
    found = read_json(out / TABLE) if (out / TABLE).exists() and not force else None
    there = found.get("file") if isinstance(found, dict) else None
    if there not in (None, path.as_posix()):
        raise InputError(
            f"{out}: has the table of {there}, now it would be that of {path}; name another folder "
            "with --out, or replace it with --force"
        )


def run_suite(
    name: str,
    suite: Suite,
    models: Sequence[Model],
    *,
    data: Path,
    params: Params,
) -> tuple[Table, dict[str, Measured]]:
    """The table of a suite, measured where no result is there."""
    measured = measure_all(open_all(suite, data, params), models)
    if not any(found.results for found in measured.values()):
        reasons = {why for found in measured.values() for why in found.why_not.values()}
        broken = all(found.broken for found in measured.values())
        hint = "" if broken else "; name the folder that its benchmarks lie in with --data"
        raise InputError(
            f"suite {name}: nothing could be measured ({'; '.join(sorted(reasons))}){hint}"
        )
    return make_table(name, suite, [model.name for model in models], measured), measured


def write_table(out: Path, path: Path, table: Table, measured: dict[str, Measured]) -> None:
    page = suite_page(table, measured)  # may fail: before anything is written
    for name, form in FORMS.items():
        write_text(out / name, form(table))
    write_text(out / "index.html", page)
    write_json(out / TABLE, {"file": path.as_posix(), **as_json(table)})


def main() -> int | None:
    parser = Parser(__doc__)
    parser.add_argument("suite", nargs="?", default=OWN, help="its name, or its file, SUITE.yaml")
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="runs, teacher:, onnx:")
    parser.add_argument("--data", type=Path, default=Path(), help="where the benchmarks lie")
    parser.add_argument("--out", type=Path, help="folder, else reports/suites/SUITE")
    parser.add_argument("--task", help="of the suite's rules: 1.1 … 2.3, or 1, 2; checked")
    parser.add_argument("--baseline", metavar="MODEL", help="frcsyn: trained on real faces")
    parser.add_argument("--submit", action="store_true", help="write what is handed in")
    parser.add_argument("--threshold", type=float, help="frcsyn: of its decisions")
    parser.add_argument("--page", type=Path, help="shows the table between its two marks")
    parser.add_force()
    args = parser.parse_args()
    path = find_suite(args.suite)
    suite, params = load_suite(path), load_params()
    check_kinds(suite, path)
    out = args.out or layout.suite_report(path.stem)
    check_replaced(out, path, force=args.force)
    if args.page:
        with_table(args.page, "")  # raises here, and not after the measuring
    models = load_models(args.models or usual_models(params), args.baseline)
    entry = Entry(args.task, args.baseline and models[-1].name, args.threshold)
    told = [*check_entry(suite, path, entry, models), *of_people(models)]
    handed_in = entrant(suite, entry, models) if args.submit else None
    with writing(out):
        found, measured = run_suite(path.stem, suite, models, data=args.data, params=params)
        table = by_rules(found, suite, measured, entry.baseline)
        table = replace(table, told=(*table.told, *told))
        write_table(out, path, table, measured)
    if args.page:
        write_text(args.page, with_table(args.page, markdown(table)))
    print(text_table(table, get_terminal_size((100, 24)).columns))
    if handed_in:
        for file in write_submission(suite, entry, handed_in, measured, out / "submission"):
            print(f"handed in: {file}")
    found_text = f"{len(models)} models on {len(measured)} benchmarks"
    conclude(out / "index.html", found_text, to_open(out / "index.html"))
    return 2 if any(own.broken for own in measured.values()) else None


if __name__ == "__main__":
    run_command(main)
