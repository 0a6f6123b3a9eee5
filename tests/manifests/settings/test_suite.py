"""A suite's file: what it says, and what is refused in a line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from eval.suites.running import check_kinds
from manifests.core.errors import InputError
from manifests.settings.suite import Figure, find_suite, load_suite
from tests.conftest import ROOT

SUITES = sorted((ROOT / "manifests/suites").glob("*.yaml"))
GOOD = """\
title: Two
benchmarks: {LFW: [bin:lfw.bin, lfw:lfw], ORL: orl}
columns: {accuracy: accuracy, TAR: "tar_at_far[0.001]"}
reference: [{model: M, source: a table, figures: {accuracy: {LFW: 99.5, mean: 98}}}]
"""


def load(folder: Path, text: str):  # type: ignore[no-untyped-def]
    path = folder / "toy.yaml"
    path.write_text(text, encoding="utf-8")
    return load_suite(path)


def test_a_suite_keeps_its_order(tmp_path: Path) -> None:
    suite = load(tmp_path, GOOD)
    assert list(suite.benchmarks) == ["LFW", "ORL"]
    assert suite.benchmarks["LFW"].texts == ("bin:lfw.bin", "lfw:lfw")
    assert suite.benchmarks["ORL"].texts == ("orl",)
    assert suite.columns["TAR"].of("LFW").path == ("tar_at_far", "0.001")
    assert suite.mean and suite.reference[0].figures == {"accuracy": {"LFW": 99.5, "mean": 98.0}}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title:", "titel:", "unknown key 'titel'; known keys: title, benchmarks, columns"),
        ("title: Two", "mean: true", "missing key 'title'"),
        ("ORL: orl", "mean: orl", "benchmarks: 'mean' is the column behind them"),
        ("[bin:lfw.bin, lfw:lfw]", "[]", "benchmarks: LFW: an empty list; name KIND:ARGUMENT"),
        ("[bin:lfw.bin, lfw:lfw]", "3", "benchmarks: LFW: 3, expected a list"),
        ("accuracy: accuracy", "accuracy: acuracy", "unknown figure 'acuracy'; valid names: acc"),
        ("tar_at_far[0.001]", "tar_at_far[0.001", "'tar_at_far[0.001' is no way to a figure"),
        ("{LFW: 99.5", "{LFV: 99.5", "reference[0]: figures: unknown benchmark 'LFV'; valid names"),
        ("{accuracy: {LFW: 9", "{AUC: {LFW: 9", "unknown column 'AUC'; valid names: TAR, accuracy"),
        ("99.5", "high", "LFW: 'high' is a str, not float"),
        ("accuracy: accuracy", "a: {LFW: auc}", "columns: a: missing key 'else'"),
        ("accuracy: accuracy", "a: {else: auc, LFV: eer}", "columns: a: unknown benchmark 'LFV'"),
        (GOOD, "[", "not readable as YAML"),
        ("ORL: orl", "LFW: orl", "key 'LFW' on lines 2 and 2"),
        ("title: Two", "title: Two\ntitle: Three", "key 'title' on lines 1 and 2"),
        (GOOD, "title: T\nbenchmarks: {}", "benchmarks: none; name at least one"),
        ("title: Two", "title: Two\nrules: frcsin", "'frcsin', expected one of frcsyn, sdfr"),
    ],
)
def test_a_wrong_suite_is_refused_in_one_line(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert said in str(caught.value) and str(caught.value).startswith(str(tmp_path / "toy.yaml"))


@pytest.mark.parametrize("item", ["[{}]", "{{<<: [{}]}}"])
def test_aliases_of_aliases_are_refused_at_once(tmp_path: Path, item: str) -> None:
    """Eleven lines that stand for six to the eleventh values, in an error's words or merged."""
    lines = [
        f"  A{at}: &a{at} " + item.format(", ".join([f"*a{at - 1}"] * 6)) for at in range(1, 12)
    ]
    text = "\n".join(["benchmarks:", "  A0: &a0 {x: orl}", *lines, "title: *a11"])
    with pytest.raises(InputError, match="with its aliases written out more than 100,000 values"):
        load(tmp_path, text)


def test_what_holds_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="title: "):
        load(tmp_path, "title: &a [*a]\nbenchmarks: {ORL: orl}")


def test_a_kind_that_there_is_not_is_refused_by_its_benchmark(tmp_path: Path) -> None:
    suite = load(tmp_path, GOOD.replace("lfw:lfw", "lwf:lfw"))
    with pytest.raises(InputError, match="benchmarks: LFW: unknown benchmark 'lwf'; valid names:"):
        check_kinds(suite, tmp_path / "toy.yaml")
    nowhere = load(tmp_path, GOOD.replace("lfw:lfw", "lfw"))
    with pytest.raises(InputError, match=r"LFW: lfw: lies where\? lfw:PATH, relative to --data"):
        check_kinds(nowhere, tmp_path / "toy.yaml")


def test_a_suite_is_found_by_name_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert find_suite("own") == Path("manifests/suites/own.yaml")
    assert find_suite("mine/x.yaml") == Path("mine/x.yaml")
    with pytest.raises(InputError, match=r"unknown suite 'owm'; valid names: .*own"):
        find_suite("owm")
    with pytest.raises(InputError, match="no such file; write a suite there"):
        load_suite(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_the_suites_here_are_sound_and_their_printed_means_are_means(path: Path) -> None:
    suite = load_suite(path)
    check_kinds(suite, path)
    assert f"| `{path.stem}` |" in (ROOT / "docs/SUITES.md").read_text(encoding="utf-8")
    for reference in suite.reference:
        for printed in reference.figures.values():
            own = [value for name, value in printed.items() if name != "mean"]
            if "mean" in printed:
                assert len(own) == len(suite.benchmarks)
                assert printed["mean"] == pytest.approx(sum(own) / len(own), abs=0.0051)


def test_the_example_of_the_page_is_a_suite(tmp_path: Path) -> None:
    text = (ROOT / "docs/SUITES.md").read_text(encoding="utf-8")
    example = text.split("```yaml\n")[1].split("```")[0]
    assert list(load(tmp_path, example).benchmarks) == ["LFW", "shop"]
    assert yaml.safe_load(example)["mean"] is True


@pytest.mark.parametrize(
    ("text", "path", "ratio", "less"),
    [
        ("tar_at_far[0.001]", ("tar_at_far", "0.001"), False, False),
        ("by_group.groups[African].accuracy", ("by_group", "groups", "African", "accuracy"),
         False, False),
        ("by_group.accuracy_ser", ("by_group", "accuracy_ser"), True, True),
        ("by_group.accuracy_std", ("by_group", "accuracy_std"), False, True),
        ("by_group.at_global_fmr[0.01].fnmr_gini",
         ("by_group", "at_global_fmr", "0.01", "fnmr_gini"), True, True),
        ("fnmr_at_fmr[0.01]", ("fnmr_at_fmr", "0.01"), False, True),
        ("eer", ("eer",), False, True),
        ("identification.rank_1", ("identification", "rank_1"), False, False),
    ],
)  # fmt: skip
def test_a_figure_is_a_way_into_metrics_json(
    text: str, path: tuple[str, ...], ratio: bool, less: bool
) -> None:
    figure = Figure.parsed(text, "here")
    assert (figure.path, figure.is_ratio, figure.less_is_better) == (path, ratio, less)
