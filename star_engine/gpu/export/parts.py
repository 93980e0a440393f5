"""Files that are written while they are read: their sizes are known before, their bytes come in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tarfile import BLOCKSIZE, GNU_FORMAT, TarInfo

CHUNK_BYTES = 1 << 20


class CannotExport(ValueError):
    """Why a model cannot be written in this form, for the person who asked for it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file. `chunks` makes its bytes again whenever it is called."""

    name: str
    size_bytes: int
    chunks: Callable[[], Iterator[bytes]]


def file_part(path: Path) -> Part:
    """A file as it is."""

    def chunks() -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    return Part(path.name, path.stat().st_size, chunks)


def archive(name: str, parts: Sequence[Part]) -> Part:
    """The files as one .tar: the same bytes for the same files, whenever it is made."""
    size = sum(len(_header(part)) + part.size_bytes + _padding(part) for part in parts) + 2 * BLOCKSIZE

    def chunks() -> Iterator[bytes]:
        for part in parts:
            yield _header(part)
            yield from part.chunks()
            yield bytes(_padding(part))
        yield bytes(2 * BLOCKSIZE)

    return Part(name, size, chunks)


def _header(part: Part) -> bytes:
    info = TarInfo(part.name)
    info.size, info.mode = part.size_bytes, 0o644
    return info.tobuf(GNU_FORMAT)


def _padding(part: Part) -> int:
    return -part.size_bytes % BLOCKSIZE
