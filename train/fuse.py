"""Train an adaptor that fuses several teachers' embeddings into runs/NAME/.

    facestill fuse fused --teachers a b c d --rounds identities

Writes adaptor.safetensors and log.json. MST-KD (ECCV-W 2024): the teachers' cached embeddings of
labelled faces are all that it reads; no face is embedded again. A student is then taught the
adaptor's outputs: in params.yaml, `train: {teachers: {a: 1.0, …}, adaptor: fused}`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, run_command
from manifests.core.files import read_json, write_json
from manifests.core.locks import writing
from manifests.core.parsing import told
from manifests.core.progress import Bar
from manifests.settings.params import Params, load_params
from manifests.settings.training import Fuse, check_training_rounds
from train.batching.sources import (
    Source,
    identity_labels,
    num_identities,
    open_sources,
    real_faces_of,
)
from train.checkpoint import FILE, LOG
from train.engine.optimizers import sampled_rows
from train.engine.preflight import differences
from train.losses.adaptors import ADAPTOR, Adaptor, Input, save_adaptor
from train.losses.margin_heads import MarginHead
from train.losses.prerequisites import LEAST_IDENTITIES, check_views, identity_sha256

ORDER = 3  # what a random stream is for, beside its seed
DROP = 0.1  # of the learning rate


def fit_adaptor(
    adaptor: Adaptor,
    head: MarginHead,
    joined: Float[Tensor, "face joined"],
    labels: Int[Tensor, " face"],
    settings: Fuse,
) -> Iterator[float]:
    """Trains in place, one epoch an item: its mean loss. In the end, the adaptor is as it was
    after the epoch of the lowest one."""
    parameters = [*adaptor.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(
        parameters, settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay
    )
    best, kept = float("inf"), adaptor.state_dict()
    for epoch in range(settings.epochs):
        for group in optimizer.param_groups:
            drops = sum(epoch >= start for start in settings.drops)
            group["lr"] = settings.learning_rate * DROP**drops
        order = np.random.default_rng((settings.seed, ORDER, epoch)).permutation(len(joined))
        losses = []
        for rows in torch.split(torch.from_numpy(order), settings.batch):
            loss, _ = head(adaptor(joined[rows]), labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            with sampled_rows(head, optimizer):
                nn.utils.clip_grad_norm_(parameters, settings.clip)
                optimizer.step()
            losses.append(float(loss.detach()) * len(rows))
        mean = sum(losses) / len(joined)
        if not mean < float("inf"):
            raise InputError(f"fuse: loss is {mean} in epoch {epoch}; lower fuse.learning_rate")
        if mean < best:
            best, kept = mean, copy.deepcopy(adaptor.state_dict())
        yield mean
    adaptor.load_state_dict(kept)


def embeddings_of(
    sources: Sequence[Source], rows: Sequence[Int[np.ndarray, " row"]]
) -> dict[str, Float[Tensor, "sample _"]]:
    """By teacher: the raw embeddings of these rows of each round, every view a row of its own."""
    return {
        name: torch.cat(
            [
                torch.from_numpy(source.targets[name][own]).float().flatten(0, 1)
                for source, own in zip(sources, rows, strict=True)
            ]
        )
        for name in sources[0].teachers
    }


def make_adaptor(sources: Sequence[Source], settings: Fuse) -> tuple[Adaptor, list[float]]:
    """The adaptor of the teachers of `sources`, and the loss of each epoch."""
    torch.manual_seed(settings.seed)
    stores = sources[0].teachers
    inputs = [Input(name, store.width, identity_sha256(store)) for name, store in stores.items()]
    people = [*real_faces_of(sources)]
    adaptor = Adaptor(settings.kind, inputs, settings.embedding_width, people)
    margin = settings.loss.margin
    assert margin is not None
    head = MarginHead(margin, num_identities(sources), settings.embedding_width)
    labels = identity_labels(sources)
    known = [s.usable[own[s.usable] >= 0] for s, own in zip(sources, labels, strict=True)]
    joined = adaptor.join(embeddings_of(sources, known))
    views = len(joined) // sum(map(len, known))
    flat = np.concatenate([own[rows] for own, rows in zip(labels, known, strict=True)])
    own = torch.from_numpy(flat).repeat_interleave(views)
    epochs = fit_adaptor(adaptor, head, joined, own, settings)
    losses = list(Bar(epochs, total=settings.epochs, desc="fuse", unit="epoch"))
    fused = adaptor.fused(embeddings_of(sources[:1], [sources[0].usable]))
    adaptor.centre.copy_(fused.mean(dim=0))
    adaptor.spread.copy_((fused - adaptor.centre).std(correction=0))
    return adaptor, losses


def fuse(
    name: str,
    teachers: Sequence[str],
    rounds: Sequence[str],
    params: Params,
    output: Path,
    *,
    force: bool = False,
) -> dict[str, Any]:
    """Writes the adaptor and its log, and returns it. Raises InputError for less than two teachers
    or identities, a round that is not to be trained on, stores that do not fit, or another adaptor
    that would be lost."""
    if len(set(teachers)) < max(2, len(teachers)):
        raise InputError(f"teachers {', '.join(teachers)}: name two or more, each once")
    check_training_rounds(rounds)
    if (output / FILE).exists():
        raise InputError(f"{output}: a student is here; give the adaptor a name of its own")
    if params.fuse.loss.needs_teacher:
        raise InputError("fuse.loss: a margin alone, such as elastic-arcface; change params.yaml")
    sources, marks = open_sources(rounds, teachers, params, {})
    return fuse_sources(name, sources, marks, params.fuse, output, force=force)


def fuse_sources(
    name: str,
    sources: Sequence[Source],
    marks: Mapping[str, str],
    settings: Fuse,
    output: Path,
    *,
    force: bool = False,
) -> dict[str, Any]:
    """Of rounds that are open, with the teachers' embeddings."""
    for source in sources:
        for store in source.teachers.values():
            check_views(store)
    count = num_identities(sources)
    if count < LEAST_IDENTITIES:
        rounds = ", ".join(layout.round_of(source.faces.path) for source in sources)
        raise InputError(
            f"rounds {rounds}: their usable faces have {count} identities; an adaptor "
            "learns to tell them apart: name a round with identities"
        )
    stores = [store for source in sources for store in source.teachers.values()]
    roots = {store.path.as_posix(): store.root for store in stores}
    inputs = {
        "kind": settings.kind,
        "teachers": list(sources[0].teachers),
        "stores": roots | dict(marks),
        "num_identities": count,
        "params": told(settings),
    }
    with writing(output):
        check_replaced(output, inputs, force=force)
        with timed(f"fuse@{name}"):
            adaptor, losses = make_adaptor(sources, settings)
        save_adaptor(output / ADAPTOR, adaptor)
        log = inputs | {
            "history": [{"epoch": at, "loss": loss} for at, loss in enumerate(losses)],
            "kept_epoch": int(np.argmin(losses)),
            "real_faces": real_faces_of(sources),
        }
        write_json(output / LOG, log)
    return log


def check_replaced(output: Path, inputs: Mapping[str, Any], *, force: bool) -> None:
    """Raises InputError if another adaptor than that of these inputs would be lost."""
    if not (output / LOG).exists() or force:
        return
    log = read_json(output / LOG)
    for key, old, new in differences({name: log.get(name) for name in inputs}, inputs):
        raise InputError(
            f"{output}: an adaptor of {key} {old}, now it is {new}; give this one another name, "
            "or replace that with --force"
        )


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument(
        "name", type=layout.run_name, help="of the run; params.yaml names it as train.adaptor"
    )
    parser.add_argument("--teachers", nargs="+", required=True, help="names of teacher stores")
    parser.add_argument(
        "--rounds", type=layout.round_name, nargs="+", required=True, help="with identities"
    )
    parser.add_force()
    args = parser.parse_args()
    params, output = load_params(), layout.run(args.name)
    log = fuse(args.name, args.teachers, args.rounds, params, output, force=args.force)
    best = log["history"][log["kept_epoch"]]
    print(
        f"{output}: an adaptor of {', '.join(log['teachers'])}, {log['num_identities']} identities,"
        f" loss {best['loss']:.4f} in epoch {best['epoch']}"
    )
    print(f"next: a run with {{teachers: …, adaptor: {args.name}}} in params.yaml")


if __name__ == "__main__":
    run_command(main)
