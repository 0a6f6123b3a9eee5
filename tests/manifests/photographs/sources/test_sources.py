"""Every kind of image set keeps the contract, as others' libraries write it."""

from __future__ import annotations

from tests.contracts import ImageCollectionContract


class TestFolder(ImageCollectionContract):
    WRITTEN = "folder"


class TestDatasets(ImageCollectionContract):
    WRITTEN = "datasets"


class TestColumns(ImageCollectionContract):
    WRITTEN = "columns"


class TestShards(ImageCollectionContract):
    WRITTEN = "shards"


class TestClasses(ImageCollectionContract):
    WRITTEN = "classes"


class TestRecords(ImageCollectionContract):
    WRITTEN = "records"


class TestKeys(ImageCollectionContract):
    WRITTEN = "keys"


class TestPairs(ImageCollectionContract):
    WRITTEN = "pairs"
