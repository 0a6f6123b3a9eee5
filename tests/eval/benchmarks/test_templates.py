"""Template protocols: media pooling, 1:1 and 1:N of known answer, and the line of what is wrong."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.photos.embedding import embed_protocol
from eval.photos.verification import verify
from eval.scoring.scored import parse_scores
from manifests.core.errors import InputError
from tests.protocols import GROUPS, colours, make_rfw, make_templates, measure, opened, write_rows

HALF = 1 / np.sqrt(2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_templates(tmp_path_factory.mktemp("templates"))


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "t")


def test_media_count_once_however_many_images_they_have(made: Path) -> None:
    done = measure(f"templates:{made}")
    scores = done.pairs.score.reshape(10, 4)
    # RED's length is not GREEN's unless every image counts as a unit vector
    np.testing.assert_allclose(scores, np.tile([HALF, HALF, 0.0, -1.0], (10, 1)), atol=1e-6)
    assert done.pairs.left[0] == "a/1"
    assert (done.metrics["num_images"], done.metrics["num_subjects"]) == (6, 3)
    # One of three impostor pairs ties with the genuine one: AUC (1/2 + 1 + 1) / 3
    assert done.metrics["auc"] == pytest.approx(2.5 / 3, abs=1e-12)
    # Of four pairs the tied impostor is wrong, or the genuine pair is
    assert done.metrics["accuracy"] == pytest.approx(0.75, abs=1e-12)


def rated(path: Path, **quality: float) -> Path:
    write_rows(path, ["image", "quality"], [(f"{name}.png", own) for name, own in quality.items()])
    return path


QUALITIES = {"r1": 12, "r2": 2, "g": 4, "r3": 12, "g2": 7, "c": 2}  # of 0…1: 1, 0, 0.2, 1, 0.5, 0


def test_qualities_weigh_images_in_their_templates(made: Path, tmp_path: Path) -> None:
    protocol = opened(f"templates:{made}").weighed(rated(tmp_path / "q.csv", **QUALITIES))
    (done,), faces = embed_protocol(protocol, [colours()], ["plain"])
    found = verify(protocol, done, faces, "plain")
    # a/1 is half a RED video frame and a fifth of GREEN; the worst image is all that c/4 has.
    red, green = np.array([0.5, 0.2]) / np.hypot(0.5, 0.2)
    wanted = np.tile([red, green, 0.0, -1.0], (10, 1))
    np.testing.assert_allclose(found.pairs.score.reshape(10, 4), wanted, atol=1e-5)
    assert "weighed by the qualities" in found.metrics["alignment"]
    assert (
        found.metrics["protocol_sha256"] != measure(f"templates:{made}").metrics["protocol_sha256"]
    )


@pytest.mark.parametrize(
    ("quality", "line"),
    [
        ({"r1": 1.0, "g": 2.0}, "no quality of 'c.png' and 3 other images"),
        (dict.fromkeys(QUALITIES, 3.0), "all images have the quality 3; nothing to weigh"),
    ],
)
def test_qualities_that_weigh_nothing_are_refused(
    made: Path, tmp_path: Path, quality: dict[str, float], line: str
) -> None:
    with pytest.raises(InputError, match=line):
        opened(f"templates:{made}").weighed(rated(tmp_path / "q.csv", **quality))


def test_photographs_that_are_no_templates_have_nothing_to_weigh(tmp_path: Path) -> None:
    folder = make_rfw(tmp_path, dict.fromkeys(GROUPS, ()))
    with pytest.raises(InputError, match="has no templates to weigh images in; facestill discard"):
        opened(f"rfw:{folder}").weighed(Path("q.csv"))


def test_identification_of_known_answer(folder: Path) -> None:
    """Gallery: a/2 RED, b/3 GREEN. Probes: a/1 scores the same with both, and ties count against
    it (rank 2); d/5, of nobody there, has no mate; b/6 GREEN is rank 1."""
    with (folder / "templates.csv").open("a", newline="") as file:
        csv.writer(file).writerows([(5, "d", "x", "d.png"), (6, "b", "x", "g3.png")])
    for copy, name in (("d", "c"), ("g3", "g")):
        shutil.copy(folder / f"images/{name}.png", folder / f"images/{copy}.png")
    write_rows(folder / "gallery.csv", ["template_id"], [[2], [3]])
    write_rows(folder / "probes.csv", ["template_id"], [[1], [5], [6]])
    found = measure(f"templates:{folder}").metrics["identification"]
    assert (found["num_gallery"], found["num_probes"], found["num_probes_without_mate"]) == (
        2,
        3,
        1,
    )
    assert (found["rank_1"], found["rank_5"]) == (0.5, 1.0)
    assert found["tpir_at_fpir"] == {"0.1": None, "0.01": None}  # one stranger is too few


def test_parquet_and_csv_are_one_protocol(folder: Path) -> None:
    before = opened(f"templates:{folder}").benchmark.protocol_sha256
    for stem in ("templates", "pairs"):
        with (folder / f"{stem}.csv").open(newline="") as file:
            header, *rows = list(csv.reader(file))
        columns = [
            [int(cell) for cell in cells]
            if all(cell.isdecimal() for cell in cells)
            else list(cells)
            for cells in zip(*rows, strict=True)
        ]
        pq.write_table(
            pa.table(dict(zip(header, columns, strict=True))), folder / f"{stem}.parquet"
        )
        (folder / f"{stem}.csv").unlink()
    assert opened(f"templates:{folder}").benchmark.protocol_sha256 == before


def test_pairs_without_folds_are_dealt_in_turn(folder: Path) -> None:
    rows = [(1, 2)] * 20 + [(1, 3)] * 30
    write_rows(folder / "pairs.csv", ("left", "right"), rows)
    frozen = opened(f"templates:{folder}").benchmark
    assert np.bincount(frozen.fold[frozen.same]).tolist() == [2] * 10
    assert np.bincount(frozen.fold[~frozen.same]).tolist() == [3] * 10


MEMBERS = ("template_id", "subject_id", "media_id", "image")


@pytest.mark.parametrize(
    ("stem", "header", "row", "message"),
    [
        ("pairs", ("left", "right"), (1, 99), "line 2: no template '99'"),
        ("pairs", ("fold", "left", "right"), ("x", 1, 2), "line 2: fold 'x'"),
        ("pairs", ("fold", "left", "right"), ("9" * 30, 1, 2), "line 2: fold '9999"),
        ("pairs", ("a", "b"), (1, 2), "columns a,b, expected left,right or fold,left,right"),
        ("pairs", ("left", "right"), (1, 2), "fold only"),
        ("pairs", ("left", "right"), (1,), "line 2: 1 filled cells, expected 2"),
        ("gallery", ("template_id",), (2,), "both a gallery and probes"),
        ("templates", MEMBERS, (1, "a", "m", "gone.png"), r"gone\.png: missing image"),
        ("templates", MEMBERS, (1, "a", "m", "../pairs.csv"), r"pairs\.csv: lies outside"),
        ("templates", MEMBERS, (1, "a/b", "m", "c.png"), "line 2: a slash in an id"),
        ("pairs", ("left", "right"), (2, 2), "line 2: template 2 is compared with itself; remove"),
    ],
)  # fmt: skip
def test_bad_lists_are_refused_in_one_line(
    folder: Path, stem: str, header: Sequence[str], row: Sequence[object], message: str
) -> None:
    write_rows(folder / f"{stem}.csv", header, [row])
    if stem == "templates":
        others = [(2, "b", "m", "c.png"), (3, "a", "m", "r1.png")]
        write_rows(folder / f"{stem}.csv", header, [row, *others])
        pairs = [(fold, 1, other) for fold in (0, 1) for other in (2, 3)]
        write_rows(folder / "pairs.csv", ("fold", "left", "right"), pairs)
    with pytest.raises(InputError, match=message):
        opened(f"templates:{folder}")


def test_a_template_of_two_people_is_named(folder: Path) -> None:
    with (folder / "templates.csv").open("a", newline="") as file:
        csv.writer(file).writerow((1, "b", "x", "c.png"))
    with pytest.raises(InputError, match="line 8: template 1 is of subject b, above of a"):
        opened(f"templates:{folder}")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((1, "a", "still", "g.png"), "line 8: g.png is in template 1 already, by .*line 4"),
        ((3, "b", "x", "c.png"), "line 8: c.png is of subject b here and of c by .*line 7; cut"),
    ],
)
def test_an_image_twice_in_a_template_or_of_two_people_is_named(
    folder: Path, row: Sequence[object], message: str
) -> None:
    with (folder / "templates.csv").open("a", newline="") as file:
        csv.writer(file).writerow(row)
    with pytest.raises(InputError, match=message):
        opened(f"templates:{folder}")


def test_a_probe_that_would_find_itself_is_refused(folder: Path) -> None:
    write_rows(folder / "gallery.csv", ("template_id",), [(1,), (3,)])
    write_rows(folder / "probes.csv", ("template_id",), [(2,), (3,)])
    with pytest.raises(InputError, match="'b/3' is in gallery and probes: it finds itself"):
        opened(f"templates:{folder}")


def test_a_gallery_that_names_one_twice_is_refused(folder: Path) -> None:
    write_rows(folder / "gallery.csv", ["template_id"], [[2], [2]])
    write_rows(folder / "probes.csv", ["template_id"], [[1]])
    with pytest.raises(InputError, match="gallery names template 'a/2' twice"):
        opened(f"templates:{folder}")


def test_a_list_that_is_not_parquet_is_named(folder: Path) -> None:
    (folder / "pairs.parquet").write_text("left,right")
    with pytest.raises(InputError, match=r"pairs\.parquet: not a readable Parquet file"):
        opened(f"templates:{folder}")


def test_no_pairs_are_said_so(folder: Path) -> None:
    write_rows(folder / "pairs.csv", ("left", "right"), [])
    with pytest.raises(InputError, match="no pairs"):
        opened(f"templates:{folder}")


@pytest.mark.parametrize("parquet", [False, True])
def test_all_bad_rows_are_named_at_once(folder: Path, parquet: bool) -> None:
    rows = [("0", "1", "99"), ("", "1", "2"), ("0", "1", "2"), ("x", "1", "2")]
    write_rows(folder / "pairs.csv", ("fold", "left", "right"), rows)
    if parquet:
        names = ("fold", "left", "right")
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        pq.write_table(pa.table(columns), folder / "pairs.parquet")
    write_rows(folder / "gallery.csv", ["template_id"], [[2], [98]])
    write_rows(folder / "probes.csv", ["template_id"], [[1]])
    with pytest.raises(InputError) as caught:
        opened(f"templates:{folder}")
    for part in (f"{folder}: 4 faults", "template '98'", "template '99'", "fold 'x'"):
        assert part in str(caught.value)


def test_a_group_is_the_subjects_and_a_pairs_where_both_have_it(folder: Path) -> None:
    with (folder / "templates.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    home = {"a": "x", "b": "x", "c": "y"}
    write_rows(folder / "templates.csv", [*header, "group"], [[*r, home[r[1]]] for r in rows])
    done = measure(f"templates:{folder}")
    assert list(done.pairs.group or ()) == ["x", "x", "x", ""] * 10
    assert parse_scores(done.pairs.table()).group == list(done.pairs.group or ())
    groups = done.metrics["by_group"]["groups"]
    assert {name: own["num_impostors"] for name, own in groups.items()} == {"x": 20}
    assert done.metrics["by_group"]["num_pairs_of_no_group"] == 10
    changed = [[*row, "y" if row[3] == "r3.png" else home[row[1]]] for row in rows]
    write_rows(folder / "templates.csv", [*header, "group"], changed)
    with pytest.raises(InputError, match=r"line 5: subject a is of group 'y', above of 'x'; corr"):
        opened(f"templates:{folder}")
