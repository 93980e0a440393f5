"""Undoes gzip and zstd. Whatever the bytes claim, memory stays within 40 MiB and disk within the limit."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from tempfile import TemporaryFile
from typing import BinaryIO, Protocol

import zstandard

from app.errors import Invalid
from star_engine.data.files import as_utf8
from star_engine.data.row_errors import BadRows

MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
MAX_RATIO = 100  # text shrinks 3 to 30 times; a bomb of gzip 1,000 times, one of zstd 30,000 times
FREE_BYTES = 16 << 20  # unpacked before the ratio counts: a small file of one line repeated is no bomb
GZIP_INPUT = 16 << 10  # bytes at a time: at 1,032 times they are 16 MiB
ZSTD_INPUT = 1 << 10  # at 4 bytes for a block of 128 KiB they are 32 MiB
ZSTD_WINDOW = 8 << 20  # what RFC 9659 allows for Content-Encoding


@dataclass(frozen=True, slots=True)
class Unpacked:
    file: BinaryIO  # rewound, with a file descriptor
    sha256: str
    size_bytes: int


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


@contextmanager
def unpacked(received: BinaryIO, encoding: str, max_bytes: int) -> Iterator[Unpacked]:
    """The file's plain bytes: itself, or decompressed where `encoding` or its first bytes say so.

    Raises Invalid for a file that is broken, grows beyond `max_bytes` or unpacks like a bomb.
    """
    received.seek(0)
    codec = encoding or _codec(received)
    with TemporaryFile() as plain:
        digest, size = sha256(), 0
        for chunk in _as_text(_pieces(received, codec)):
            size += len(chunk)
            _check_size(size, received.tell(), max_bytes)
            digest.update(chunk)
            plain.write(chunk)
        plain.flush()
        plain.seek(0)
        yield Unpacked(plain, digest.hexdigest(), size)


def _as_text(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Re-encode UTF-16 as UTF-8, so that whatever follows reads one encoding."""
    try:
        yield from as_utf8(chunks)
    except BadRows as bad:
        raise unreadable(bad) from bad


def unreadable(bad: BadRows) -> Invalid:
    """Refuse a file as a whole."""
    [error] = bad.errors
    detail = f"The file cannot be read. {error.reason}"
    return Invalid.for_field("file", error.reason, error.fix, code="unreadable_file", detail=detail)


def _codec(file: BinaryIO) -> str:
    head = file.read(4)
    file.seek(0)
    return next((codec for codec, magic in MAGIC.items() if head.startswith(magic)), "")


def _pieces(file: BinaryIO, codec: str) -> Iterator[bytes]:
    if codec == "gzip":
        return _decoded(file, codec, lambda: zlib.decompressobj(16 + zlib.MAX_WBITS), GZIP_INPUT)
    if codec == "zstd":
        decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
        return _decoded(file, codec, decompressor.decompressobj, ZSTD_INPUT)
    return iter(lambda: file.read(1 << 20), b"")


def _decoded(file: BinaryIO, codec: str, begin: Callable[[], _Decoder], step: int) -> Iterator[bytes]:
    """Members of gzip and frames of zstd may follow one another."""
    decoder, data = begin(), file.read(step)
    try:
        while data:
            if piece := decoder.decompress(data):
                yield piece
            data = decoder.unused_data if decoder.eof else b""
            ended = decoder.eof
            data = data or file.read(step)
            if ended and data:
                decoder = begin()
    except (zlib.error, zstandard.ZstdError) as problem:
        raise _cannot_unpack("broken_compression", f"It is not {codec}: {problem}.") from problem
    if not decoder.eof:
        raise _cannot_unpack("broken_compression", f"The {codec} data is cut off.")


def _check_size(size: int, read: int, max_bytes: int) -> None:
    if size > max_bytes:
        reason = f"Unpacked it is longer than {max_bytes} bytes."
        raise _cannot_unpack("unpacks_too_large", reason, "Send it in parts, as several datasets.")
    if size > FREE_BYTES + MAX_RATIO * read:
        reason = f"It unpacks to more than {MAX_RATIO} times its size."
        raise _cannot_unpack(
            "unpacks_too_large", reason, "Send it as it is, or remove what is repeated in it."
        )


def _cannot_unpack(code: str, reason: str, fix: str = "Compress it again and send it whole.") -> Invalid:
    return Invalid.for_field("file", reason, fix, code=code, detail=f"The file cannot be unpacked. {reason}")
