"""Train the students of one data set of the grid.

    facestill fair-distillation-train DATA                all students and seeds of a data set
    facestill fair-distillation-train DATA --only PLACE   those of a place of the grid, as
                                                          small-resnet.elastic-kd

A run directory is called runs/studies/fair-distillation/DATA/PLACE-SEED. The lesson is a loss on
identity labels (elastic), the same with distillation (elastic-kd), or distillation alone (kd).
grid.json names all places of the data set, and says why one is empty. A finished run is relinked;
an interrupted one goes on where it stopped, to the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from manifests.core import layout
from manifests.core.errors import InputError, Parser, conclude, pick, run_command
from manifests.core.files import write_json
from manifests.core.layout import POOL
from manifests.settings.objectives import Losses
from manifests.settings.params import Params, load_params
from manifests.settings.study import load_study
from manifests.settings.training import Run, Student
from manifests.studies.fair_distillation import (
    NAME,
    WHERE,
    Cell,
    Recipe,
    Study,
    check_study,
    expand,
)
from train.batching.mixing import facts_of
from train.batching.sources import Source, check_one_teacher, num_usable, open_sources
from train.checkpoint import DISTILLED
from train.engine.processes import keep_freed_memory
from train.engine.supervised import Supervised
from train.engine.trainer import train_run
from train.losses.objectives import teachers_of
from train.losses.prerequisites import check_objective
from train.studies.fair_distillation.data_sets import Chosen, choose_faces

GRID = "grid.json"  # of a data set


def run_name(cell: Cell, seed: int) -> str:
    """Below runs/."""
    return layout.study_run(NAME, cell.run(seed)).relative_to(layout.RUNS).as_posix()


def cell_params(cell: Cell, seed: int, params: Params, study: Study) -> Params:
    """params.yaml, with what the study says of this student in its place."""
    margin = () if cell.loss is None else study.losses[cell.loss].terms
    taught = study.distillation.terms if cell.distilled else ()
    loss, student = Losses((*margin, *taught)), study.students[cell.student]
    return recipe_params(run_name(cell, seed), seed, params, student, loss, study.recipe)


def recipe_params(
    run: str, seed: int, params: Params, student: Student, loss: Losses, recipe: Recipe
) -> Params:
    """params.yaml for a study's run from random weights, by a recipe of its own."""
    seen = Run(recipe.faces_seen, rate_from=1.0, rate_to=0.0, own=recipe.own)
    train = replace(
        params.train.of(seen),
        student=student,
        loss=loss,
        teachers={},
        adaptor=None,
        snapshots=(),
        embedding_width=recipe.embedding_width,
        batch=recipe.batch,
        learning_rate=recipe.learning_rate,
        warmup_faces=recipe.warmup_faces,
        round_weights={},
        seed=seed,
        leave_out=recipe.leave_out,
        runs={run: replace(seen, own={})},
    )
    return replace(params, train=train)


def open_cell(cell: Cell, seed: int, params: Params, study: Study) -> Supervised:
    """The run of one student: as stage train's, on the faces that the data set's shares choose.
    Its targets are centred by the mean of the pool's faces, whatever it is trained on.

    Raises InputError for shares that ask for more faces than there are, labels that the faces do
    not have, and fewer identities than a margin head needs.
    """
    own = cell_params(cell, seed, params, study)
    chosen, marks = open_data_set(cell.data, own, study)
    pool = pool_of(own) if cell.distilled else None
    for name, store in pool.teachers.items() if pool else ():
        check_one_teacher([store, *(source.teachers[name] for source in chosen.sources)])
    plan = Supervised(
        run_name(cell, seed),
        own,
        chosen.sources,
        len(chosen.sources),
        after=None,
        marks=marks | dict(chosen.tables),
        centred_by=pool,
        chosen=facts_of(chosen.sources),
        training=training_words(cell, own),
    )
    check_objective(own, plan.sources, plan.targets, plan.num_epochs)
    return plan


def open_data_set(name: str, params: Params, study: Study) -> tuple[Chosen, dict[str, str]]:
    """Its faces, and {path: digest} of the marks that some were left out by."""
    data = study.data[name]
    sources, marks = open_sources(data.rounds, teachers_of(params), params, {})
    total = study.faces if data.faces is None else data.faces
    chosen = choose_faces(name, data, sources, total, study.choice_seed)
    if (count := num_usable(chosen.sources)) < study.recipe.batch:
        raise InputError(
            f"{WHERE}: data: {name}: {count} faces are fewer than one batch of "
            f"{study.recipe.batch}; lower recipe: batch, or ask for more faces"
        )
    return chosen, marks


def pool_of(params: Params) -> Source:
    """The pool with its teacher's embeddings; no face of it is left out of the mean."""
    whole = replace(params, train=replace(params.train, leave_out=()))
    return open_sources([POOL], teachers_of(params), whole, {})[0][0]


def training_words(cell: Cell, params: Params) -> str:
    """How a student was trained, for its card."""
    margin = params.train.loss.margin
    labels = "" if margin is None else f"identity labels ({margin.name})"
    words = DISTILLED if cell.distilled else f"on {labels}, by no teacher"
    return f"{words}, and on {labels}" if cell.distilled and labels else words


def train_data_set(name: str, only: str | None, params: Params, study: Study) -> None:
    """Trains, or relinks, every student of a data set; what cannot be is refused before."""
    grid = expand(study, real_faces=params.real_faces.allow)
    cells = [cell for cell in grid if cell.data == name]
    places = {cell.name.removeprefix(f"{name}/"): cell for cell in cells}
    if only is not None:
        pick(f"place in the grid of {name}", only, places)
    chosen = [cell for place, cell in places.items() if only in (None, place)]
    models = [(cell, seed) for cell in chosen if cell.why_not is None for seed in study.seeds]
    for cell, seed in models[:: len(study.seeds)]:  # one seed tells what is wrong with all
        open_cell(cell, seed, params, study)
    for cell, seed in models:
        train_run(open_cell(cell, seed, params, study), layout.study_run(NAME, cell.run(seed)))
    write_json(layout.study_run(NAME, name) / GRID, grid_of(places, study))


def grid_of(places: Mapping[str, Cell], study: Study) -> dict[str, Any]:
    """{place: its runs, or why there is none}."""
    return {
        place: {
            "runs": [] if cell.why_not else [f"{place}-{seed}" for seed in study.seeds],
            "why_not": cell.why_not,
        }
        for place, cell in places.items()
    }


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("data", help="a key of `data` in its parameters")
    parser.add_argument("--only", metavar="PLACE", help="STUDENT.LESSON, of the grid")
    args = parser.parse_args()
    params, study = load_params(), load_study(NAME, Study)
    check_study(study)
    pick("data set", args.data, study.data)
    keep_freed_memory()
    train_data_set(args.data, args.only, params, study)
    conclude(args.data, "its students are trained", f"make study NAME={NAME}, for what is left")


if __name__ == "__main__":
    run_command(main)
