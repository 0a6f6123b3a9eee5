"""Names of files as lists spell them: the same name may be written in other code points."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import final

UNSAFE = {"Cc", "Cs", "Zl", "Zp"}  # categories of characters: controls, no UTF-8, ends of lines


def is_safe(name: str) -> bool:
    """Whether a name is text of one line, which tables and messages can hold."""
    return not any(unicodedata.category(each) in UNSAFE for each in name)


def same_name(name: str) -> str:
    """One text for all spellings of a name: macOS may decompose accents (é is then two code
    points), lists from Windows have backslashes."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def alike(name: str) -> str:
    """One text for names that look alike, or are one to a disk that ignores capitals."""
    text = unicodedata.normalize("NFKC", same_name(name)).casefold()
    parts = text.removeprefix("./").split("/")
    shown = ("".join(c for c in part if unicodedata.category(c)[0] != "C") for part in parts)
    return "/".join(part.strip() for part in shown)


@final
class Spellings:
    """Names that are there, found by other spellings of them."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)

    def find(self, name: str) -> str | None:
        """The name itself, or the only one that is the same but for how it is spelled."""
        if name in self.names:
            return name
        found = self._same.get(same_name(name), ())
        return found[0] if len(found) == 1 else None

    def hint(self, name: str) -> str:
        """What to say of names that are there and look like one that is not; "" without any."""
        for groups, key in ((self._same, same_name), (self._alike, alike)):
            found = groups.get(key(name), ())
            if found:
                shown = " and ".join(ascii(each) for each in found[:3])
                return (
                    f"; it is written {name!a}, there is {shown}, which differs in "
                    f"{_difference(name, found[0])}; write it as it is there"
                )
        return ""

    @cached_property
    def _same(self) -> Mapping[str, Sequence[str]]:
        return _grouped(self.names, same_name)

    @cached_property
    def _alike(self) -> Mapping[str, Sequence[str]]:
        return _grouped(self.names, alike)


def _grouped(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        groups[key(name)].append(name)
    return groups


def _difference(name: str, there: str) -> str:
    if same_name(name) == same_name(there):
        return "how its accents are written"
    if same_name(name).casefold() == same_name(there).casefold():
        return "capitals"
    return "blanks, marks that are not seen, or letters that look alike"
