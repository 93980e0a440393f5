"""A tar archive as a stream whose length is known beforehand. Nothing is written to disk for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from tarfile import BLOCKSIZE, GNU_FORMAT, TarInfo

from app.storage import Storage


@dataclass(frozen=True, slots=True)
class TarMember:
    path: str
    size_bytes: int
    modified: int  # seconds since 1970
    sha256: str


def tar_size(members: Sequence[TarMember]) -> int:
    """Bytes of the archive: per file a header and its padded content, then two empty blocks."""
    return sum(len(_header(m)) + m.size_bytes + _padding(m) for m in members) + 2 * BLOCKSIZE


def tar_chunks(members: Sequence[TarMember], storage: Storage) -> Iterator[bytes]:
    for member in members:
        yield _header(member)
        yield from storage.open_range(member.sha256, 0, member.size_bytes)
        yield bytes(_padding(member))
    yield bytes(2 * BLOCKSIZE)


def _header(member: TarMember) -> bytes:
    info = TarInfo(member.path)
    info.size, info.mtime, info.mode = member.size_bytes, member.modified, 0o644
    return info.tobuf(GNU_FORMAT)


def _padding(member: TarMember) -> int:
    return -member.size_bytes % BLOCKSIZE
