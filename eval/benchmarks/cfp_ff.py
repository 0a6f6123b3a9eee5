"""CFP (Celebrities in Frontal-Profile), frontal photographs alone; laid out as for cfp-fp.

DIR/Protocol/Split/FF/01/same.txt, diff.txt         number,number: both of Pair_list_F.txt
"""

from __future__ import annotations

from eval.benchmarks.base import Protocol
from eval.benchmarks.cfp_fp import open_split


def open_protocol(argument: str, *, square: bool = False) -> Protocol:
    """Raises InputError naming the lines that are no pair of images that are there."""
    return open_split("FF", argument, square=square)
