"""Two models on one protocol: whoever is known is embedded by one, whoever asks by the other.

The left sides of pairs and the gallery go through the first, the right sides and the probes
through the second: photographs against another modality (`facestill adapt`), or a teacher's gallery
that a student searches. Both must embed into one space, which no file can show; the figures do.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from eval.benchmarks.base import Protocol
from eval.photos.embedding import Embedded, embed_protocol
from eval.photos.models import Model
from eval.photos.verification import Verification, verify, warn_of_frames
from manifests.core.digests import sha256_text
from manifests.core.errors import InputError
from manifests.photographs.protocols import Benchmark


def crossed(gallery: Model, probes: Model) -> Model:
    """Both as one, for results to name. Raises InputError where their metrics differ."""
    if gallery.metric != probes.metric:
        raise InputError(
            f"{gallery.name} is compared by {gallery.metric}, {probes.name} by {probes.metric}; "
            "name two models of one metric"
        )
    return replace(
        gallery,
        name=f"{gallery.name}, probes {probes.name}",
        sha256=sha256_text(f"{gallery.sha256} {probes.sha256}"),
    )


def probe_images(benchmark: Benchmark) -> frozenset[str]:
    """The images of right sides and of probes.

    Raises InputError for one that stands on both sides: it cannot be of two kinds.
    """
    members = benchmark.templates
    known, asking = {*benchmark.left}, {*benchmark.right}
    if members is not None:
        known, asking = known | {*members.gallery}, asking | {*members.probes}
        known, asking = (
            _images_of(templates, members.template, members.image) for templates in (known, asking)
        )
    both = known & asking
    if both:
        raise InputError(
            f"benchmark {benchmark.name}: {min(both)} stands on both sides of pairs; with --probes "
            "left and gallery are of one kind, right and probes of the other"
        )
    return frozenset(asking)


def _images_of(
    templates: Collection[str], template: Collection[str], image: Collection[str]
) -> set[str]:
    return {own for name, own in zip(template, image, strict=True) if name in templates}


def joined(benchmark: Benchmark, gallery: Embedded, probes: Embedded) -> Embedded:
    """The probes' rows of one, all other rows of the other.

    Raises InputError where they are of unlike widths.
    """
    asking = probe_images(benchmark)
    is_probe = np.array([name in asking for name in benchmark.images])
    views = {}
    for name in gallery.views:
        one, other = gallery.views[name], probes.views[name]
        if one.shape != other.shape:
            raise InputError(
                f"{gallery.model.name} embeds into {one.shape[1]} numbers, {probes.model.name} "
                f"into {other.shape[1]}; name two models of one space"
            )
        views[name] = np.where(is_probe[:, None], other, one)
    return Embedded(crossed(gallery.model, probes.model), views)


def verify_across(
    gallery: Model, probes: Model, protocol: Protocol, views: str | None = None
) -> Verification:
    """By the gallery's own views of both, unless others are named."""
    crossed(gallery, probes), probe_images(protocol.benchmark)  # refused before the measuring
    use = views or gallery.views
    warn_of_frames(protocol, [gallery, probes])
    embedded, faces = embed_protocol(protocol, [gallery, probes], [use, use])
    return verify(protocol, joined(protocol.benchmark, *embedded), faces, use)
