"""folder:DIR, image files at any depth; who is on an image is the folder that it lies in.

The folder `unlabelled` at the top names nobody: `facestill pack --to folder` puts there whose faces
have no identity.
"""

from __future__ import annotations

from pathlib import Path
from typing import final

from manifests.core.errors import InputError
from manifests.photographs.images import ImageFolder
from manifests.photographs.listing import list_images
from manifests.photographs.sources.base import AS_FOUND, Fields, ImageCollection, Label, Places

UNLABELLED = "unlabelled"


@final
class FolderImages(ImageCollection):
    """Image files below a folder, named relative to it."""

    def __init__(self, root: Path) -> None:
        self.root, self.files = root, ImageFolder(root)
        self.names = list_images(root)
        people = map(folder_of, self.names)
        self.labels = tuple(None if person == UNLABELLED else person for person in people)

    def read(self, name: str) -> bytes:
        return self.files.read(name)

    def where(self, name: str) -> str:
        return self.files.where(name)

    def places(self) -> Places:
        return Places()


def folder_of(name: str) -> Label:
    """What stands before the last slash of a name."""
    return name.rpartition("/")[0] or None


def open_images(path: Path, fields: Fields) -> FolderImages:
    """Raises InputError as `list_images` does, and for fields, which files do not have."""
    if fields != AS_FOUND:
        raise InputError(f"folder:{path} has no --image and no --identity: folders say who it is")
    return FolderImages(path)
