"""Adopt photographs of people as a round, for study fair-distillation alone.

    facestill adopt-photographs [--workers N | --scheduler ADDRESS]

Stage fair-distillation-real. The folder, the switch that allows it, and whose faces they are:
real_faces in params/studies/fair-distillation.yaml. Where none is named the round is there
without faces. Its passports say that it holds photographs of people; training of anything else
refuses it.
"""

from __future__ import annotations

from pathlib import Path

from manifests.core.errors import InputError, Parser, pick, run_command
from manifests.settings.params import Params, load_params
from manifests.settings.study import load_study
from manifests.studies.fair_distillation import NAME, REAL, WHERE, RealFaces, Study, check_study
from pipeline.adopt import Adoption, Origin, adoption_of, build_adoption, open_adoption
from pipeline.adoption.image_sets import ImageSet
from pipeline.arrays.frames import FRAMES
from pipeline.building.workers import Workers, add_options, workers_of
from pipeline.embed import embed_round
from pipeline.screen import screen_round

NOBODY = "nobody: no folder is named"


def open_real_faces(real: RealFaces, params: Params) -> Adoption:
    """The round before its faces are cut; without any where no folder is named.

    Raises InputError for a folder that cannot be adopted, and one in which nobody has a folder.
    """
    if real.folder is None:
        origin = Origin(None, NOBODY, None, NOBODY)
        return adoption_of(REAL, ImageSet(Path(), (), ()), origin, params)
    frame = None if real.frame is None else pick("frame", real.frame, FRAMES)
    origin = Origin(None, real.licence or "", frame, real.statement or "")
    adoption = open_adoption(REAL, Path(real.folder).expanduser(), origin, params)
    if adoption.images.identity.mask.all():
        raise InputError(
            f"{WHERE}: real_faces: folder {real.folder} has no folder a person: nobody's "
            "photographs are told from another's"
        )
    return adoption


def make_round(real: RealFaces, params: Params, workers: Workers) -> str:
    """Adopts, embeds and screens the round; says what is in it."""
    passport = build_adoption(open_real_faces(real, params), workers)
    embed_round(REAL, params.teacher, params, workers=workers)
    screen_round(REAL, [], params)
    if real.folder is None:
        return f"{REAL}: no faces; no folder is named"
    return f"{REAL}: {passport.num_ok:,} usable photographs of real people: {real.statement}"


def main() -> None:
    parser = Parser(__doc__)
    add_options(parser)
    args = parser.parse_args()
    params, study = load_params(), load_study(NAME, Study)
    check_study(study)
    print(make_round(study.real_faces, params, workers_of(args)))


if __name__ == "__main__":
    from pipeline.adopt_photographs import (
        main as command,  # workers know the job by this module's name
    )

    run_command(command)
