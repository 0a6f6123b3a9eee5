"""For backends of every kind that are looked up by name."""

from __future__ import annotations

import re
import sys
from typing import Any

ROWS = 40  # fewer than a batch, so that the tail is padded
SHA256 = re.compile("[0-9a-f]{64}")


class FileContract:
    """For backends that are looked up by name; needs the fixture `backend`."""

    def test_its_file_bears_its_name(self, backend: Any) -> None:
        file = sys.modules[type(backend).__module__].__name__.rpartition(".")[2]
        assert file == backend.name.replace("-", "_")
