"""An online run of seconds: a StyleGAN of random weights, in w, the real teacher or a tiny one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from manifests.settings.objectives import Losses
from manifests.settings.params import Params, load_params
from manifests.settings.training import Run
from pipeline.arrays.frames import ARCFACE112
from pipeline.teachers.base import Teacher
from tests.stylegans import SMALL2, network_of, write_pickle
from train.sampling.faces import Studio, open_studio
from train.sampling.plan import OnlinePlan, open_online

RUN, BATCH, STEPS = "loop", 12, 8
OUT = Path("runs") / RUN


def online_params(**online: Any) -> Params:
    """Of this workspace: eight steps of 12 faces, whose chunks of draws are of 64."""
    write_pickle(Path("small.pkl"), network_of(2, SMALL2), SMALL2)
    params = load_params()
    student = replace(params.train.student, name="small-resnet", width=0.25, input_size=32)
    noise = params.train.noise
    still = {name: type(value)() for name, value in vars(noise).items()} | {"strongest": 16}
    engine = replace(
        params.train.engine, precision="float32", optimizer="sgd", momentum=0.0, schedule="linear"
    )
    train = replace(
        params.train, student=student, engine=engine, noise=replace(noise, **still),
        loss=Losses.parsed("mse", "loss"), batch=BATCH, learning_rate=0.5, weight_decay=0.0,
        warmup_faces=0, checkpoint_faces=BATCH, round_weights={},
        runs={**params.train.runs, RUN: Run(STEPS * BATCH, 1.0, 1.0)},
    )  # fmt: skip
    return replace(
        params, generator="stylegan2:small.pkl", latent_space="w", device="cpu", train=train,
        render=replace(params.render, frame_size=32),
        online=replace(params.online, centre_faces=100, **online),
    )  # fmt: skip


class TinyTeacher(Teacher):
    """Stands in for the real one, of its name: a random map of small pictures."""

    name, weights_sha256, licence = "dlib-resnet", "ab" * 32, "CC0-1.0"
    frame, width, metric, preprocessing = ARCFACE112.at(32), 16, "euclidean", "RGB / 255"

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.weights = torch.randn(3 * 8 * 8, self.width, generator=generator) / 8

    def to(self, device: torch.device) -> None:
        self.weights = self.weights.to(device)

    def embed(self, images: Tensor) -> Tensor:
        small = functional.adaptive_avg_pool2d(images / 255.0, 8)
        return torch.tanh(small.flatten(1) @ self.weights)


def studio_of(params: Params) -> Studio:
    studio = open_studio(params, mirrored=params.online.mirrored)
    return replace(studio, teacher=TinyTeacher())


def plan_of(params: Params) -> OnlinePlan:
    """With the tiny teacher."""
    return replace(open_online(RUN, params), studio=studio_of(params))
