"""A large JSONL file read by several processes at once, each of them every so many blocks of it.

They are forked off the process that asks, within its limits, and find the blocks by themselves: nothing is
sent to them, and what they send waits in a pipe until it is asked for. Memory holds a block of each.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NoReturn

from app.intake.batches import Batch, Rules, batches_of
from app.intake.formats import Format, rows_of
from app.intake.mapping import Columns, Row

BLOCK = 1 << 20  # bytes; 3,000 rows of GSM8K, verified in 60 ms
PR_SET_PDEATHSIG = 1  # linux/prctl.h
FAILED, OUT_OF_MEMORY = 1, 4  # exit statuses of a worker
HEADER = 8  # bytes that tell the length of what follows
Block = tuple[int, bytes]  # the number of its first line, and whole lines


@dataclass(frozen=True, slots=True)
class Blocks:
    """How to read them."""

    rules: Rules
    mapping: Columns
    max_bytes: int  # of one line

    def rows(self, block: Block) -> Iterator[Row]:
        first, lines = block
        return rows_of(BytesIO(lines), Format.JSONL, self.mapping, self.max_bytes, first)

    def batch(self, block: Block) -> Batch:
        """Verify the rows of a whole block."""
        most = len(block[1])
        [batch] = batches_of(self.rows(block), self.rules, most, size=most + 1)
        return batch


def read_in_blocks(file: BinaryIO, how: Blocks, room: int, workers: int) -> Iterator[Batch]:
    """What batches_of() gives for the file's rows, a block to a batch."""
    left = room
    with ExitStack() as stack:
        each = [stack.enter_context(_Worker(file, how, number, workers)) for number in range(workers)]
        for number, block in enumerate(blocks_of(file, how.max_bytes)):
            batch = each[number % workers].receive()
            if batch.count > left:  # read it again, up to the row that is one too many
                yield from batches_of(how.rows(block), how.rules, left, most=room)
                return
            left -= batch.count
            yield batch


def blocks_of(file: BinaryIO, max_bytes: int) -> Iterator[Block]:
    """The file in whole lines, from its start; a line longer than `max_bytes` is cut, and stays longer."""
    first = 1
    with reopened(file) as own:
        while block := own.read(BLOCK):
            block += own.readline(max_bytes + 1)
            rest = block
            while rest and not rest.endswith(b"\n"):
                rest = own.readline(max_bytes)
            yield first, block
            first += block.count(b"\n") + (not block.endswith(b"\n"))


def reopened(file: BinaryIO) -> BinaryIO:
    """The same file with an offset of its own."""
    return Path(f"/proc/self/fd/{file.fileno()}").open("rb")


class _Worker:
    """A process that reads blocks `number`, `number + workers`... and writes what it finds to a pipe."""

    def __init__(self, file: BinaryIO, how: Blocks, number: int, workers: int) -> None:
        reading, writing = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _work(file, how, number, workers, writing, parent)
        os.close(writing)
        self.found = os.fdopen(reading, "rb")

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *raised: object) -> None:
        self.found.close()
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def receive(self) -> Batch:
        """The batch of its next block. Raises MemoryError if its limits have ended it."""
        header = self.found.read(HEADER)
        size = int.from_bytes(header, "big")
        data = self.found.read(size)
        if len(header) == HEADER and len(data) == size:
            return Batch.from_bytes(data)
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        if os.waitstatus_to_exitcode(status) == FAILED:
            raise RuntimeError("a process that reads blocks has failed")  # and has printed why
        raise MemoryError


def _work(file: BinaryIO, how: Blocks, number: int, workers: int, writing: int, parent: int) -> NoReturn:
    """A forked process: it must not return into what its parent was doing."""
    status = FAILED
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with os.fdopen(writing, "wb") as out:
            for turn, block in enumerate(blocks_of(file, how.max_bytes)):
                if os.getppid() != parent:  # it died before the prctl above
                    break
                if turn % workers == number:
                    data = how.batch(block).as_bytes()
                    out.write(len(data).to_bytes(HEADER, "big") + data)
                    out.flush()
        status = 0
    except MemoryError:
        status = OUT_OF_MEMORY
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        raise
    finally:  # nothing gets beyond this
        os._exit(status)
