"""Freed memory is kept for the next step instead of going back to the system.

A step allocates and frees the same hundreds of megabytes again and again. By default glibc gives
blocks of that size back at once and gets them anew, page by page, zeroed: on a CPU a tenth of a
step (docs/LOG.md). No bit of a result depends on it.
"""

from __future__ import annotations

import ctypes

# mallopt's parameters, of <malloc.h>
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT_BYTES, LARGEST_KEPT_BLOCK = 2**31 - 1, 2**30


def keep_freed_memory() -> bool:
    """For all allocations of this process from now on; False where there is no glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    done = [mallopt(TRIM_THRESHOLD, KEPT_BYTES), mallopt(MMAP_THRESHOLD, LARGEST_KEPT_BLOCK)]
    return all(done)
