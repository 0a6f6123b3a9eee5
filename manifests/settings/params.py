"""params.yaml, parsed once into frozen dataclasses; an unknown key or wrong type is an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Interval

from manifests.core import layout
from manifests.core.bounds import (
    Cosine,
    Count,
    InnerShare,
    NotNegative,
    PositiveInt,
    PositiveShare,
    Real,
    Seed,
    Share,
)
from manifests.core.errors import InputError, pick
from manifests.core.layout import IDENTITIES, POOL, PROBE, START
from manifests.core.parsing import LATER, parse, parse_fields, told
from manifests.settings.leakage import Leakage
from manifests.settings.real_faces import RealFaces
from manifests.settings.training import Fuse, MinedRun, Precision, Run, Train

PATH = Path("params.yaml")
MOST_NODES = 100_000  # of a file; the largest here have a few hundred
NEW_RUN = "or add it under `train: runs` in params.yaml, with what `start` says there"
LONGEST_STEP = 1000.0  # standard deviations of a latent: beyond it, nothing of a parent is left
Step = Annotated[float, Interval(ge=0.0, le=LONGEST_STEP)]
MOST_PENALTY = 1e6  # by far enough for planes across the two sides' means
MOST_PROTECTION = 1e6


@dataclass(frozen=True)
class PriorRound:
    count: Count  # latents; nearly all become usable faces
    seed: Seed


@dataclass(frozen=True)
class Detection:
    detect_size: PositiveInt  # pixels that a generated picture is brought to for the aligner
    detect_threshold: Real  # the aligner's score, of dlib from about -1; lower finds more


@dataclass(frozen=True)
class Render:
    frame_size: PositiveInt  # pixels of the stored crop
    detect_size: PositiveInt  # of the first attempt to find a face
    detect_threshold: Real
    retries: tuple[Detection, ...]  # for pictures in which the first finds no face, in turn
    shard_rows: PositiveInt  # of one image shard, the unit of work: 10 to 100 MB are well

    @property
    def detections(self) -> tuple[Detection, ...]:
        """All attempts to find a face, in their order."""
        return (Detection(self.detect_size, self.detect_threshold), *self.retries)


@dataclass(frozen=True)
class Embed:
    # of the teacher's arithmetic, part of a store's identity; auto: bfloat16 where the machine
    # computes it natively and the teacher is a network of torch
    precision: Precision = "float32"


@dataclass(frozen=True)
class Screen:
    least_cosine: Cosine  # of centred embeddings: above it, the later face is a near-duplicate
    least_quality: Real  # the aligner's score: below it, a face is of low quality
    least_identity: Cosine  # cosine to the mean of its identity's other faces: below it, off it


@dataclass(frozen=True)
class Threshold:
    """The teacher's cosine from which on a neighbour counts as similar to a reference."""

    rule: Literal["median", "quantile", "cosine"]  # quantile: of the reference's neighbours
    value: Cosine  # of quantile: the dissimilar share; of cosine: the cosine itself

    @classmethod
    def parsed(cls, value: Any, where: str) -> Threshold:
        """Raises InputError also for a value that the rule has no sense of."""
        found: Threshold = parse_fields(cls, value, where)
        least = {"quantile": 0.0, "cosine": -1.0}.get(found.rule)
        if least is not None and not least < found.value < 1.0:
            raise InputError(
                f"{where}: value: {found.value:g}, expected more than {least:g} and less than 1 "
                f"for rule {found.rule}"
            )
        return found


@dataclass(frozen=True)
class BoundaryParams:
    solver: Literal["ridge", "linear_svc"]
    threshold: Threshold
    references: PositiveInt
    neighbours: PositiveInt
    # One with a larger cosine to an earlier reference is not used; 1: no limit.
    most_alike: Annotated[float, Interval(gt=-1.0, le=1.0)]
    # ridge: added to the Gram matrix's diagonal, in units of its mean diagonal
    penalty: Annotated[float, Interval(ge=0.0, le=MOST_PENALTY)]
    held_out: InnerShare  # share of the neighbours that accuracy is measured on
    min_accuracy: Share  # a boundary below it is not used
    seed: Seed
    # Coordinates: in units of their spread, of the fit and of the steps (1 in z); or as released,
    # fitted between -1 and 1 and walked along unscaled
    units: Literal["spread", "released"] = field(default="spread", metadata=LATER)


@dataclass(frozen=True)
class Identities:
    law: Literal["exfacegan-uniform", "exfacegan-normal", "along-normal", "even"]
    per_side: PositiveInt
    strength: Step  # how far, in the law's own measure (pipeline/identities/sampling_laws.py)
    jitter: Step  # even: standard deviation about the identity's centre
    # even: how much less jitter in the directions that identity is in
    protection: Annotated[float, Interval(ge=0.0, le=MOST_PROTECTION)]
    decorrelation: Share  # even: how unlike each other the normals are made
    restore_norm: bool  # in z, to that of a Gaussian latent
    seed: Seed


@dataclass(frozen=True)
class Quality:
    """The gate of an identities round; every share is of 1."""

    impostors: PositiveInt  # pairs drawn for the impostor scores
    most_eer: Share
    most_genuine: Cosine  # mean cosine within identities: above it, pictures hardly differ
    least_kept: Share  # of the rows, those found and like their identity
    duplicate_cosine: Cosine  # of two identities' mean faces: from it on, one repeats the other
    most_duplicates: Share  # of the identities, those that repeat another reference's
    seed: Seed


@dataclass(frozen=True)
class Mine:
    regions: PositiveInt
    points_per_region: PositiveInt  # faces of a region that k-means looks at
    shrinkage: NotNegative  # faces: a region's mean gap is pulled to the overall mean by as many
    false_discovery_rate: Share  # of regions called hard, the share that may be so by chance
    hardness: Literal["gap", "margin", "neighbours"]  # of one face
    # of a hard region's faces, the hardest ones, that parents are drawn from
    hard_share: PositiveShare
    # dynamic-as-published: of every usable face of the pool one child, whatever else is said here
    law: Literal[
        "dynamic", "dynamic-as-published", "hard-near", "boundary-walk", "interpolate", "prior"
    ]
    coefficient: Step  # dynamic: c of the SynthDistill rule
    near_step: Step  # hard-near: standard deviations
    walk_step: Step  # boundary-walk: the longest step along the unit normal
    count: Count
    prior_share: Share  # of a round's latents, drawn without parents
    region_cap: PositiveShare  # largest share of the mined latents from one region
    parent_cap: PositiveInt  # most children of one parent
    least_distance: NotNegative  # of a child to any other, in mean distances of two prior latents
    least_spread: NotNegative  # of the mined latents, in the pool's; below it the round collapsed
    # fall of the probe's mean gap that a round must promise to be worth it
    least_gain: NotNegative
    seed: Seed


@dataclass(frozen=True)
class Online:
    """SynthDistill's loop, `facestill online`: faces that are made while a student learns."""

    # after each step on fresh faces, one on the same latents, moved; false: fresh faces alone
    dynamic: bool = True
    coefficient: Step = 1.0  # c of the published rule, in the latents' own units
    mirrored: bool = False  # half of the faces; the teacher then sees all of them twice
    # fresh ones beside, that say the teacher's mean and spread
    centre_faces: Annotated[int, Interval(ge=2, le=1 << 20)] = 2048


@dataclass(frozen=True)
class Verify:
    pairs: str | None  # a folder with pairs.csv and images/, or null
    protocol: str | None = None  # protocol_sha256 that the folder must have; null: as it lies there


@dataclass(frozen=True)
class Params:
    generator: str
    teacher: str  # whose stores are used
    teachers: Mapping[str, str]  # which file a teacher lies in: NAME: onnx:PATH
    device: Literal["auto", "cpu", "cuda"]
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
    aligner: str = "dlib"  # that finds the faces, generated and in photographs
    # of the latents that are sampled and mined; auto: w of a generator with a mapping
    latent_space: Literal["z", "w", "w+", "auto"] = "z"
    psi: Real = 1.0  # truncation of the generator's mapping; 1: none
    embed: Embed = Embed()
    online: Online = Online()
    leakage: Mapping[str, Leakage] = field(default_factory=dict)  # gates: a stage leakage@NAME each
    # photographs of people that runs by hand and studies may train on
    real_faces: RealFaces = field(default_factory=RealFaces)

    @classmethod
    def parsed(cls, value: Any, where: str) -> Params:
        """Raises InputError also for rounds and runs that do not go together."""
        found: Params = parse_fields(cls, value, where)
        found.check_names(where)
        return found

    def check_names(self, where: str) -> None:
        for part, found, needed in (
            ("sample", self.sample, (POOL, PROBE)),
            ("train: runs", self.train.runs, (START,)),
        ):
            missing = [name for name in needed if name not in found]
            if missing:
                raise InputError(f"{where}: {part}: missing key {missing[0]!r}")
        if ":" in self.teacher:  # the flow's stores are called after it
            raise InputError(
                f"{where}: teacher: {self.teacher!r} is a file's; give its name here, and under "
                f"teachers the file: {{NAME: {self.teacher!r}}} (docs/TEACHERS.md)"
            )
        for name in self.leakage:
            if not layout.NAME.fullmatch(name):
                raise InputError(
                    f"{where}: leakage: {name[:80]!r}: a name begins with a letter, and has "
                    "letters, digits, dots, dashes and underscores"
                )
        for name in (*self.sample, *self.runs):
            if not layout.NAME.fullmatch(name) or name in layout.TAKEN:
                raise InputError(
                    f"{where}: round or run {name[:80]!r}: a name begins with a letter, has "
                    "letters, digits, dots, dashes and underscores, and is none of "
                    f"{', '.join(sorted(layout.TAKEN))}"
                )
        known, taken = [START], [*self.train.runs, *self.sample, IDENTITIES]
        for name, mined in self.mined.items():
            if mined.prev not in known:
                raise InputError(
                    f"{where}: mined: {name}: prev: {mined.prev!r}, expected one of "
                    f"{', '.join(known)}"
                )
            if name in taken:
                raise InputError(f"{where}: mined: {name}: a round or run of that name is there")
            self._check_continues(name, mined.prev, where)
            known.append(name)
        if self.report not in self.runs:
            valid = ", ".join(self.runs)
            raise InputError(f"{where}: report: {self.report!r}, expected one of {valid}")

    def _check_continues(self, name: str, prev: str, where: str) -> None:
        """A run begins with the weights of the one before: of the same network."""
        own, before = (self.of_run(each).train for each in (name, prev))
        for key, asked in network_of(own).items():
            found = network_of(before)[key]
            if asked != found and None not in (asked, found):  # null follows from the teacher
                raise InputError(
                    f"{where}: mined: {name}: {key}: {asked}, but it continues {prev}, which has "
                    f"{found}; say the same of both, or of all in train"
                )

    def of_run(self, name: str) -> Params:
        """With what that run has of its own in `train`. Raises InputError for an unknown run."""
        return replace(self, train=self.train.of(self.run(name)))

    def run(self, name: str) -> Run:
        """Raises InputError for an unknown run."""
        return pick("run", name, self.runs, NEW_RUN)

    @property
    def runs(self) -> dict[str, Run]:
        return {**self.train.runs, **{name: mined.run for name, mined in self.mined.items()}}

    @property
    def recipe(self) -> dict[str, Any]:
        """All of it, as it is written."""
        values = told(self)
        values["train"]["runs"] = {name: run.section for name, run in self.train.runs.items()}
        return values | {"mined": {name: mined.section for name, mined in self.mined.items()}}

    @property
    def trained_rounds(self) -> list[str]:
        """The rounds of the flow that some run learns from."""
        return [POOL, IDENTITIES, *self.mined]

    def gate(self, name: str) -> Leakage:
        """A search for repeated people, in the rounds that runs learn from where it names none.
        Raises InputError for an unknown one."""
        if not self.leakage:
            raise InputError("params.yaml has no gate under leakage; write one: docs/LEAKAGE.md")
        found = pick("gate", name, self.leakage)
        return replace(found, rounds=found.rounds or tuple(self.trained_rounds))

    def teacher_text(self, name: str) -> str:
        """What loads the teacher called `name`: what `teachers` has for it, or the name itself."""
        return self.teachers.get(name, name)


def network_of(train: Train) -> dict[str, Any]:
    """{key: value} of what decides the shapes of a student's weights."""
    own = {f"student: {key}": value for key, value in asdict(train.student).items()}
    return {**own, "embedding_width": train.embedding_width}


def load_params(path: Path = PATH) -> Params:
    """The parameters of this checkout.

    Raises InputError naming the key that is unknown, missing or of another type.
    """
    return parse(Params, read_yaml(path), str(path))


def read_yaml(path: Path) -> Any:
    """Raises InputError naming a file that is not there or not YAML, one in which a key stands
    twice, and one whose aliases make a few lines of it large."""
    try:
        text = path.read_text(encoding="utf-8")
        if _size(yaml.compose(text, yaml.SafeLoader), {}) > MOST_NODES:
            raise ValueError(f"with its aliases written out more than {MOST_NODES:,} values")
        return yaml.safe_load(text)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run from the repository root") from None
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path}: not readable as YAML ({error})") from None


def _size(node: yaml.Node | None, known: dict[int, int]) -> int:
    """How many values a node holds, each as often as aliases repeat it."""
    if node is None or id(node) in known:
        return known.get(id(node), 0)
    known[id(node)] = 1  # of a node that holds itself
    inside: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        _require_once([own for own, _ in node.value if isinstance(own, yaml.ScalarNode)])
        inside = [own for pair in node.value for own in pair]
    elif isinstance(node, yaml.SequenceNode):
        inside = node.value
    known[id(node)] += sum(_size(own, known) for own in inside)
    return known[id(node)]


def _require_once(keys: Sequence[yaml.ScalarNode]) -> None:
    """YAML forbids a key that is there twice; its reader keeps the last without a word."""
    first: dict[str, yaml.ScalarNode] = {}
    for key in keys:
        if first.setdefault(key.value, key) is not key:
            lines = [own.start_mark.line + 1 for own in (first[key.value], key)]
            raise ValueError(f"key {key.value[:80]!r} on lines {lines[0]} and {lines[1]}")
