"""Adopt photographs of people as round real-faces, where params.yaml allows it.

    facestill adopt-photographs [--workers N | --scheduler ADDRESS]

The folder, the switch that allows it, and whose faces they are: real_faces in params.yaml. Where
none is named the round is there without faces. Its passports say that it holds photographs of
people; whatever trains refuses it unless params.yaml allows it, and says the same of them.
"""

from __future__ import annotations

from pathlib import Path

from manifests.core import layout
from manifests.core.errors import InputError, Parser, conclude, pick, run_command
from manifests.photographs.sources.base import ImageRanges, Places
from manifests.settings.params import Params, load_params
from manifests.settings.real_faces import ROUND, WHERE, RealFaces
from pipeline.adopt import Adoption, Origin, adoption_of, build_adoption, open_adoption
from pipeline.adoption.image_sets import ImageSet, Wanted
from pipeline.arrays.frames import FRAMES
from pipeline.building.workers import Workers, add_options, workers_of
from pipeline.embed import embed_round
from pipeline.screen import screen_round

NOBODY = "nobody: no folder is named"
NONE = ImageSet(ImageRanges(Path(), Places()), (), (), ())


def open_real_faces(real: RealFaces, params: Params) -> Adoption:
    """The round before its faces are cut; without any where no folder is named.

    Raises InputError for a folder that cannot be adopted, and one in which nobody has a folder.
    """
    if real.folder is None:
        origin = Origin(None, NOBODY, None, NOBODY)
        return adoption_of(ROUND, NONE, origin, params)
    frame = None if real.frame is None else pick("frame", real.frame, FRAMES)
    origin = Origin(None, real.licence or "", frame, real.statement or "")
    adoption = open_adoption(ROUND, Wanted(Path(real.folder).expanduser()), origin, params)
    if adoption.images.identity.mask.all():
        raise InputError(
            f"{WHERE}: folder {real.folder} has no folder a person: nobody's "
            "photographs are told from another's"
        )
    return adoption


def make_round(real: RealFaces, params: Params, workers: Workers) -> str:
    """Adopts, embeds and screens the round; says what is in it."""
    passport = build_adoption(open_real_faces(real, params), workers)
    embed_round(ROUND, params.teacher, params, workers=workers)
    screen_round(ROUND, [], params)
    if real.folder is None:
        return "no faces; no folder is named"
    return f"{passport.num_ok:,} usable photographs of real people: {real.statement}"


def main() -> None:
    parser = Parser(__doc__)
    add_options(parser)
    args = parser.parse_args()
    params = load_params()
    found = make_round(params.real_faces, params, workers_of(args))
    conclude(layout.faces(ROUND), found, f"facestill train RUN --rounds {ROUND}")


if __name__ == "__main__":
    from pipeline.adopt_photographs import (
        main as command,  # workers know the job by this module's name
    )

    run_command(command)
