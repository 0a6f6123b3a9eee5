"""Put a block for another modality before a frozen student or teacher.

    facestill adapt mined-2 --pairs DIR --modality thermal --frame arcface112 --out runs/thermal
        --synthetic-source TEXT --licence TEXT
    facestill adapt teacher:dlib-resnet …      a teacher whose network is one of torch

Prepended Domain Transformer (George et al. 2022). DIR has a folder a modality, `visible` and the
one that is named, in each a folder a person: crops in one frame. Writes block.safetensors and
log.json; the network is not touched, and not copied. Photographs of people train only where
real_faces in params.yaml names their folder and allows it, without --synthetic-source. A run that
is stopped leaves nothing, and begins anew: it takes minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.files import read_json, write_json
from manifests.core.locks import writing
from manifests.core.progress import Bar
from manifests.settings.adaptation import Adaptation, Origin, load_adaptation, origin_of
from manifests.settings.params import load_params
from pipeline.arrays.frames import FRAMES
from pipeline.arrays.numerics import device_of
from train.adapting.backbones import Backbone, open_backbone
from train.adapting.contrast import fit_block
from train.adapting.pictures import Pairs, read_pairs
from train.checkpoint import BLOCK, FILE, LOG, BlockCard, save_block, weights_sha256
from train.students.prepended import Adapted, PrependedBlock


def adapt(
    backbone: Backbone, pairs: Pairs, settings: Adaptation, place: torch.device
) -> tuple[PrependedBlock, list[Mapping[str, Any]]]:
    """A block that was taught on these pairs, and the figures of each epoch; the same on one
    machine for one seed."""
    torch.manual_seed(settings.seed)
    adapted = Adapted(PrependedBlock(), backbone.network).to(place)
    before = weights_sha256(backbone.network)
    epochs = fit_block(adapted, pairs.source, pairs.target, settings)
    bar = Bar(epochs, total=settings.epochs, desc="adapt", unit="epoch")
    history = []
    for found in bar:
        bar.set_postfix(loss=f"{found['loss']:.4f}")
        history.append(found)
    assert weights_sha256(backbone.network) == before  # frozen, buffers too
    return adapted.block.cpu(), history


def check_replaced(output: Path, inputs: Mapping[str, Any], *, force: bool) -> None:
    """Raises InputError where a student lies, or the block of other inputs, which would be lost."""
    if (output / FILE).exists():
        raise InputError(f"{output}: a student is here; name another folder with --out")
    if not (output / LOG).exists() or force:
        return
    log = read_json(output / LOG)
    unlike = [name for name, value in inputs.items() if log.get(name) != value]
    if unlike:
        raise InputError(
            f"{output}: a block of another {unlike[0]} ({str(log.get(unlike[0]))[:60]}); name "
            "another folder with --out, or replace it with --force"
        )


def make(
    backbone: Backbone, pairs: Pairs, modality: str, origin: Origin, settings: Adaptation,
    output: Path, *, place: torch.device, force: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Writes the block and its log, and returns it. Raises InputError for another block that would
    be lost."""
    card = BlockCard(
        modality, backbone.name, backbone.sha256, pairs.sha256, origin.statement,
        origin.of_people, origin.licence,
    )  # fmt: skip
    inputs = asdict(card) | {
        "settings": asdict(settings),
        "num_people": len(pairs.people),
        "num_visible": len(pairs.source.person),
        "num_pictures": len(pairs.target.person),
    }
    with writing(output):
        check_replaced(output, inputs, force=force)
        start = time.perf_counter()
        with timed(f"adapt@{output.name}"):
            block, history = adapt(backbone, pairs, settings, place)
        save_block(output / BLOCK, block, card)
        log = inputs | {
            "block_sha256": weights_sha256(block),
            "history": history,
            "seconds": round(time.perf_counter() - start, 1),
            "torch": torch.__version__,
            "device": place.type,
        }
        write_json(output / LOG, log)
    return log


def _parser() -> argparse.ArgumentParser:
    parser = Parser(__doc__)
    parser.add_argument("model", help="a run such as mined-2, or teacher:NAME")
    parser.add_argument("--pairs", type=Path, required=True, metavar="DIR")
    parser.add_argument("--modality", required=True, help="its folder in DIR, beside visible")
    parser.add_argument(
        "--frame", choices=sorted(FRAMES), required=True, help="that all pictures are cut to"
    )
    parser.add_argument("--synthetic-source", metavar="TEXT", help="what made the pictures")
    parser.add_argument("--licence", metavar="TEXT", help="of the pictures")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="YAML: epochs, margin, …")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/adapted/MODALITY")
    parser.add_force()
    return parser


def main() -> None:
    args = _parser().parse_args()
    params = load_params()
    origin = origin_of(args.pairs, args.synthetic_source, args.licence, params.real_faces)
    settings = load_adaptation(args.settings)
    backbone = open_backbone(args.model, layout.WEIGHTS)
    pairs = read_pairs(args.pairs, args.modality, FRAMES[args.frame], backbone.frame)
    output = args.out or layout.run("adapted") / args.modality
    log = make(
        backbone, pairs, args.modality, origin, settings, output,
        place=device_of(params.device), force=args.force,
    )  # fmt: skip
    first, last = log["history"][0], log["history"][-1]
    found = (
        f"a block for {args.modality} before {backbone.name}, {log['num_people']} people; loss "
        f"{first['loss']:.4f} → {last['loss']:.4f}, distance of one person "
        f"{first['distance_same']:.3f} → {last['distance_same']:.3f}"
    )
    following = (
        f"facestill verify --model {backbone.name} --probes {output} --benchmark pairs:DIR "
        "--out DIR"
    )
    conclude(output, found, following)


if __name__ == "__main__":
    run_command(main)
