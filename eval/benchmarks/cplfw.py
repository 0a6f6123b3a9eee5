"""CPLFW (Cross-Pose LFW): photographs in one folder, and a list of two lines a pair, as CALFW's.

DIR/pairs_CPLFW.txt, or FILE        image N, once for either image of a pair; N is 1 or 0
DIR/images/PERSON_1.jpg             or in `aligned images/`
"""

from __future__ import annotations

from eval.benchmarks.base import Protocol
from eval.benchmarks.calfw import open_list


def open_protocol(argument: str, *, square: bool = False) -> Protocol:
    """Raises InputError naming the lines that are no pair of images that are there."""
    return open_list("cplfw", "pairs_CPLFW.txt", argument, square=square)
