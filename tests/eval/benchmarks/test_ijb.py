"""IJB's own lists: weighed templates of known answer, points that cut, and the line of what is
wrong."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval import freeze
from eval.alignment import Asked, alignment_of, crops_in
from eval.benchmarks import open_benchmark
from eval.photos.embedding import embed_protocol
from eval.photos.verification import Verification, verify
from eval.verify import open_frozen
from manifests.core.errors import InputError
from manifests.photographs.protocols import Benchmark
from pipeline.arrays.frames import ARCFACE112
from pipeline.arrays.landmarks import ARCFACE5
from tests.protocols import CYAN, GREEN, RED, SIDE, colours, picture

POINTS = ARCFACE5.inside(ARCFACE112.at(SIDE)) - 0.5  # as the list counts pixels
MEMBERS = {  # image: colour, score, template, media
    "1.jpg": (RED, 0.8, 1, 5),
    "2.jpg": (RED, 0.4, 1, 5),
    "3.jpg": (GREEN, 0.3, 1, 6),
    "4.jpg": (RED, 1.0, 2, 7),
    "5.jpg": (GREEN, 0.9, 3, 8),
    "6.jpg": (CYAN, 0.7, 4, 9),
}
PAIRS = ["1 2 1", "1 3 0", "2 3 0", "2 4 0"]


def make_ijb(root: Path, name: str = "ijbc", galleries: Sequence[str] = ("G1", "G2")) -> Path:
    """Templates 1 and 2 are of subject 10, 3 of 20 and 4 of 30. The face of 6.jpg fills the right
    half of a picture whose left half is RED."""
    (root / "meta").mkdir(parents=True)
    (root / "loose_crop").mkdir()
    faces = []
    for image, (colour, score, _, _) in MEMBERS.items():
        whole, shift = picture(colour), 0
        if image == "6.jpg":
            whole, shift = Image.new("RGB", (2 * SIDE, SIDE), RED), SIDE
            whole.paste(picture(colour), (SIDE, 0))
        whole.save(root / "loose_crop" / image, quality=95)
        places = " ".join(f"{value:.3f}" for value in np.add(POINTS, [shift, 0]).ravel())
        faces.append(f"{image} {places} {score}")
    lines = {
        "name_5pts_score.txt": faces,
        "face_tid_mid.txt": [f"{image} {t} {m}" for image, (_, _, t, m) in MEMBERS.items()],
        "template_pair_label.txt": PAIRS * 10,
        f"1N_gallery_{galleries[0]}.csv": ["TEMPLATE_ID,SUBJECT_ID,FILENAME", "2,10,img/4.jpg"],
        f"1N_gallery_{galleries[1]}.csv": ["TEMPLATE_ID,SUBJECT_ID,FILENAME", "3,20,img/5.jpg"],
        "1N_probe_mixed.csv": ["TEMPLATE_ID,SUBJECT_ID", "1,10", "1,10", "1,10", "4,30"],
    }
    for what, own in lines.items():
        (root / f"meta/{name}_{what}").write_text("\n".join(own) + "\n")
    return root


def measured(text: str) -> Verification:
    protocol = open_benchmark(text)
    (done,), faces = embed_protocol(protocol, [colours()], ["plain"])
    return verify(protocol, done, faces, "plain")


def test_faces_count_as_much_as_their_scores(tmp_path: Path) -> None:
    """Template 1: the mean of its first medium, (0.8 + 0.4) / 2 RED, and 0.3 GREEN."""
    done = measured(f"ijb:{make_ijb(tmp_path)}")
    wanted = np.tile([2 / np.sqrt(5), 1 / np.sqrt(5), 0.0, -1.0], 10)
    np.testing.assert_allclose(done.pairs.score, wanted, atol=1e-2)  # JPEG
    metrics = done.metrics
    assert (metrics["benchmark"], metrics["num_templates"], metrics["num_failed"]) == ("ijbc", 4, 0)
    assert metrics["num_subjects"] == 3 and done.pairs.left[0] == "10/1"
    assert metrics["alignment"].startswith("points: ijbc_name_5pts_score.txt (sha256 ")
    assert metrics["alignment"].endswith("faces count as much as their scores")
    alike = measured(f"ijb:unweighted:{tmp_path}")
    np.testing.assert_allclose(alike.pairs.score[:2], [1 / np.sqrt(2)] * 2, atol=1e-2)
    assert alike.metrics["alignment"].endswith("faces count alike")
    assert alike.metrics["protocol_sha256"] != metrics["protocol_sha256"]


def test_each_gallery_is_searched_alone_too(tmp_path: Path) -> None:
    found = measured(f"ijb:{make_ijb(tmp_path)}").metrics["identification"]
    counts = found["num_gallery"], found["num_probes"], found["num_probes_without_mate"]
    assert counts == (2, 2, 1) and found["rank_1"] == 1.0
    first, second = found["by_gallery"]["G1"], found["by_gallery"]["G2"]
    assert (first["num_gallery"], first["num_probes_without_mate"], first["rank_1"]) == (1, 1, 1.0)
    assert (second["num_probes_without_mate"], second["rank_1"]) == (2, None)
    mean = found["mean_over_galleries"]
    assert mean["rank_1"] is None and mean["tpir_at_fpir"] == {"0.1": None, "0.01": None}


def test_points_are_taken_from_the_list_and_no_detector_runs(tmp_path: Path) -> None:
    protocol = open_benchmark(f"ijb:{make_ijb(tmp_path)}")
    (face,) = protocol.find(["6.jpg"], [np.zeros((SIDE, 2 * SIDE, 3), np.uint8)])
    np.testing.assert_allclose(face.landmarks, np.add(POINTS, [SIDE + 0.5, 0.5]), atol=1e-3)
    assert (face.score, face.detected, face.scheme) == (0.7, True, ARCFACE5)
    with pytest.raises(InputError, match=r"ijb: its images come with the points .*leave --aligner"):
        open_benchmark(f"ijb:{tmp_path}", crops_in(ARCFACE112))
    with pytest.raises(InputError, match=r"came with its images: nothing else is aligned so"):
        alignment_of(protocol.benchmark.alignment)


def test_ijb_b_without_1n_lists_is_read_and_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is who is then what genuine pairs say."""
    data, out = make_ijb(tmp_path / "IJBB", "ijbb", ("S1", "S2")), tmp_path / "frozen.parquet"
    both = open_benchmark(f"ijb:{data}").benchmark
    assert both.templates is not None and both.templates.galleries == ("S1", "S2")
    for path in (data / "meta").glob("*1N*"):
        path.unlink()
    done = measured(f"ijb:{data}")
    assert "identification" not in done.metrics and done.metrics["num_subjects"] == 3
    assert done.pairs.left[0] == "template 1/1"
    monkeypatch.setattr(sys, "argv", ["freeze", f"ijb:{data}", "--out", str(out)])
    freeze.main()
    frozen, opened = Benchmark.read(out), open_frozen(f"ijb:{data}", out, Asked())
    assert frozen.name == "ijbb" and frozen.left == opened.benchmark.left
    assert frozen.protocol_sha256 == done.metrics["protocol_sha256"]
    with pytest.raises(InputError, match=r"--aligner dlib: the faces are where 'points: ijbb_name"):
        open_frozen(f"ijb:{data}", out, Asked(aligner="dlib"))
    with pytest.raises(InputError, match=r"frozen for 'points: .* scores', found .* alike'"):
        open_frozen(f"ijb:unweighted:{data}", out, Asked())


def test_galleries_are_frozen_with_their_names(tmp_path: Path) -> None:
    own = open_benchmark(f"ijb:{make_ijb(tmp_path)}").benchmark
    own.write(tmp_path / "x.parquet")
    again = Benchmark.read(tmp_path / "x.parquet")
    assert again.templates == own.templates and again.protocol_sha256 == own.protocol_sha256


FACE = " ".join("1 2 3 4 5 6 7 8 9 10".split())


@pytest.mark.parametrize(
    ("what", "line", "message"),
    [
        ("face_tid_mid.txt", "7.jpg 4 9", r"tid_mid\.txt, line 7: an image without five points"),
        ("face_tid_mid.txt", "6.jpg 3 9", "line 7: an image that stands there before"),
        ("face_tid_mid.txt", "6.jpg 3", r"tid_mid\.txt: .*Row #7: Expected 3 columns, got 2"),
        ("face_tid_mid.txt", "6.jpg x 1", r"Row #7: CSV conversion error to int64: invalid value"),
        ("name_5pts_score.txt", f"7.jpg {FACE} -1", "line 7: a score below 0, or not finite"),
        ("name_5pts_score.txt", f"7.jpg {FACE} inf", "line 7: a score below 0, or not finite"),
        ("name_5pts_score.txt", "7.jpg " + "1 " * 10 + "1", "line 7: five points that fall tog"),
        ("name_5pts_score.txt", f"6.jpg {FACE} 1", "line 7: an image that stands there before"),
        ("template_pair_label.txt", "1 99 0", "line 41: a template that has no images"),
        ("template_pair_label.txt", "1 1 1", "line 41: a template that is compared with itself"),
        ("template_pair_label.txt", "1 2 2", "line 41: a label that is neither 0 nor 1"),
        ("template_pair_label.txt", "1 2 0", "line 41: a label against the subjects of the 1:N"),
        ("template_pair_label.txt", "3 4 1", "line 41: a label against the subjects of the 1:N"),
        ("1N_gallery_G1.csv", "99,10", r"gallery_G1\.csv.*(line 3: a template that has|Row #3)"),
        (
            "1N_probe_mixed.csv",
            "1,20",
            r"line 2: a template of two subjects, .* \(and 2 lines more",
        ),
        ("1N_probe_mixed.csv", "2,20", "line 6: a template of two subjects"),
        ("1N_probe_mixed.csv", "2,10", "'10/2' is in gallery and probes"),
    ],
)
def test_bad_lists_are_refused_in_one_line(
    tmp_path: Path, what: str, line: str, message: str
) -> None:
    path = make_ijb(tmp_path) / f"meta/ijbc_{what}"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(InputError, match=message):
        open_benchmark(f"ijb:{tmp_path}")


def test_impostors_that_genuine_pairs_join_are_refused(tmp_path: Path) -> None:
    for path in (make_ijb(tmp_path) / "meta").glob("*1N*"):
        path.unlink()
    path = tmp_path / "meta/ijbc_template_pair_label.txt"
    path.write_text(path.read_text() + "2 3 1\n")
    with pytest.raises(InputError, match=r"line 2: two people, of whom genuine .* \(and 19 lines"):
        open_benchmark(f"ijb:{tmp_path}")


def test_images_that_are_not_there_are_named_together(tmp_path: Path) -> None:
    for name in ("2.jpg", "5.jpg"):
        (make_ijb(tmp_path) if name == "2.jpg" else tmp_path).joinpath("loose_crop", name).unlink()
    with pytest.raises(InputError, match=r"2 faults") as caught:
        open_benchmark(f"ijb:{tmp_path}")
    assert "2.jpg: missing image" in str(caught.value)


def test_what_lies_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"meta: no lists, expected meta/ijbc_face_tid_mid.txt"):
        open_benchmark(f"ijb:{tmp_path}")
    make_ijb(tmp_path)
    (tmp_path / "meta/ijbc_1N_gallery_G2.csv").unlink()
    with pytest.raises(InputError, match=r"gallery_G2\.csv: no such file; bring all three lists"):
        open_benchmark(f"ijb:{tmp_path}")
    (tmp_path / "meta/ijbb_face_tid_mid.txt").write_text("")
    with pytest.raises(InputError, match=r"the lists of both IJB-B and IJB-C"):
        open_benchmark(f"ijb:{tmp_path}")
    with pytest.raises(InputError, match=r"benchmark ijb needs a folder"):
        open_benchmark("ijb:")


def test_a_template_of_which_nothing_counts_is_refused(tmp_path: Path) -> None:
    path = make_ijb(tmp_path) / "meta/ijbc_name_5pts_score.txt"
    path.write_text(path.read_text().replace(" 0.7\n", " 0\n"))
    with pytest.raises(InputError, match=r"template 4: every face of it has the score 0.*ijb:unwe"):
        open_benchmark(f"ijb:{tmp_path}")
    open_benchmark(f"ijb:unweighted:{tmp_path}")
