"""Does training ever wait for its store, and what did the store save?

Both sides of a ratio take turns in one run, so that a slower moment is in both: batches from the
store and from memory; SynthDistill's loop, as `facestill online` has it, and cached batches.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count, cycle, islice
from typing import Any

import numpy as np
import torch
from torch import nn

from manifests.settings.params import Params, PriorRound, load_params
from manifests.settings.training import Student
from manifests.stores.rounds import RoundFiles, open_round
from pipeline.arrays.frames import ARCFACE112, WIDE
from pipeline.building.workers import Workers
from pipeline.embed import embed_round
from pipeline.render import render_round
from pipeline.sample import sample_prior, save
from tests.bench.teacher import REPEATS, spread
from tests.process_costs import workplace
from train.augmentation.draws import Draws
from train.batching.batches import Batch, BatchStream
from train.batching.sources import Source, open_source
from train.engine.processes import keep_freed_memory
from train.engine.steps import (
    Progress,
    make_learner,
    shown,
    step_generator,
    supervised_loss,
    train_steps,
)
from train.losses.objectives import Objective, make_objective
from train.losses.terms import Target
from train.sampling.dynamic import Watched, batches
from train.sampling.faces import Studio, open_studio
from train.students import build_student

ROWS = 2048  # latents of the round; nearly all become faces
STUDENTS = {
    "small-resnet x1": ("small-resnet", 1.0),
    "small-resnet x0.5": ("small-resnet", 0.5),
    "stillnet-m x1": ("stillnet-m", 1.0),
    "stillnet-s x1": ("stillnet-s", 1.0),
    "mobilefacenet x1": ("mobilefacenet", 1.0),
}
READ_STEPS = 48  # of one turn, over which pools are read several times
LOOP_STEPS = 12  # of one turn of the online loop
LOADED = 256  # batches of one turn of the loader alone
ROUND = "bench"


def measure() -> dict[str, Any]:
    keep_freed_memory()
    with workplace():
        params = load_params()
        build = _build(params)
        files = open_round(ROUND, params.teacher)
        source = open_source(files.faces, {params.teacher: files.teacher})
        ratios = {
            label: _store_over_ram(
                replace(params.train.student, name=name, width=width), source, params
            )
            for label, (name, width) in STUDENTS.items()
        }
        online = _online(source, files, params)
        return {
            "store_over_ram": min(ratio["median"] for ratio in ratios.values()),
            "store_over_ram_by_student": ratios,
            **_loader(source, params),
            "batch_cpu_ms": _batch_cost(source, params),
            "cached_over_online": online.pop("cached_over_online"),
            "online": online,
            "break_even": _break_even(online, build, len(source.usable)),
            "threads": torch.get_num_threads(),
        }


def _build(params: Params) -> float:
    """Builds the round; seconds a usable face."""
    save(sample_prior(ROUND, PriorRound(ROWS, 13), params))
    workers = Workers(1)  # one process, as the online loop is one
    start = time.perf_counter()
    render_round(ROUND, params, workers=workers)
    embed_round(ROUND, params.teacher, params, workers=workers)
    seconds = time.perf_counter() - start
    return seconds / open_round(ROUND, params.teacher).faces.passport.num_ok


def _stream(source: Source, params: Params) -> BatchStream:
    train = params.train
    return BatchStream(
        [source],
        batch=train.batch,
        pool_rows=min(train.pool_rows, ROWS // 2),
        seed=1,
        readers=train.readers,
    )


def network_of(student: Student, source: Source, params: Params) -> nn.Module:
    torch.manual_seed(0)
    return build_student(
        student.name,
        input_size=student.input_size,
        width=student.width,
        embedding_width=source.teachers[params.teacher].width,
    )


def steps_of(
    network: nn.Module, batches: Iterator[Batch], source: Source, params: Params
) -> Iterator[Progress]:
    """Endless training of a student of the default's input size."""
    taught = source.teachers[params.teacher]
    target = Target(torch.from_numpy(taught.centre()), taught.spread())
    return steps_to(target, network, batches, params, num_faces=len(source.usable))


def steps_to(
    target: Target, network: nn.Module, batches: Iterator[Batch], params: Params, num_faces: int
) -> Iterator[Progress]:
    """The same, towards a target; `num_faces`: of an epoch."""
    objective = make_objective(params, {params.teacher: target}, num_identities=0)
    return steps_by(objective, network, batches, params, num_faces)


def steps_by(
    objective: Objective,
    network: nn.Module,
    batches: Iterator[Batch],
    params: Params,
    num_faces: int,
) -> Iterator[Progress]:
    train = replace(params.train, warmup_faces=1)
    return train_steps(
        make_learner(network, objective, train),
        batches,
        supervised_loss(
            network,
            objective,
            stored=WIDE.at(params.render.frame_size),
            seen=ARCFACE112.at(train.student.input_size),
            train=train,
            seed=1,
            num_faces=num_faces,
        ),
        train=train,
        run=next(iter(train.runs.values())),
        steps=range(10**6),
    )


def _store_over_ram(student: Student, source: Source, params: Params) -> dict[str, float]:
    """Samples a second, store ÷ memory: the median over turns of both."""
    stored = _stream(source, params).batches()
    in_memory = cycle(list(islice(_stream(source, params).batches(), READ_STEPS)))
    both = [
        steps_of(network_of(student, source, params), batches, source, params)
        for batches in (stored, in_memory)
    ]
    turns = zip(*(_timed(lines, READ_STEPS) for lines in both), strict=True)
    ratios = [memory / store for store, memory in turns]
    low, middle, high = np.quantile(ratios, (0.0, 0.5, 1.0))
    return {"median": round(middle, 4), "min": round(low, 4), "max": round(high, 4)}


def _timed(
    items: Iterator[Any], count: int, clock: Callable[[], float] = time.perf_counter
) -> Iterator[float]:
    """Seconds that so many items take, REPEATS times, after a warm-up."""
    for _ in islice(items, 2):
        pass
    for _ in range(REPEATS):
        start = clock()
        for _ in islice(items, count):
            pass
        yield clock() - start


def _batch_cost(source: Source, params: Params) -> dict[str, float]:
    """Milliseconds of processor time that a batch takes beside the network: to be read, and to be
    shown."""
    train, stored = params.train, WIDE.at(params.render.frame_size)
    seen, device = ARCFACE112.at(train.student.input_size), torch.device("cpu")
    read = _stream(source, params).batches()
    batch = next(read)
    views = (
        shown(
            batch, Draws(step_generator(1, step), len(batch)), stored, seen, train, device, epoch=0
        )
        for step in count()
    )
    return {
        name: round(float(np.median([*_timed(items, LOADED, time.process_time)])) / LOADED * 1e3, 2)
        for name, items in (("read", read), ("shown", views))
    }


def _loader(source: Source, params: Params) -> dict[str, Any]:
    """Batches alone, which nobody uses: faces a second, and their decoded pixels."""
    batches = _stream(source, params).batches()
    rates = [LOADED * params.train.batch / seconds for seconds in _timed(batches, LOADED)]
    size = params.render.frame_size**2 * 3 / 1e9
    return {
        "loader_faces_per_second": round(float(np.median(rates)), 1),
        "loader_faces_per_second_spread": spread(rates),
        "loader_gb_per_second": round(float(np.median(rates)) * size, 3),
        "readers": params.train.readers,
    }


@dataclass
class Clock:
    """Seconds by part."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def watch(self, owner: object, method: str, part: str) -> None:
        """Counts the time inside a method, also of a frozen instance."""
        work = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                self.seconds[part] += time.perf_counter() - start

        object.__setattr__(owner, method, timed)

    def lines(self, items: Iterator[Progress]) -> Iterator[Progress]:
        """The same items; counts the time that they take as that of the whole."""
        while True:
            start = time.perf_counter()
            item = next(items)
            self.seconds["whole"] += time.perf_counter() - start
            yield item

    def shares(self) -> dict[str, float]:
        own = self.seconds
        parts = {
            "render": own["render"],
            "find and align": own["make"] - own["render"] - own["teacher"],
            "teacher": own["teacher"],
            "train": own["whole"] - own["make"],
        }
        return {name: round(seconds / own["whole"], 3) for name, seconds in parts.items()}


def _online(source: Source, files: RoundFiles, params: Params) -> dict[str, Any]:
    """The loop and the cached batches in turns, for the default student: samples a second, and
    where the loop's time goes."""
    student, clock = params.train.student, Clock()
    followed, other = (network_of(student, source, params) for _ in range(2))
    studio, taught = _studio(params, clock), files.teacher
    target = Target(torch.from_numpy(taught.centre()), taught.spread())
    watched = Watched(
        make_objective(params, {params.teacher: target}, num_identities=0), target, params.teacher,
        batch=params.train.batch, width=studio.generator.latent_width,
    )  # fmt: skip
    made = batches(studio, watched, params.online, seed=1)
    loop = clock.lines(steps_by(watched, followed, made, params, len(source.usable)))
    cached = steps_of(other, _stream(source, params).batches(), source, params)
    turns = list(zip(_timed(loop, LOOP_STEPS), _timed(cached, LOOP_STEPS), strict=True))
    samples = LOOP_STEPS * params.train.batch
    online, stored = (float(np.median(each)) / samples for each in zip(*turns, strict=True))
    return {
        "cached_over_online": round(online / stored, 2),
        "online_faces_per_second": round(1 / online, 1),
        "cached_faces_per_second": round(1 / stored, 1),
        "share_of_the_loop": clock.shares(),
    }


def _studio(params: Params, clock: Clock) -> Studio:
    """Both views of a face are embedded, as stores have them."""
    studio = open_studio(params, mirrored=True)
    parts = {"render": (studio.generator, "render"), "teacher": (studio.teacher, "embed")}
    for part, (owner, method) in (parts | {"make": (studio, "make")}).items():
        clock.watch(owner, method, part)
    return studio


def _break_even(online: dict[str, Any], build: float, num_faces: int) -> dict[str, Any]:
    """When the cache has paid for itself: it is built once, at `build` seconds a face; an epoch
    then costs a cached sample a face, and an online epoch of as many samples a new face each."""
    params = load_params()
    saved = 1 / online["online_faces_per_second"] - 1 / online["cached_faces_per_second"]
    epochs = build / saved
    seen = sum(run.faces_seen for run in params.train.runs.values())
    default = params.sample["pool"].count
    return {
        "build_seconds_per_face": round(build, 5),
        "saved_seconds_per_sample": round(saved, 5),
        "epochs": round(epochs, 2),
        "students_of_the_default_run": math.ceil(epochs * default / seen),
        "measured_on_faces": num_faces,
    }
