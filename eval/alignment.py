"""How photographs come to be crops: which aligner finds the faces, which of several is meant, or
that the pictures are crops already. A protocol's rule of alignment says it in words."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from manifests.core import layout
from manifests.core.errors import InputError, pick
from manifests.settings.params import PATH, load_params
from pipeline.aligners import DEFAULT, load_aligner
from pipeline.aligners.base import CHOICES, Aligner, Picture
from pipeline.arrays.align import Face, placed
from pipeline.arrays.frames import DLIB112, FRAMES, Frame

CENTRAL = "central"  # which face is meant where nobody says
LISTED = "points: "  # the rule for pictures whose points came with them, less which ones
CROPS = "none: crops in the frame "  # the rule for them, less the frame's place
# As it was said when what was called arcface112 was dlib112.
FORMER_CROPS = "none: the images are crops in the frame arcface112"
LONGEST = 200  # characters of a rule in a message
Finder = Callable[[Sequence[Picture]], list[Face]]


@dataclass(frozen=True)
class Alignment:
    """A rule, and how it finds the face that is meant in each of a few decoded photographs."""

    rule: str
    find: Finder = field(compare=False)
    frame: Frame | None = None  # of pictures that are crops in it


@dataclass(frozen=True)
class Asked:
    """What the options of a command say; None where they say nothing."""

    aligner: str | None = None
    face: str | None = None
    frame: str | None = None

    @property
    def alignment(self) -> Alignment | None:
        """None where nothing is asked for. Raises InputError for what contradicts itself."""
        if self.frame is None:
            return alignment_by(self.aligner, self.face) if self != NOTHING else None
        self.require_none(f"--frame {self.frame} says that images are cut already", but={"frame"})
        return crops_in(FRAMES[self.frame])

    def require_none(self, why: str, *, but: Collection[str] = ()) -> None:
        """Raises InputError for an option that has no sense beside what `why` says."""
        for name, value in vars(self).items():
            if value is not None and name not in but:
                raise InputError(f"--{name} {value}: {why}; leave it out")


NOTHING = Asked()


def add_options(parser: argparse.ArgumentParser, *, frame: bool = True) -> None:
    """--aligner and --face; --frame too for a command whose photographs may be cut already."""
    parser.add_argument(
        "--aligner", help=f"that finds the faces; default: params.yaml's, or {DEFAULT}"
    )
    parser.add_argument("--face", choices=CHOICES, help=f"of several, which one ({CENTRAL})")
    if frame:
        parser.add_argument("--frame", choices=sorted(FRAMES), help="the images are cut to it")


def asked(args: argparse.Namespace) -> Asked:
    return Asked(args.aligner, args.face, getattr(args, "frame", None))


def usual_aligner() -> Aligner:
    """That of params.yaml, where the current folder has one.

    Raises InputError for a params.yaml of something else, and for weights that are missing.
    """
    name = DEFAULT
    if PATH.exists():
        try:
            name = load_params().aligner
        except InputError as error:
            raise InputError(f"{error}; or choose an aligner with --aligner") from None
    return load_aligner(name, layout.WEIGHTS)


def alignment_by(name: str | None = None, face: str | None = None) -> Alignment:
    """By an aligner (else the usual one) and a choice of CHOICES among several faces."""
    aligner = usual_aligner() if name is None else load_aligner(name, layout.WEIGHTS)
    return _detected(aligner, face or CENTRAL)


def _detected(aligner: Aligner, choice: str) -> Alignment:
    return Alignment(aligner.rule(choice), partial(aligner.find, choice=choice))


def crops_in(frame: Frame) -> Alignment:
    """Of square pictures that are crops in this frame, at any number of pixels."""

    def find(pictures: Sequence[Picture]) -> list[Face]:
        return [placed(frame, len(picture)) for picture in pictures]

    return Alignment(f"{CROPS}{frame.place}", find, frame)


def alignment_of(rule: str, options: Asked = NOTHING) -> Alignment:
    """What a rule stands for, of a frozen protocol or a result: its first word is the aligner.

    Raises InputError where nothing here aligns by it, and for options that contradict it.
    """
    said = f"aligned by {rule[:LONGEST]!r}"
    if rule.startswith(LISTED):
        raise InputError(f"{said}, which came with its images: nothing else is aligned so")
    if rule == FORMER_CROPS:
        options.require_none(said)
        return replace(crops_in(DLIB112), rule=rule)
    if rule.startswith(CROPS):
        by_place = {frame.place: frame for frame in FRAMES.values()}
        frame = pick("frame", rule.removeprefix(CROPS)[:LONGEST], by_place)
        options.require_none(said, but={"frame"} if options.frame == frame.name else ())
        return crops_in(frame)
    aligner = _named_by(rule, said, options)
    by_choice = {choice: _detected(aligner, choice) for choice in CHOICES}
    choice = next((own for own, each in by_choice.items() if each.rule == rule), None)
    if choice is None:
        here = by_choice[options.face or CENTRAL].rule
        advice = "leave --aligner out" if options.aligner else "bring the weights of then"
        raise InputError(
            f"{said}, where {aligner.name} aligns by {here!r}; {advice}, or freeze or measure again"
        )
    options.require_none(said, but={"aligner", "face"} if options.face == choice else {"aligner"})
    return by_choice[choice]


def _named_by(rule: str, said: str, options: Asked) -> Aligner:
    if options.aligner is not None:
        return load_aligner(options.aligner, layout.WEIGHTS)
    first, *_ = rule.split() or [""]
    with suppress(InputError):  # of its weights, which need not be those that are asked for
        usual = usual_aligner()
        if rule in map(usual.rule, CHOICES):  # it may lie in a file, which params.yaml names
            return usual
    try:
        if ":" in first:  # which file is opened is not for a stranger's protocol to say
            raise InputError(f"{first[:LONGEST]!r} names a file")
        return load_aligner(first[:LONGEST], layout.WEIGHTS)
    except InputError as error:
        raise InputError(
            f"{said}: {error}; name its aligner with --aligner, or freeze or measure again"
        ) from None


def meant(rule: str) -> str:
    """Which of several faces a rule means: "most central", "largest"."""
    words = next((own for own in CHOICES.values() if own in rule), CHOICES[CENTRAL])
    return words.removesuffix(" face")
