"""Does a prepended block bring another modality to a frozen student?
-> docs/results/modalities.json

    python -m tests.experiments.modalities [--run mined-2]      beside a finished `make repro`

No sensor's pictures are here. Thermal-like, sketch-like, near-infrared-like and low-resolution
pictures are computed from generated faces: likenesses, which have the gaps in tone and detail that
a block can mend, and nothing of what a real sensor sees and a camera does not. Identities are
parted: a block is taught on some, and measured on the others, between different faces of one
identity: visible on the left, the likeness on the right. The student saw all of them, visible.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from eval.alignment import crops_in
from eval.benchmarks import open_benchmark
from eval.photos.crossing import verify_across
from eval.photos.models import load_model
from eval.photos.verification import verify_models
from eval.scoring.results import paired, read_result
from manifests.core import layout
from manifests.core.errors import Parser, conclude, run_command
from manifests.core.files import write_json
from manifests.core.layout import IDENTITIES
from manifests.core.progress import Bar
from manifests.settings.adaptation import Adaptation, Origin, load_adaptation
from manifests.settings.params import Params, load_params
from pipeline.arrays.frames import FRAMES, Frame
from pipeline.arrays.numerics import device_of
from train.adapt import make
from train.adapting.backbones import open_backbone
from train.adapting.pictures import VISIBLE, read_pairs
from train.batching.sources import Source, open_sources

SEED, FOLDS = 2026, 10
TAUGHT, UNSEEN = "taught", "unseen"
SCRATCH = layout.WORK / "experiments" / "modalities"
RESULTS = Path("docs/results/modalities.json")
Pictures = Float[Tensor, "picture 3 height width"]  # RGB, 0…255
Images = UInt8[np.ndarray, "picture height width 3"]


def blurred(pictures: Tensor, sigma: float) -> Tensor:
    """By a Gaussian, edges repeated."""
    reach = int(3 * sigma + 0.5)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    line = (line / line.sum()).expand(pictures.shape[1], 1, 1, -1)
    padded = functional.pad(pictures, (reach, reach, reach, reach), mode="replicate")
    wide = functional.conv2d(padded, line, groups=pictures.shape[1])
    return functional.conv2d(wide, line.transpose(2, 3), groups=pictures.shape[1])


def grey(pictures: Pictures, weights: Sequence[float] = (0.299, 0.587, 0.114)) -> Tensor:
    return (pictures * pictures.new_tensor(weights)[:, None, None]).sum(1, keepdim=True)


def thermal(pictures: Pictures) -> Pictures:
    """Dark is bright, soft, without colour: a likeness of a heat camera's picture in tone alone."""
    return (255.0 - blurred(grey(pictures), 1.5)).expand(-1, 3, -1, -1)


def sketch(pictures: Pictures) -> Pictures:
    """A pencil's lines: grey divided by its blurred self (colour dodge)."""
    own = grey(pictures)
    return (own / blurred(own, 4.0).clamp_min(1.0) * 255.0).clamp(0, 255).expand(-1, 3, -1, -1)


def near_infrared(pictures: Pictures) -> Pictures:
    """Mostly red, against blue, and lifted: skin is bright and even."""
    own = grey(pictures, (1.2, 0.1, -0.3)).clamp(0, 255) / 255.0
    return (own**0.6 * 255.0).expand(-1, 3, -1, -1)


def low_resolution(pictures: Pictures) -> Pictures:
    """Twelve pixels a side, by areas, and back by cubics."""
    small = functional.interpolate(pictures, (12, 12), mode="area")
    side = pictures.shape[-2:]
    return functional.interpolate(small, side, mode="bicubic", align_corners=False).clamp(0, 255)


LIKENESSES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "thermal-like": thermal,
    "sketch-like": sketch,
    "near-infrared-like": near_infrared,
    "low-resolution": low_resolution,
}


@dataclass(frozen=True)
class Plan:
    run: str
    adaptation: Adaptation
    seeds: tuple[int, ...]
    share: float  # of the identities that blocks are taught on
    least: int  # usable faces of an identity
    most: int  # of them that are used
    people: int  # identities that are used
    likenesses: tuple[str, ...]


def people_of(source: Source, plan: Plan) -> list[list[int]]:
    """Rows of each identity's usable faces, in an order of their own."""
    rng = np.random.default_rng(SEED)
    identity = source.identities[source.usable]
    people = [source.usable[identity == each] for each in np.unique(identity[identity >= 0])]
    enough = [rows for rows in people if len(rows) >= plan.least]
    people = [rng.permutation(rows)[: plan.most].tolist() for rows in enough]
    return [people[at] for at in rng.permutation(len(people))[: plan.people]]


def write(images: Images, rows: Sequence[int], folder: Path, likeness: str | None) -> list[str]:
    """Names of the pictures, which are crops in the frame of the store."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for row in rows:
        image = images[row]
        if likeness is not None:
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
            image = LIKENESSES[likeness](pixels)[0].permute(1, 2, 0).round().byte().numpy()
        names.append(f"{likeness or VISIBLE}-{row}.png")
        Image.fromarray(image).save(folder / names[-1], compress_level=1)
    return names


def write_people(images: Images, people: Sequence[Sequence[int]], plan: Plan) -> None:
    """Half of each person's faces visible, the other half in every likeness: to learn from, and
    ten folds of unlike people with as many impostor as genuine pairs."""
    count = int(plan.share * len(people))
    for number, rows in enumerate(Bar(people[:count], desc=TAUGHT, unit="person")):
        half = len(rows) // 2
        write(images, rows[:half], SCRATCH / TAUGHT / VISIBLE / f"{number}", None)
        for likeness in plan.likenesses:
            write(images, rows[half:], SCRATCH / TAUGHT / likeness / f"{number}", likeness)
    for likeness in plan.likenesses:
        _write_unseen(images, people[count:], SCRATCH / UNSEEN / likeness, likeness)


def _write_unseen(
    images: Images, people: Sequence[Sequence[int]], folder: Path, likeness: str
) -> None:
    rng, lines, sides = np.random.default_rng(SEED), ["fold,left,right,same"], []
    for number, rows in enumerate(Bar(people, desc=likeness, unit="person")):
        half, own = len(rows) // 2, folder / "images" / f"{number}"
        both = write(images, rows[:half], own, None), write(images, rows[half:], own, likeness)
        sides.append([[f"{number}/{name}" for name in names] for names in both])
    for number, (visible, other) in enumerate(sides):
        fold = number % FOLDS
        mates = [at for at in range(fold, len(sides), FOLDS) if at != number]
        for left in visible:
            for right in other:
                lines.append(f"{fold},{left},{right},1")
                stranger = sides[rng.choice(mates)][1]
                lines.append(f"{fold},{left},{stranger[rng.integers(len(stranger))]},0")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def measure(likeness: str, frame: Frame, params: Params, plan: Plan) -> dict[str, Any]:
    """The same student and pairs, before a block and with one of each seed."""
    backbone, out = open_backbone(plan.run, layout.WEIGHTS), SCRATCH / "results" / likeness
    protocol = open_benchmark(f"pairs:{SCRATCH / UNSEEN / likeness}", crops_in(frame))
    model = load_model(plan.run, layout.WEIGHTS)
    (before,) = verify_models([model], protocol)
    before.write(out / "before")
    pairs = read_pairs(SCRATCH / TAUGHT, likeness, frame, backbone.frame)
    origin = Origin(f"round {IDENTITIES} of this project, {likeness}", "as its faces'")
    by_seed = {}
    for seed in plan.seeds:
        run, settings = out / f"run-{seed}", replace(plan.adaptation, seed=seed)
        place = device_of(params.device)
        log = make(backbone, pairs, likeness, origin, settings, run, place=place, force=True)
        across = verify_across(model, load_model(run.as_posix(), layout.WEIGHTS), protocol)
        across.write(out / f"after-{seed}")
        both = (read_result(out / name) for name in (f"after-{seed}", "before"))
        found = paired(*both)["difference"]
        by_seed[str(seed)] = {
            "after": _figures(across.metrics),
            "difference": {name: found[name] for name in ("accuracy", "auc", "eer")},
            "last": log["history"][-1],
            "seconds": log["seconds"],
        }
    return {"before": _figures(before.metrics), "num_taught": len(pairs.people), "by_seed": by_seed}


def _figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    names = ("accuracy", "accuracy_ci95_identity", "auc", "eer", "num_pairs", "num_subjects")
    return {name: metrics[name] for name in names}


def in_words(found: Mapping[str, Any]) -> str:
    after = [own["after"]["accuracy"] for own in found["by_seed"].values()]
    return f"{found['before']['accuracy']:.3f} → {min(after):.3f} to {max(after):.3f}"


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--run", default="mined-2")
    parser.add_argument("--settings", type=Path, help="as facestill adapt takes it")
    parser.add_argument("--people", type=int, default=384, help="identities, at most")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--only", nargs="+", default=list(LIKENESSES), choices=list(LIKENESSES))
    parser.add_force()
    args = parser.parse_args()
    adaptation = load_adaptation(args.settings)
    plan = Plan(
        args.run, adaptation, tuple(args.seeds), share=0.6, least=6, most=8, people=args.people,
        likenesses=tuple(args.only),
    )  # fmt: skip
    params = load_params()
    (source,), _ = open_sources([IDENTITIES], [params.teacher], params, {})
    people = people_of(source, plan)
    shutil.rmtree(SCRATCH, ignore_errors=True)
    write_people(source.faces.images(0, len(source.faces)), people, plan)
    frame = FRAMES[source.faces.frame["name"]]
    found = {name: measure(name, frame, params, plan) for name in plan.likenesses}
    write_json(args.out, {"plan": asdict(plan), "modalities": found})
    conclude(args.out, ", ".join(f"{name} {in_words(own)}" for name, own in found.items()))


if __name__ == "__main__":
    run_command(main)
