"""params.yaml, parsed once into frozen dataclasses; an unknown key or wrong type is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from manifests.core.errors import InputError
from manifests.core.layout import IDENTITIES, POOL, START
from manifests.core.parsing import parse
from manifests.settings.training import Fuse, MinedRun, Run, Train

PATH = Path("params.yaml")


@dataclass(frozen=True)
class PriorRound:
    count: int  # latents; about four in five become usable faces
    seed: int


@dataclass(frozen=True)
class Detection:
    detect_size: int  # pixels that a generated picture is enlarged to for the detector
    detect_threshold: float  # dlib detection score; lower finds more


@dataclass(frozen=True)
class Render:
    frame_size: int  # pixels of the stored crop
    detect_size: int
    detect_threshold: float
    retries: tuple[Detection, ...]  # for pictures in which the first finds no face, in turn
    shard_rows: int  # of one image shard, the unit of work: 10 to 100 MB are well

    @property
    def detections(self) -> tuple[Detection, ...]:
        """All attempts to find a face, in their order."""
        return (Detection(self.detect_size, self.detect_threshold), *self.retries)


@dataclass(frozen=True)
class Screen:
    least_cosine: float  # of centred embeddings: above it, the later face is a near-duplicate
    least_quality: float  # the detector's score: below it, a face is of low quality
    least_identity: float  # cosine to the mean of its identity's other faces: below it, off it


@dataclass(frozen=True)
class Threshold:
    """The teacher's cosine from which on a neighbour counts as similar to a reference."""

    rule: str  # median, quantile (of the reference's neighbours) or cosine
    value: float  # of quantile: the dissimilar share; of cosine: the cosine itself


@dataclass(frozen=True)
class BoundaryParams:
    solver: str  # ridge or linear_svc
    threshold: Threshold
    references: int
    neighbours: int
    most_alike: float  # a reference with a cosine above it to an earlier one is not used
    penalty: float  # ridge: added to the Gram matrix's diagonal, in units of its mean diagonal
    held_out: float  # share of the neighbours that accuracy is measured on
    min_accuracy: float  # a boundary below it is not used
    seed: int


@dataclass(frozen=True)
class Identities:
    law: str  # exfacegan-uniform, exfacegan-normal, along-normal or even
    per_side: int
    strength: float  # how far, in the law's own measure (pipeline/identities/sampling_laws.py)
    jitter: float  # even: standard deviation about the identity's centre
    protection: float  # even: how much less jitter in the directions that identity is in
    decorrelation: float  # even: how unlike each other the normals are made, 0..1
    restore_norm: bool  # in z, to that of a Gaussian latent
    seed: int


@dataclass(frozen=True)
class Quality:
    """The gate of an identities round; every share is of 1."""

    impostors: int  # pairs drawn for the impostor scores
    most_eer: float
    most_genuine: float  # mean cosine within identities: above it, pictures hardly differ
    least_kept: float  # of the rows, those found and like their identity
    duplicate_cosine: float  # of two identities' mean faces: from it on, one repeats the other
    most_duplicates: float  # of the identities, those that repeat another reference's
    seed: int


@dataclass(frozen=True)
class Mine:
    regions: int
    points_per_region: int  # faces of a region that k-means looks at
    shrinkage: float  # faces: a region's mean gap is pulled to the overall mean by as many
    false_discovery_rate: float  # of regions called hard, the share that may be so by chance
    hardness: str  # of one face: gap, margin or neighbours
    hard_share: float  # of a hard region's faces, the hardest ones, that parents are drawn from
    law: str  # dynamic, hard-near, boundary-walk, interpolate or prior
    coefficient: float  # dynamic: c of the SynthDistill rule
    near_step: float  # hard-near: standard deviations
    walk_step: float  # boundary-walk: the longest step along the unit normal
    count: int
    prior_share: float  # of a round's latents, drawn without parents
    region_cap: float  # largest share of the mined latents from one region
    parent_cap: int  # most children of one parent
    least_distance: float  # of a child to any other, in mean distances of two prior latents
    least_spread: float  # of the mined latents, in the pool's; below it the round collapsed
    least_gain: float  # fall of the probe's mean gap that a round must promise to be worth it
    seed: int


@dataclass(frozen=True)
class Verify:
    pairs: str | None  # a folder with pairs.csv and images/, or null
    protocol: str | None = None  # protocol_sha256 that the folder must have; null: as it lies there


@dataclass(frozen=True)
class Params:
    generator: str
    teacher: str  # whose stores are used
    teachers: Mapping[str, str]  # which file a teacher lies in: NAME: onnx:PATH
    device: str
    sample: Mapping[str, PriorRound]
    render: Render
    screen: Screen
    boundaries: BoundaryParams
    identities: Identities
    quality: Quality
    train: Train
    mined: Mapping[str, MinedRun]  # rounds and their runs, in turn
    report: str  # the run that is exported, verified and reported
    fuse: Fuse
    mine: Mine
    verify: Verify
    latent_space: str = "z"  # of the latents that are sampled and mined: z, w or w+
    psi: float = 1.0  # truncation of the generator's mapping; 1: none

    def __post_init__(self) -> None:
        known = [START]
        for name, mined in self.mined.items():
            if mined.prev not in known:
                raise InputError(
                    f"mined: {name}: prev {mined.prev!r}, expected {START} or a round above it: "
                    f"{', '.join(known)}"
                )
            known.append(name)
        if self.report not in self.runs:
            raise InputError(f"report: {self.report!r}; valid names: {', '.join(self.runs)}")

    @property
    def runs(self) -> dict[str, Run]:
        return {**self.train.runs, **{name: mined.run for name, mined in self.mined.items()}}

    @property
    def trained_rounds(self) -> list[str]:
        """The rounds of the flow that some run learns from."""
        return [POOL, IDENTITIES, *self.mined]

    def teacher_text(self, name: str) -> str:
        """What loads the teacher called `name`: what `teachers` has for it, or the name itself."""
        return self.teachers.get(name, name)


def load_params(path: Path = PATH) -> Params:
    """The parameters of this checkout.

    Raises InputError naming the key that is unknown, missing or of another type.
    """
    return parse(Params, read_yaml(path), str(path))


def read_yaml(path: Path) -> Any:
    """Raises InputError naming a file that is not there or not YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run from the repository root") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not readable as YAML ({error})") from None
