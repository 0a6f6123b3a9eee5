from __future__ import annotations

import pytest

import pipeline.generators
from manifests.backends import find_backend
from manifests.errors import InputError, pick, run_command


def bad_input() -> None:
    raise InputError("a.csv: 3 columns,\n  expected 4")


@pytest.mark.parametrize(
    ("main", "code"), [(lambda: None, 0), (lambda: 1, 1), (bad_input, 2)], ids=str
)
def test_exit_code_tells_what_happened(main, code: int) -> None:
    with pytest.raises(SystemExit) as caught:
        run_command(main)
    assert caught.value.code == code


def test_bad_input_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_command(bad_input)
    assert capsys.readouterr() == ("", "error: a.csv: 3 columns, expected 4\n")


def test_unknown_name_is_answered_with_the_valid_ones() -> None:
    with pytest.raises(InputError, match=r"unknown solver 'svm'; valid names: a, b"):
        pick("solver", "svm", {"b": 1, "a": 2})


def test_unknown_backend_is_answered_with_the_files_there_are() -> None:
    with pytest.raises(InputError, match=r"generator 'stylegan'; valid names: .*dcgan-digiface"):
        find_backend(pipeline.generators, "generator", "stylegan")
