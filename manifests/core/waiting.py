"""How OpenMP's threads wait for each other. OpenMP reads it once, when it is loaded: so packages
that load torch say it in their __init__, before anything else.

By themselves threads spin for 3 ms at each barrier, which takes the time of whatever else runs.
The turns below take about 20 µs, then a thread sleeps. It spares others; it does not keep two
threads quick beside them (`python -m tests.bench crowded`, docs/TRAINING.md).
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

WAITING = {"GOMP_SPINCOUNT": "2000"}
CHOSEN = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}  # by the user, who may know better


def wait_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Has threads that wait for others sleep soon, of this process and of those that it starts."""
    if not CHOSEN & environment.keys():
        environment.update(WAITING)
