"""Mine a round where a student is weak into manifests/rounds/mined-K.parquet.

    facestill mine mined-1 --gaps start
    facestill mine summary mined-1         what a reviewer wants to know of a round
    facestill mine explain FACE_ID         a face's lineage, back to the prior

Its regions go into data/gaps/regions/mined-K.parquet. How hard a region is, is measured on the
probe, which is never trained on; parents are the pool's faces in the hard regions. A round is
empty where mining has nothing left to gain.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, UInt64

from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.digests import canonical_json
from manifests.core.errors import InputError, Parser, conclude, pick, run_command
from manifests.core.files import read_json, write_json
from manifests.core.layout import POOL, PROBE
from manifests.core.locks import writing
from manifests.core.parsing import told
from manifests.records.gaps import GapTable
from manifests.settings.params import Params, load_params
from manifests.stores.latents import LatentManifest, build, empty
from manifests.stores.rounds import RoundFiles, open_round
from pipeline.arrays.neighbours import unit_rows
from pipeline.mining.lineage import describe, trace
from pipeline.mining.mining_laws import PRIOR
from pipeline.mining.proposals import Pool, PriorDraw, Proposals, propose
from pipeline.mining.regions import (
    HARDNESS,
    Decision,
    Region,
    assign,
    decide,
    find_regions,
    measure_regions,
)
from pipeline.mining.review import mining_facts, review
from pipeline.sample import (
    check_replaced,
    open_generator,
    prior_of,
    recipe_for,
    require_recipe,
    summary,
)

BLOCK_ROWS = 1 << 15  # of stores and manifests, worked on at a time


@dataclass(frozen=True)
class Measured:
    """A round's usable faces with their gaps."""

    manifest: LatentManifest
    rows: Int[np.ndarray, " face"]  # of the manifest
    embeddings: Float[np.ndarray, "face embedding"]  # unit, centred, plain view
    table: GapTable

    @property
    def face_id(self) -> Int[np.ndarray, " face"]:
        return self.manifest.face_id[self.rows]


@dataclass(frozen=True)
class Mining:
    """A finished look at the pool: what was found, decided and proposed."""

    regions: Sequence[Region]
    decision: Decision
    proposals: Proposals | None  # None: mining stopped
    pool: Pool
    probe_home: Int[np.ndarray, " face"]


def unit_embeddings(
    files: RoundFiles, rows: Int[np.ndarray, " face"], centre: Float[np.ndarray, " width"]
) -> Float[np.ndarray, "face width"]:
    """Unit centred embeddings of ascending rows; the store is read block by block."""
    units = np.empty((len(rows), files.teacher.width), np.float32)
    for at in range(0, len(files.teacher), BLOCK_ROWS):
        low, high = np.searchsorted(rows, (at, at + BLOCK_ROWS))
        block = files.teacher.embeddings(at, min(at + BLOCK_ROWS, len(files.teacher)))
        part = block[rows[low:high] - at, 0].astype(np.float32) - centre
        units[low:high] = unit_rows(part)
    return units


def load_round(name: str, gaps: str, params: Params, centre: np.ndarray) -> Measured:
    """A round's usable faces with their gaps; the whole chain of digests is checked."""
    files = open_round(name, params.teacher)
    table = GapTable.read(layout.gap_table(gaps, name), expect_teacher=files.teacher.root)
    rows = np.flatnonzero(files.faces.ok())
    manifest = files.require_manifest()
    if not np.array_equal(manifest.face_id[rows], table.face_id):
        raise InputError(f"round {name}: the gap table of {gaps} holds other faces; run gap again")
    return Measured(manifest, rows, unit_embeddings(files, rows, centre), table)


def check_one_student(gaps: str, pool: Measured, probe: Measured) -> None:
    """Raises InputError unless both tables are of the student that the run holds."""
    log = layout.run(gaps) / "log.json"
    try:
        student = str(read_json(log)["student"]["sha256"])
    except (KeyError, TypeError):
        raise InputError(f"{log}: names no student; train run {gaps} again") from None
    for name, measured in ((POOL, pool), (PROBE, probe)):
        found = measured.table.student_digest
        if found != student:
            raise InputError(
                f"{layout.gap_table(gaps, name)}: of student {found[:12]}, run {gaps} holds "
                f"{student[:12]}; run gap again"
            )


def check_has_latents(pool: Measured) -> None:
    """Raises InputError for faces of the pool that were imported: nothing can be varied in them."""
    absent = np.isnan(pool.manifest.latents[pool.rows]).any(axis=1)
    if absent.any():
        raise InputError(
            f"{POOL}: {int(absent.sum())} of its faces have no latent, the first is "
            f"{pool.face_id[np.argmax(absent)]}; mine from a pool that was sampled"
        )


def check_apart(pool: Measured, probe: Measured) -> None:
    """Raises InputError naming faces of the probe that are trained on, by id or by latent."""
    twin = np.isin(latent_hashes(probe.manifest), latent_hashes(pool.manifest))
    shared = probe.manifest.face_id[twin | np.isin(probe.manifest.face_id, pool.manifest.face_id)]
    if len(shared):
        raise InputError(
            f"{len(shared)} faces of {PROBE} are in {POOL}, too, the first of them "
            f"{', '.join(map(str, shared[:3].tolist()))}; sample one round with another seed"
        )


def latent_hashes(manifest: LatentManifest) -> UInt64[np.ndarray, " face"]:
    """64 bits of every latent's bit pattern: equal latents have equal ones, and of a million
    others two agree with a chance of 1 in 10^7."""
    width = manifest.recipe.latent_width
    odd = np.random.default_rng(0).integers(0, 1 << 63, width, dtype=np.uint64) * 2 + 1
    hashes = np.empty(len(manifest), np.uint64)
    for at in range(0, len(manifest), BLOCK_ROWS):
        rows = np.arange(at, min(at + BLOCK_ROWS, len(manifest)))
        bits = np.ascontiguousarray(manifest.latents_of(rows)).view(np.uint32)
        hashes[rows] = (bits * odd).sum(axis=1, dtype=np.uint64)
    return hashes


def mine(pool: Measured, probe: Measured, params: Params, draw: PriorDraw | None = None) -> Mining:
    """Regions of the pool, hardness on the probe, and the proposals that follow. `draw` gives
    that many latents of the prior; by default it is standard normal."""
    settings = params.mine
    hardness = HARDNESS[settings.hardness](pool.table)
    centroids = find_regions(
        pool.embeddings, settings.regions, settings.seed, settings.points_per_region
    )
    probe_home = assign(probe.embeddings, centroids)
    regions = measure_regions(HARDNESS["gap"](probe.table), probe_home, settings, len(centroids))
    source = Pool(
        latents=pool.manifest.latents_of(pool.rows),
        embeddings=pool.embeddings,
        gap=HARDNESS["gap"](pool.table),
        hardness=hardness,
        home=assign(pool.embeddings, centroids),
        space=pool.manifest.recipe.latent_space,
        draw=draw,
    )
    decision = decide(regions, settings)
    found = None if decision.stop else propose(source, regions, settings, params.boundaries)
    return Mining(regions, decision, found, source, probe_home)


def mine_round(name: str, gaps: str, params: Params, *, force: bool = False) -> Mining:
    """Mines with the gaps of run `gaps` and writes round `name`."""
    with writing(layout.manifest(name)):
        return _mine_round(name, gaps, params, force=force)


def _mine_round(name: str, gaps: str, params: Params, *, force: bool) -> Mining:
    centre = open_round(POOL, params.teacher).teacher.centre()
    pool = load_round(POOL, gaps, params, centre)
    probe = load_round(PROBE, gaps, params, centre)
    check_one_student(gaps, pool, probe)
    check_has_latents(pool)
    require_recipe(pool.manifest.recipe, recipe_for(name, params))
    check_apart(pool, probe)
    # Every round draws anew, also where two students should find the same faces hard.
    seed = int(np.random.SeedSequence([params.mine.seed, *name.encode()]).generate_state(1)[0])
    seeded = replace(params, mine=replace(params.mine, seed=seed >> 1))
    mined = mine(pool, probe, seeded, prior_of(open_generator(params)))
    manifest = manifest_of(name, mined, pool, probe, params)
    check_replaced(manifest, force=force)
    manifest.write(layout.manifest(name))
    facts = mining_facts(mined.regions, mined.decision, mined.proposals, mined.pool, params.mine)
    links = {"gaps": gaps, "student_sha256": pool.table.student_digest}
    write_json(layout.manifest_summary(name), summary(manifest) | {"mining": links | facts})
    replace(probe.table, region=mined.probe_home).write(layout.regions(name))
    return mined


def manifest_of(
    name: str, mined: Mining, pool: Measured, probe: Measured, params: Params
) -> LatentManifest:
    """The round's rows with their lineage; none where mining stopped."""
    links = [pool.table.student_digest, pool.table.teacher_root, probe.table.teacher_root]
    key = canonical_json([told(params.mine), told(params.boundaries), links])
    recipe = recipe_for(name, params)
    found = mined.proposals
    if found is None:
        return empty(recipe, origin="mined", key=key)
    law = np.where(found.mined, params.mine.law, PRIOR)
    columns = lineage_of(found, pool, mined)
    return build(recipe, found.latents, origin="mined", law=law, key=key, **columns)


def lineage_of(found: Proposals, pool: Measured, mined: Mining) -> dict[str, np.ndarray]:
    """Nullable columns of the manifest: rows of the prior have a law alone."""
    row = np.where(found.mined, found.parent, 0)
    nothing = ~found.mined
    columns = {
        "parent_id": pool.face_id[row],
        "region_id": mined.pool.home[row],
        "step": found.step,
        "score": mined.pool.hardness[row].astype(np.float32),
    }
    return {name: np.ma.masked_array(values, nothing) for name, values in columns.items()}


def main() -> None:
    verbs = {"explain": explain, "summary": summarise}
    verb = verbs.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if verb is not None:
        verb(sys.argv[2:])
        return
    parser = Parser(__doc__)
    parser.add_argument("round", type=layout.round_name, help="name of the round to make")
    parser.add_argument(
        "--gaps", type=layout.run_name, required=True, help="the run whose gaps are read"
    )
    parser.add_force()
    args = parser.parse_args()
    params = load_params()
    pick("mined round", args.round, params.mined)
    if args.round == args.gaps:
        raise InputError(f"--gaps {args.gaps}: that run trains on this round; name the run before")
    with timed(f"mine@{args.round}"):
        mine_round(args.round, args.gaps, params, force=args.force)
    summary = read_json(layout.manifest_summary(args.round))
    print(review(summary))
    path = layout.manifest(args.round)
    conclude(path, f"{summary['rows']:,} latents", f"facestill render {args.round}")


def explain(arguments: list[str]) -> None:
    parser = Parser(prog="mine explain", description="Walk a face back to the prior.")
    parser.add_argument("face_id", type=int)
    face_id = parser.parse_args(arguments).face_id
    for line in describe(trace(face_id, layout.MANIFESTS)):
        print(line)


def summarise(arguments: list[str]) -> None:
    parser = Parser(prog="mine summary", description="What a mined round holds, and why.")
    parser.add_argument("round", type=layout.round_name)
    path = layout.manifest_summary(parser.parse_args(arguments).round)
    summary = read_json(path)
    try:
        print(review(summary))
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: not the summary of a round; make the round again") from None


if __name__ == "__main__":
    run_command(main)
