"""Train a student without a teacher, or one to hold it against.

    facestill usynthface-train augmentation     both views of a pair are of one picture
    facestill usynthface-train identities       of two faces of one identity, where a round has such
    facestill usynthface-train untrained        the network that all arms begin with, in want of
                                                learning: only its normalisation knows faces
    facestill usynthface-train distilled        from the teacher, as stage train does

A run goes into runs/studies/usynthface/ARM/. The first two are trained without teacher and labels;
an interrupted run goes on where it stopped, to the same bits. The boundaries that identities were
sampled from are the teacher's own, though.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from manifests.core import layout
from manifests.core.errors import InputError, Parser, conclude, pick, run_command
from manifests.settings.params import Params, load_params
from manifests.settings.study import load_study
from manifests.settings.training import Run, check_training_rounds
from manifests.stores.rounds import open_faces
from manifests.studies.usynthface import Study
from train.batching.sources import Source, num_identities, num_usable, open_source
from train.engine.plan import Plan
from train.engine.supervised import Supervised, open_plan
from train.engine.trainer import train_run
from train.studies.usynthface.contrastive import Contrastive, recipe_of, with_study

NAME = "usynthface"
WHERE = layout.study_params(NAME)
UNTRAINED, AUGMENTATION, IDENTITIES, DISTILLED = ARMS = (
    "untrained", "augmentation", "identities", "distilled",
)  # fmt: skip

SETTLING_STEPS = 25  # of running statistics that forget a tenth at each of a step's sub-batches


def check_study(study: Study) -> None:
    """Raises InputError for numbers that no run can have, whatever the data."""
    contrast, descent = study.contrast, study.descent
    complaints = {
        f"faces_seen {study.faces_seen} is less than one batch of {descent.batch}":
            study.faces_seen < descent.batch,
        f"batch {descent.batch} does not part into sub_batches {contrast.sub_batches} of one "
        "size, at least 2 faces each":
            descent.batch % contrast.sub_batches != 0
            or descent.batch < 2 * contrast.sub_batches,
    }  # fmt: skip
    for complaint, holds in complaints.items():
        if holds:
            raise InputError(f"{WHERE}: {complaint}")
    check_training_rounds(study.rounds, f"{WHERE}: ")


def open_contrastive(arm: str, params: Params, study: Study) -> Contrastive:
    """A run without teacher; the untrained network's is short and learns at a rate of 0.

    Raises InputError if the data are too few for the queue, or have no identities to pair.
    """
    sources = [_faces_alone(name, params) for name in study.rounds]
    _check_queue(sources, study)
    if arm == UNTRAINED:
        settling = replace(study.descent, learning_rate=0.0)
        study = replace(study, faces_seen=SETTLING_STEPS * settling.batch, descent=settling)
    by_identity = arm == IDENTITIES
    if by_identity and not num_identities(sources):
        raise InputError(
            f"{WHERE}: rounds {', '.join(study.rounds)} name no identities, of which this arm "
            f"pairs two faces; add {layout.IDENTITIES}"
        )
    name = layout.study_run(NAME, arm).relative_to(layout.RUNS).as_posix()
    recipe = recipe_of(params.train, study, by_identity=by_identity)
    return Contrastive(name, with_study(params, study, name), sources, study, by_identity, recipe)


def _faces_alone(name: str, params: Params) -> Source:
    """A round without its teacher's embeddings, and so without the marks made from them."""
    manifest, faces = open_faces(name)
    return open_source(faces, {}, manifest=manifest, allowed=params.real_faces.allowed)


def _check_queue(sources: Sequence[Source], study: Study) -> None:
    """Else a face would meet its own earlier key among its negatives in every epoch."""
    usable, batch = num_usable(sources), study.descent.batch
    if study.contrast.queue > usable - batch:
        raise InputError(
            f"{WHERE}: a queue of {study.contrast.queue} keys is larger than the data, {usable} "
            f"usable faces less a batch of {batch}; lower queue, or sample more faces"
        )


def open_distilled(params: Params, study: Study) -> Supervised:
    """The run of stage train on the same faces, as many of them: none is left out.

    Raises InputError if its student would be of another size.
    """
    name = layout.study_run(NAME, DISTILLED).relative_to(layout.RUNS).as_posix()
    runs = {name: Run(faces_seen=study.faces_seen, rate_from=1.0, rate_to=0.0)}
    engine = replace(params.train.engine, precision="float32")  # as all runs of the study
    train = replace(params.train, engine=engine, runs=runs, leave_out=(), round_weights={})
    plan = open_plan(name, study.rounds, None, replace(params, train=train))
    if plan.embedding_width != study.embedding_width:
        raise InputError(
            f"{WHERE}: embedding_width {study.embedding_width}, the student of {params.teacher} "
            f"has {plan.embedding_width}; make them equal, so that all students are of one size"
        )
    return plan


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("arm", help=", ".join(ARMS))
    arm: str = parser.parse_args().arm
    pick("arm", arm, dict.fromkeys(ARMS))
    params, study = load_params(), load_study(NAME, Study)
    check_study(study)
    if arm == DISTILLED:
        plan: Plan = open_distilled(params, study)
    else:
        plan = open_contrastive(arm, params, study)
    train_run(plan, layout.study_run(NAME, arm))
    conclude(arm, "trained", f"make study NAME={NAME}, for what is left")


if __name__ == "__main__":
    run_command(main)
