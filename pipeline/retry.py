"""Detect again the faces that were not found, and keep the others.

    (add an attempt to render.retries in params.yaml)
    facestill retry ROUND … [--workers N | --scheduler ADDRESS]

The result is byte for byte the store that `facestill render` would build from nothing with the
same parameters, so that `dvc repro` afterwards finds it done.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from manifests.core import layout
from manifests.core.digests import canonical_json
from manifests.core.errors import InputError, Parser, run_command
from manifests.settings.params import Params, load_params
from manifests.stores.reading import FaceStore
from manifests.stores.rounds import open_faces, read_manifest
from pipeline.building.faces import Faces, read_faces
from pipeline.building.shards import Arrays, Build, finish, locked, relink
from pipeline.building.workers import Workers, add_options, workers_of
from pipeline.render import RenderJob, aligner_for, fingerprint, open_generator, open_rendering


@dataclass(frozen=True)
class RetryJob:
    """Rows of the new store: the old ones, and the failed ones tried on."""

    again: RenderJob
    old: Path
    old_root: str
    num_tried: int  # detections that the old store has behind it

    def __call__(self, rows: np.ndarray) -> Arrays:
        old = read_faces(FaceStore.open(self.old, expect={"root": self.old_root}), rows)
        failed = ~old.ok
        if failed.any():
            _replace_rows(old, failed, self.again.faces(rows[failed], first_attempt=self.num_tried))
        return vars(old)


def _replace_rows(faces: Faces, rows: np.ndarray, new: Faces) -> None:
    for field in fields(Faces):
        getattr(faces, field.name)[rows] = getattr(new, field.name)


def num_tried(name: str, old: FaceStore, params: Params) -> int:
    """How many of today's detections the store has behind it.

    Raises InputError if it differs from today's parameters in anything else.
    """
    render, generator = params.render, open_generator(name, read_manifest(name), params)
    aligner = aligner_for(generator, params.aligner, layout.WEIGHTS)
    for tried in range(len(render.retries)):
        fewer = replace(render, retries=render.retries[:tried])
        before = fingerprint(generator, aligner, fewer, params.device)
        if canonical_json(before.identity) == canonical_json(old.passport.fingerprint.identity):
            return tried + 1
    raise InputError(
        f"{old.path}: not made with the parameters of today less the last of render.retries; "
        "add an attempt there (params.yaml) and change nothing else, or render it anew"
    )


def tried_before(old: FaceStore, params: Params) -> str:
    """What is said of a store that has all of today's attempts behind it.

    Raises InputError if params.yaml names none beside the first, and faces are missing.
    """
    failed, count = len(old) - old.passport.num_ok, len(params.render.detections)
    if not failed:
        return f"{old.path}: every face was found; nothing to try"
    found = f"{old.path}: {failed} of {len(old)} faces were not found"
    if not params.render.retries:
        raise InputError(
            f"{found}, and render.retries is empty; add an attempt there (params.yaml), such as "
            "{detect_size: 160, detect_threshold: 0.3}"
        )
    return f"{found} by any of {count} attempts; for more, add one to render.retries (params.yaml)"


def retrying(rendering: Build, old: FaceStore, params: Params) -> Build:
    """The build of the same store out of the old one."""
    tried = num_tried(rendering.name, old, params)
    have, now = (each.fingerprint.numerics for each in (old.passport, rendering.provenance))
    if canonical_json(have) != canonical_json(now):
        raise InputError(f"{old.path}: rendered on another kind of machine; render it anew")
    assert isinstance(rendering.job, RenderJob)
    job = RetryJob(rendering.job, old.path, old.root, tried)
    return replace(rendering, verb="retry", job=job, num_faces=None)


def retry_round(name: str, params: Params, *, workers: Workers) -> str:
    """Builds the store of today's parameters out of the one that is there; says what it found."""
    rendering = open_rendering(name, params)
    _, old = open_faces(name)
    today, have = (each.fingerprint.identity for each in (rendering.provenance, old.passport))
    if canonical_json(today) == canonical_json(have):
        return tried_before(old, params)
    with locked(rendering):
        if rendering.finished:
            relink(rendering)
            return f"{old.path}: made before with these attempts\nnext: facestill embed {name}"
        found = finish(retrying(rendering, old, params), workers).num_ok - old.passport.num_ok
        relink(rendering)
    failed = len(old) - old.passport.num_ok
    return f"{old.path}: {found} of {failed} failed faces found\nnext: facestill embed {name}"


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("rounds", type=layout.round_name, nargs="+", metavar="ROUND")
    add_options(parser)
    args = parser.parse_args()
    for name in args.rounds:
        print(retry_round(name, load_params(), workers=workers_of(args)))


if __name__ == "__main__":
    from pipeline.retry import main as command  # workers know the job by this module's name

    run_command(command)
