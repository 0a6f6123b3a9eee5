from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

import pipeline.generators
from manifests.core.backends import find_backend
from manifests.core.errors import MOST_NAMED, Faults, InputError, SeveralFaults, pick, run_command


def bad_input() -> None:
    raise InputError("a.csv: 3 columns,\n  expected 4")


@pytest.mark.parametrize(
    ("main", "code"),
    [(lambda: None, 0), (lambda: 1, 1), (bad_input, 2)],
    ids=["good", "failed", "bad input"],
)
def test_exit_code_tells_what_happened(main, code: int) -> None:
    with pytest.raises(SystemExit) as caught:
        run_command(main)
    assert caught.value.code == code


def test_bad_input_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_command(bad_input)
    assert capsys.readouterr() == ("", "error: a.csv: 3 columns, expected 4\n")


def test_what_a_stranger_wrote_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    faults = Faults("a.csv")
    faults.note("\x1b[2J\x07no image\u202e b.png")
    assert faults.first == ["[2J no image b.png"]

    def main() -> None:
        raise InputError("a.csv: \x1b[2Jno image é.png")

    with pytest.raises(SystemExit):
        run_command(main)
    assert capsys.readouterr().err == "error: a.csv: [2Jno image é.png\n"


def several(count: int) -> Callable[[], None]:
    def main() -> None:
        faults = Faults("a.csv")
        for number in range(count):
            with faults:
                raise InputError(f"line {number}: wrong,\n  expected right")
        faults.raise_any()

    return main


def test_faults_are_counted_and_the_first_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    several(0)()
    for count, name in ((1, InputError), (2, SeveralFaults)):
        with pytest.raises(InputError) as caught:
            several(count)()
        assert type(caught.value) is name
    with pytest.raises(SystemExit) as ended:
        run_command(several(1007))
    assert ended.value.code == 2
    first, *named, rest = capsys.readouterr().err.splitlines()
    assert first == "error: a.csv: 1,007 faults" and rest == "  ... and 987 more"
    assert named == [f"  line {number}: wrong, expected right" for number in range(MOST_NAMED)]


def test_other_errors_are_no_faults() -> None:
    with pytest.raises(ZeroDivisionError), Faults("a.csv"):
        _ = 1 // 0


def raising(number: int, *file: str) -> Callable[[], None]:
    def main() -> None:
        raise OSError(number, os.strerror(number), *file)

    return main


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "No space left on device; make room and run it again"),
        (errno.EFBIG, "File too large; allow larger files (ulimit -f) and run it again"),
        (errno.EACCES, "Permission denied; change its permissions, or remove it and run it again"),
    ],
)
def test_a_machine_that_refuses_is_one_line_with_advice(
    capsys: pytest.CaptureFixture[str], number: int, advice: str
) -> None:
    for file, start in ((["data/a"], "error: data/a: "), ([], "error: ")):
        with pytest.raises(SystemExit) as caught:
            run_command(raising(number, *file))
        assert caught.value.code == 2
        assert capsys.readouterr().err == f"{start}{advice}, what is finished is kept\n"


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EISDIR, errno.EEXIST, errno.EINVAL])
def test_a_fault_of_ours_is_not_taken_for_the_machine_s(number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)):
        run_command(raising(number, "a"))


def test_another_pipe_that_breaks_is_not_taken_for_the_reader_s(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(BrokenPipeError):  # to a worker that died, say
        run_command(raising(errno.EPIPE))


def test_unknown_name_is_answered_with_the_valid_ones() -> None:
    with pytest.raises(InputError, match=r"unknown solver 'svm'; valid names: a, b"):
        pick("solver", "svm", {"b": 1, "a": 2})


def test_unknown_backend_is_answered_with_the_files_there_are() -> None:
    with pytest.raises(InputError, match=r"generator 'stylegan'; valid names: .*dcgan-digiface"):
        find_backend(pipeline.generators, "generator", "stylegan")
