"""Which aligner and which face: by options, by params.yaml, by the rule of what was measured."""

from __future__ import annotations

import sys
from argparse import Namespace
from copy import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from eval import alignment as module
from eval.alignment import Asked, alignment_by, alignment_of, asked, crops_in, usual_aligner
from manifests.core.errors import InputError
from pipeline.aligners import DEFAULT, load_aligner
from pipeline.aligners.base import CHOICES
from pipeline.arrays.align import crop_photograph
from pipeline.arrays.frames import ARCFACE112, DLIB112, DLIB150, FRAMES, Frame, similarity, warp
from pipeline.arrays.landmarks import ARCFACE5, DLIB5
from tests.protocols import DLIB_RULE

pytestmark = pytest.mark.usefixtures("weights_here")


def test_the_usual_aligner_is_that_of_the_folders_parameters(
    workspace: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = workspace / "params.yaml"
    params.write_text(params.read_text().replace(f"aligner: {DEFAULT}", "aligner: dlib"))
    assert usual_aligner().name == "dlib"
    params.write_text(params.read_text().replace("aligner: dlib", ""))
    assert usual_aligner().name == "dlib"  # of before there was a choice
    params.write_text("lr: 0.1")
    with pytest.raises(InputError, match=r"params\.yaml: .*; or choose an aligner with --aligner"):
        alignment_by()
    assert alignment_by("yunet").rule.startswith("yunet ")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert usual_aligner().name == DEFAULT


@pytest.mark.parametrize("name", ["dlib", "yunet", "yunet-onet"])
@pytest.mark.parametrize("choice", CHOICES)
def test_a_rule_says_by_what_and_which_face_and_is_found_again(name: str, choice: str) -> None:
    own = alignment_by(name, choice)
    assert alignment_of(own.rule) == own
    assert alignment_of(own.rule, Asked(name, choice)) == own
    words = {"central": "most central", "largest": "largest", "whole": CHOICES["whole"]}
    assert module.meant(own.rule) == words[choice]
    other = next(each for each in CHOICES if each != choice)
    assert alignment_by(name, other).rule != own.rule
    with pytest.raises(InputError, match=f"^--face {other}: aligned by '{name} .*; leave it out$"):
        alignment_of(own.rule, Asked(face=other))
    with pytest.raises(InputError, match=r"^--frame wide: aligned by .*; leave it out$"):
        alignment_of(own.rule, Asked(frame="wide"))


@pytest.mark.parametrize("name", FRAMES)
def test_crops_have_a_rule_too(name: str) -> None:
    own = crops_in(FRAMES[name])
    assert own.rule == f"none: crops in the frame {FRAMES[name].place}"
    assert alignment_of(own.rule) == alignment_of(own.rule, Asked(frame=name)) == own
    for options in (Asked("dlib"), Asked(face="largest"), Asked("dlib", frame=name)):
        with pytest.raises(InputError, match=r"^--(aligner dlib|face largest): aligned by 'none: "):
            alignment_of(own.rule, options)
    other = "wide" if name != "wide" else "dlib150"
    with pytest.raises(InputError, match=f"^--frame {other}: aligned by 'none: "):
        alignment_of(own.rule, Asked(frame=other))


def test_crops_of_before_are_where_they_were_then() -> None:
    own = alignment_of("none: the images are crops in the frame arcface112")
    assert own.frame == DLIB112
    assert own.rule != crops_in(ARCFACE112).rule
    (face,) = own.find([np.zeros((112, 112, 3), np.uint8)])
    np.testing.assert_allclose(face.landmarks, ARCFACE5.inside(DLIB112))


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        ("yunet 0123456789ab, score > 0.5", Asked(), "yunet aligns by 'yunet .*bring the weights"),
        (DLIB_RULE, Asked("yunet"), "by 'dlib HOG.*', where yunet aligns by .*leave --aligner out"),
        ("scrfd 0123; central", Asked(), "unknown aligner 'scrfd'; valid names: dlib, .*--aligner"),
        ("onnx:/etc/passwd 0123", Asked(), "'onnx:/etc/passwd' names a file; name its aligner"),
        ("", Asked(), "unknown aligner ''"),
        ("none: crops in the frame ears", Asked(), "unknown frame 'ears'"),
        ("dlib" + "!" * 9999, Asked(), "aligned by .{1,600}$"),
    ],
)
def test_what_nothing_here_aligns_by_is_refused_in_one_line(
    rule: str, options: Asked, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        alignment_of(rule, options)
    assert "\n" not in str(caught.value)


def test_options_that_contradict_each_other_are_refused() -> None:
    assert asked(Namespace(aligner=None, face=None)) == Asked() and Asked().alignment is None
    with pytest.raises(InputError, match="--face largest: --frame wide says that images are"):
        _ = Asked(face="largest", frame="wide").alignment
    with pytest.raises(InputError, match="--aligner dlib: why; leave it out"):
        Asked("dlib").require_none("why")


def test_dlibs_rule_is_that_of_protocols_frozen_before_there_was_a_choice() -> None:
    assert alignment_by("dlib").rule == DLIB_RULE


@pytest.mark.parametrize("frame", [DLIB150, ARCFACE112])
def test_dlib_cuts_as_it_did(weights: Path, frame: Frame) -> None:
    """The crop by the formula of before there was a choice, written out: bit by bit."""
    for name in ("s1/1", "s5/3", "s17/9"):
        picture = np.asarray(Image.open(weights / f"orl/{name}.pgm").convert("RGB"))
        (face,) = alignment_of(DLIB_RULE).find([picture])
        boxes, _, _ = load_aligner("dlib", weights).detector.run(picture, 0, 0.0)  # type: ignore[attr-defined]
        parts = load_aligner("dlib", weights).predictor(picture, boxes[0]).parts()  # type: ignore[attr-defined]
        landmarks = np.array([(part.x, part.y) for part in parts], float) + 0.5
        assert len(boxes) == 1
        np.testing.assert_array_equal(face.landmarks, landmarks)
        matrix = similarity(landmarks, DLIB5.inside(frame))
        finer = max(1, int(np.ceil(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))))
        fine = frame.at(frame.size * finer)
        matrix = similarity(landmarks, DLIB5.inside(fine))
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
        crop = warp(pixels, torch.from_numpy(matrix).float()[None], fine.size)
        expected = functional.avg_pool2d(crop, finer)[0].clamp(0, 255).round()
        assert torch.equal(crop_photograph(picture, face, frame), expected)


def test_faces_do_not_depend_on_who_is_looked_at_beside_them(weights: Path) -> None:
    pictures = [
        np.asarray(Image.open(weights / f"orl/s{person}/1.pgm").convert("RGB"))
        for person in range(1, 6)
    ]
    find = alignment_by().find
    for alone, together in zip(pictures, find(pictures), strict=True):
        np.testing.assert_array_equal(find([alone])[0].landmarks, together.landmarks)


def test_options_are_those_of_every_command_that_looks_at_photographs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from eval import annotate, face_quality, freeze, leakage, match, verify

    for command in (annotate, face_quality, freeze, leakage, match, verify):
        monkeypatch.setattr(sys, "argv", ["command", "--help"])
        with pytest.raises(SystemExit):
            command.main()
        said = capsys.readouterr().out
        assert "--aligner" in said and "--face {central,largest,whole}" in said


@pytest.mark.parametrize(
    "words", [["pool", "--aligner", "dlib"], ["--photographs", "--face", "largest"]]
)
def test_options_are_refused_where_no_photographs_are_named(
    monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    from eval import annotate

    monkeypatch.setattr(sys, "argv", ["annotate", *words])
    with pytest.raises(InputError, match="faces are looked for only in photographs that are named"):
        annotate.main()


def test_an_aligner_in_a_file_is_found_where_the_parameters_name_it(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_file = copy(load_aligner("yunet", weights))
    in_file.name = "in-a-file"
    monkeypatch.setattr(module, "usual_aligner", lambda: in_file)
    rule = in_file.rule("largest")
    assert (
        alignment_of(rule)
        == alignment_of(rule, Asked(face="largest"))
        == alignment_by(face="largest")
    )
    with pytest.raises(InputError, match=r"aligned by 'in-a-file other'.*; name its aligner"):
        alignment_of("in-a-file other")
