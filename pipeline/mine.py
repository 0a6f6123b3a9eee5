"""Stage mine: gaps and pool -> manifests/rounds/mined-K.parquet, data/mined-K/regions.parquet.

    python -m pipeline.mine mined-1 --gaps start

Regions are clusters of the pool's centred teacher embeddings (FAISS spherical k-means). How
hard a region is, is measured on the probe, which is never trained on; parents are the pool's
faces in the hardest regions; children are their latents, moved by the SynthDistill rule.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import faiss
import numpy as np
from jaxtyping import Float, Int

from manifests import layout
from manifests.costs import timed
from manifests.digests import canonical_json
from manifests.errors import InputError, Parser, run_command
from manifests.gaps import GapTable
from manifests.latents import build
from manifests.layout import IDENTITIES, POOL, PROBE
from manifests.params import Mine, Params, load_params
from manifests.rounds import open_round
from pipeline.sample import recipe_for, save

LAW = "dynamic"
PARENTS, STEPS = 1, 2  # what a random stream is for, beside its seed


@dataclass(frozen=True)
class Round:
    """A round's usable faces: ids, latents, unit centred embeddings and gaps (mean of views)."""

    face_id: Int[np.ndarray, " face"]
    latents: Float[np.ndarray, "face width"]
    embeddings: Float[np.ndarray, "face embedding"]
    table: GapTable

    @property
    def gap(self) -> Float[np.ndarray, " face"]:
        return (self.table.gap.astype(np.float64) + self.table.flip_gap) / 2


@dataclass(frozen=True)
class Region:
    """A cluster of faces and how far the student is from the teacher in it."""

    region: int
    num_faces: int  # of the probe
    mean_gap: float
    shrunken_gap: float
    hard: bool


def find_regions(
    embeddings: Float[np.ndarray, "face width"], count: int, seed: int
) -> Float[np.ndarray, "region width"]:
    """Unit centroids of a spherical k-means over unit rows, which must come in a fixed order."""
    count = min(count, len(embeddings))
    kmeans = faiss.Kmeans(
        embeddings.shape[1], count, niter=20, seed=seed, spherical=True,
        max_points_per_centroid=len(embeddings), min_points_per_centroid=1,
    )  # fmt: skip
    kmeans.train(np.ascontiguousarray(embeddings, np.float32))
    return np.asarray(kmeans.centroids)


def assign(
    embeddings: Float[np.ndarray, "face width"], centroids: Float[np.ndarray, "region width"]
) -> Int[np.ndarray, " face"]:
    """The region of the largest inner product, for each row."""
    if not len(embeddings):
        return np.empty(0, np.int32)
    index = faiss.IndexFlatIP(centroids.shape[1])
    index.add(np.ascontiguousarray(centroids, np.float32))
    _, nearest = index.search(np.ascontiguousarray(embeddings, np.float32), 1)
    return nearest[:, 0].astype(np.int32)


def hardness(
    gap: Float[np.ndarray, " face"], region: Int[np.ndarray, " face"], count: int, settings: Mine
) -> list[Region]:
    """Every region's mean gap, pulled towards the overall mean by `shrinkage` faces, and which
    are the hard ones: a small region is not hard because of two unlucky faces."""
    sizes = np.bincount(region, minlength=count)
    sums = np.bincount(region, weights=gap, minlength=count)
    overall = float(gap.mean()) if len(gap) else 0.0
    means = np.divide(sums, sizes, out=np.full(count, overall), where=sizes > 0)
    weight = sizes + settings.shrinkage
    pulled = sums + settings.shrinkage * overall
    shrunken = np.divide(pulled, weight, out=np.full(count, overall), where=weight > 0)
    num_hard = max(1, round(count * settings.hard_share))
    hard = set(np.argsort(-shrunken, kind="stable")[:num_hard].tolist())
    return [
        Region(i, int(sizes[i]), float(means[i]), float(shrunken[i]), i in hard)
        for i in range(count)
    ]


def draw_parents(
    region: Int[np.ndarray, " face"], regions: list[Region], settings: Mine
) -> Int[np.ndarray, " child"]:
    """Rows of the pool, with replacement, from the hard regions; a region's share grows with
    its shrunken gap."""
    hard = [item for item in regions if item.hard]
    weight_of = {item.region: item.shrunken_gap for item in hard}
    rows = np.flatnonzero(np.isin(region, list(weight_of)))
    if not len(rows):
        return rows
    sizes = np.bincount(region[rows], minlength=len(regions))
    weights = np.array([weight_of[int(r)] / sizes[int(r)] for r in region[rows]])
    if weights.sum() <= 0:  # nothing is hard: an empty round
        return rows[:0]
    rng = np.random.default_rng((settings.seed, PARENTS))
    return rng.choice(rows, size=settings.count, p=weights / weights.sum())


def dynamic(
    latents: Float[np.ndarray, "face width"], step: Float[np.ndarray, " face"], seed: int
) -> Float[np.ndarray, "face width"]:
    """z' = (z + step * eps) / sqrt(1 + step^2), eps standard normal: still Gaussian where z is.

    step = c * (cos + 1) / 2, SynthDistill's rule: where student and teacher agree the child
    lies far, where they differ it lies near.
    """
    eps = np.random.default_rng((seed, STEPS)).standard_normal(latents.shape)
    scaled = step[:, None]
    return ((latents + scaled * eps) / np.sqrt(1.0 + scaled**2)).astype(np.float32)


def load_round(name: str, gaps: str, params: Params, centre: np.ndarray) -> Round:
    """A round's usable faces with their gaps; the whole chain of digests is checked."""
    files = open_round(name, params.teacher)
    manifest = files.require_manifest()
    table = GapTable.read(layout.gap_table(gaps, name), expect_teacher=files.teacher.root)
    ok = files.faces.ok()
    if not np.array_equal(manifest.face_id[ok], table.face_id):
        raise InputError(f"round {name}: the gap table of {gaps} holds other faces; run gap again")
    centred = files.teacher.embeddings()[ok, 0].astype(np.float32) - centre
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return Round(manifest.face_id[ok], manifest.latents[ok], unit, table)


def mine(
    pool: Round, probe: Round, settings: Mine
) -> tuple[dict[str, np.ndarray], list[Region], GapTable]:
    """Columns of the new round, the regions, and the probe's gaps with its regions filled in."""
    centroids = find_regions(pool.embeddings, settings.regions, settings.seed)
    home, probe_home = assign(pool.embeddings, centroids), assign(probe.embeddings, centroids)
    regions = hardness(probe.gap, probe_home, len(centroids), settings)
    parents = draw_parents(home, regions, settings)
    cosine = 1.0 - pool.gap[parents]
    step = settings.coefficient * (cosine + 1.0) / 2.0
    columns = {
        "latents": dynamic(pool.latents[parents], step, settings.seed),
        "parent_id": pool.face_id[parents],
        "region_id": home[parents],
        "step": step.astype(np.float32),
        "score": pool.gap[parents].astype(np.float32),
    }
    return columns, regions, replace(probe.table, region=probe_home)


def mine_round(name: str, gaps: str, params: Params) -> list[Region]:
    """Mines with the gaps of run `gaps` and writes round `name`."""
    centre = open_round(POOL, params.teacher).teacher.centre()
    pool = load_round(POOL, gaps, params, centre)
    probe = load_round(PROBE, gaps, params, centre)
    # Every round draws anew, also where two students should find the same faces hard.
    seed = int(np.random.SeedSequence([params.mine.seed, *name.encode()]).generate_state(1)[0])
    settings = replace(params.mine, seed=seed >> 1)
    columns, regions, table = mine(pool, probe, settings)
    links = [pool.table.student_digest, pool.table.teacher_root, probe.table.teacher_root]
    key = canonical_json([asdict(settings), links])
    recipe = recipe_for(name, params)
    save(build(recipe, columns.pop("latents"), origin="mined", law=LAW, key=key, **columns))
    table.write(layout.regions(name))
    return regions


def main() -> None:
    parser = Parser(description="Mine a new round where the student is weak.")
    parser.add_argument("round", help="name of the new round")
    parser.add_argument("--gaps", required=True, help="the run whose gaps are read")
    args = parser.parse_args()
    params = load_params()
    if args.round not in params.train.runs or args.round in (*params.sample, IDENTITIES):
        raise InputError(f"{args.round}: mined rounds are keys of train.runs in params.yaml")
    with timed(f"mine@{args.round}"):
        regions = mine_round(args.round, args.gaps, params)
    hard = [region for region in regions if region.hard]
    means = [np.mean([r.mean_gap for r in group]) for group in (hard, regions)]
    print(f"{len(hard)} hard regions of {len(regions)}: gap {means[0]:.3f}, all {means[1]:.3f}")


if __name__ == "__main__":
    run_command(main)
