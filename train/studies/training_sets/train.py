"""Train one student on each of several sets of faces, equally many of each.

    facestill training-sets-train SET [SET …] [--study NAME]

A run directory is called runs/studies/training-sets/SET/SEED, or that of another study of the same
parameters. A finished run is relinked; an
interrupted one goes on where it stopped, to the same bits.
"""

from __future__ import annotations

from manifests.core import layout
from manifests.core.errors import Parser, conclude, pick, run_command
from manifests.settings.params import Params, load_params
from manifests.settings.study import load_study
from manifests.studies.training_sets import NAME, Study, check_study, run_of
from train.batching.mixing import facts_of
from train.batching.sources import check_one_teacher, open_sources
from train.engine.processes import keep_freed_memory
from train.engine.supervised import Supervised
from train.engine.trainer import train_run
from train.losses.objectives import teachers_of
from train.losses.prerequisites import check_objective
from train.studies.fair_distillation.train import pool_of, recipe_params
from train.studies.training_sets.drawing import draw


def open_run(name: str, seed: int, params: Params, study: Study, of: str = NAME) -> Supervised:
    """The run of one student of study `of`: as stage train's, on the faces drawn of a set. A
    teacher's targets are centred by the mean of the pool's faces, whatever the set.

    Raises InputError for a set with too few faces or identities, for photographs of people, and
    for what the loss cannot be given.
    """
    run = layout.study_run(of, run_of(name, seed)).relative_to(layout.RUNS).as_posix()
    own = recipe_params(run, seed, params, study.student, study.loss, study.recipe)
    rounds, teachers = study.sets[name].rounds, teachers_of(own)
    opened, marks = open_sources(rounds, teachers, own, {})
    counts = study.faces, study.identities, study.choice_seed
    sources = draw(name, opened, *counts, layout.study_params(of))
    pool = pool_of(own) if study.loss.needs_teacher else None
    for teacher, store in pool.teachers.items() if pool else ():
        check_one_teacher([store, *(source.teachers[teacher] for source in sources)])
    plan = Supervised(
        run,
        own,
        sources,
        len(sources),
        after=None,
        marks=marks,
        centred_by=pool,
        chosen=facts_of(sources),
    )
    check_objective(own, plan.sources, plan.targets, plan.num_epochs)
    return plan


def train_set(name: str, params: Params, study: Study, of: str = NAME) -> None:
    """Trains, or relinks, the student of every seed."""
    for seed in study.seeds:
        run = layout.study_run(of, run_of(name, seed))
        train_run(open_run(name, seed, params, study, of), run)


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("sets", nargs="+", metavar="SET", help="a key of `sets` in its parameters")
    parser.add_argument("--study", default=NAME, help="whose parameters; default: %(default)s")
    args = parser.parse_args()
    params, study = load_params(), load_study(args.study, Study)
    check_study(study, args.study)
    for name in args.sets:
        pick("set", name, study.sets)
    keep_freed_memory()
    for name in args.sets:  # what cannot be trained is refused before anything is
        open_run(name, study.seeds[0], params, study, args.study)
    for name in args.sets:
        train_set(name, params, study, args.study)
    following = f"make study NAME={args.study}, for what is left"
    conclude(", ".join(args.sets), "trained", following)


if __name__ == "__main__":
    run_command(main)
