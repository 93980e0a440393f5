"""What `hf:ORG/NAME[@REVISION][/CONFIG]/SPLIT[+SPLIT]` names, and which files of a repository hold it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

READ = (".parquet", ".jsonl", ".ndjson", ".json", ".csv")  # the first of them that a split has is taken
ROLES = {  # what the platform calls a split
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}
FORM = "hf:ORG/NAME[@REVISION][/CONFIG]/SPLIT[+SPLIT]"
_WORD = r"(?!\.+(?:[/@+=]|$))[\w.-]+"  # no path goes up by it
_NAMED = re.compile(
    rf"hf:(?P<repo>{_WORD}/(?:(?!@){_WORD}))(?:@(?P<rev>{_WORD}))?(?:/(?P<config>{_WORD}))?"
    rf"/(?P<splits>{_WORD}(?:=\w+)?(?:\+{_WORD}(?:=\w+)?)*)",
    re.ASCII,
)


class NotRead(ValueError):
    """What was named cannot be read as a dataset; the message says why, and what would help."""


@dataclass(frozen=True, slots=True)
class Named:
    """`roles`: of splits that are to be called otherwise than they are, as in `test=validation`."""

    repository: str
    revision: str | None
    config: str | None
    splits: tuple[str, ...]
    roles: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def read(text: str) -> Named:
        """Raises NotRead."""
        found = _NAMED.fullmatch(text)
        if found is None:
            raise NotRead(f"{text[:200]} is not of the form {FORM}.")
        parts = [part.partition("=") for part in found["splits"].split("+")]
        for _, marked, role in parts:
            if marked and role not in ROLES.values():
                raise NotRead(f"{role} is no split of a dataset: write train, validation or test.")
        return Named(
            found["repo"],
            found["rev"],
            found["config"],
            tuple(split for split, _, _ in parts),
            tuple((split, role) for split, _, role in parts if role),
        )

    def role_of(self, split: str) -> str:
        """What the platform calls the split. Raises NotRead."""
        role = dict(self.roles).get(split) or ROLES.get(split)
        if role is None:
            raise NotRead(
                f"The split {split} is none of {', '.join(ROLES)}: name it alone, or say what it is, as in "
                f"{split}=validation."
            )
        return role


def files_of(names: Sequence[str], named: Named, split: str) -> list[str]:
    """The files that hold a split, in order, told by the words of their paths. Raises NotRead."""
    readable = [name for name in names if ending(name) in READ]
    mine = [name for name in readable if split in _words(name)]
    if named.config is not None:
        mine = [name for name in mine if named.config in (*PurePosixPath(name).parts, *_words(name))]
    if not mine:
        known = ", ".join(sorted(readable)[:8]) or "none that can be read (Parquet, JSONL, JSON or CSV)"
        where = f" of {named.config}" if named.config else ""
        raise NotRead(f"{named.repository} has no file of the split {split}{where}. Its files: {known}.")
    best = min((ending(name) for name in mine), key=READ.index)
    mine = sorted(name for name in mine if ending(name) == best)
    folders = sorted({str(PurePosixPath(name).parent) for name in mine})
    if len(folders) > 1:
        example = f"hf:{named.repository}/{PurePosixPath(folders[0]).name}/{split}"
        found = ", ".join(folders)
        raise NotRead(
            f"{named.repository} has several configurations of the split {split}: {found}. Name one, as in "
            f"{example}."
        )
    return mine


def ending(name: str) -> str:
    """.parquet of a/b.parquet, .jsonl of a/b.jsonl.gz"""
    path = PurePosixPath(name.removesuffix(".gz").removesuffix(".zst"))
    return path.suffix.lower()


def _words(name: str) -> list[str]:
    return re.split(r"[/._-]", name)
