"""What every kind of image set must keep."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests.core.errors import InputError
from manifests.photographs.names import is_safe
from manifests.photographs.sources.base import AS_FOUND, ImageCollection
from tests.image_packs import WRITERS, pictures

ITEMS = pictures(people=5, each=9)
MEMORY = 64 << 20
DAMAGE = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=9)


def open_set(kind: str, path: Path) -> ImageCollection:
    module = importlib.import_module(f"manifests.photographs.sources.{kind}")
    found: ImageCollection = module.open_images(path, AS_FOUND)
    return found


class ImageCollectionContract:
    """Needs WRITTEN, a name of tests.image_packs.WRITERS: what is written there by others is read
    back, or refused in one line where it was damaged."""

    WRITTEN: str

    @pytest.fixture(scope="class")
    @classmethod
    def path(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        _, name, write = WRITERS[cls.WRITTEN]
        return write(ITEMS, tmp_path_factory.mktemp("sets") / name)

    @pytest.fixture
    def found(self, path: Path) -> ImageCollection:
        return self.opened(path)

    def opened(self, path: Path) -> ImageCollection:
        return open_set(WRITERS[self.WRITTEN][0], path)

    def test_every_image_is_there_with_who_is_on_it(self, found: ImageCollection) -> None:
        assert len(found.names) == len(found.labels) == len(ITEMS)
        read = {
            found.read(name): label for name, label in zip(found.names, found.labels, strict=True)
        }
        assert {data: int(label or 0) for data, label in read.items()} == {
            item.data: item.identity for item in ITEMS
        }
        assert None not in read.values()

    def test_names_are_lines_of_text_and_the_same_again(
        self, found: ImageCollection, path: Path
    ) -> None:
        again = self.opened(path)
        assert again.names == found.names and again.labels == found.labels
        assert len(set(found.names)) == len(found.names) and all(map(is_safe, found.names))
        assert all(str(found.root) in found.where(name) for name in found.names)

    def test_the_order_of_reading_changes_nothing(self, found: ImageCollection, path: Path) -> None:
        wanted = {name: found.read(name) for name in found.names}
        again = self.opened(path)
        for name in (*reversed(found.names), found.names[7], found.names[7]):
            assert again.read(name) == wanted[name]

    def test_places_are_where_the_bytes_lie(self, found: ImageCollection) -> None:
        places = found.places()
        for name, (file, *parts) in (places.of if places else {}).items():
            assert places is not None
            data = places.files[file].read_bytes()
            pairs = zip(parts[::2], parts[1::2], strict=True)
            assert b"".join(data[at : at + size] for at, size in pairs) == found.read(name)

    @settings(max_examples=30, deadline=5_000, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def test_damage_is_refused_in_a_line_or_does_no_harm(
        self, path: Path, data: st.DataObject
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            shutil.copytree(path, copy) if path.is_dir() else shutil.copy(path, copy)
            files = sorted(each for each in [copy, *copy.rglob("*")] if each.is_file())
            self.damage(data.draw(st.sampled_from(files)), data)
            tracemalloc.start()
            try:
                found = self.opened(copy)
                for name in found.names:
                    assert isinstance(found.read(name), bytes)
            except InputError as error:
                assert "\n" not in str(error) or str(error).startswith(str(copy))
            finally:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
            assert peak < MEMORY

    def damage(self, file: Path, data: st.DataObject) -> None:
        """Cut short, or with some bytes changed: anywhere, or where files of its kind say what
        they hold."""
        raw = bytearray(file.read_bytes())
        if data.draw(st.booleans()):
            del raw[data.draw(st.integers(0, len(raw))) :]
        where = data.draw(st.sampled_from([(0, len(raw)), (0, 600), (max(len(raw) - 600, 0), 600)]))
        for place, value in data.draw(DAMAGE) if raw else ():
            raw[min(where[0] + int(place * where[1]), len(raw) - 1)] = value
        os.unlink(file)
        file.write_bytes(raw)
