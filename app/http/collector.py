"""When Python looks through every object for cycles that nobody needs any longer.

Python does so whenever their number has grown by a quarter, and nothing else runs meanwhile: while a thousand
streams of events were opened at once it did four times, for 10, 60, 100 and 175 ms.
"""

from __future__ import annotations

import gc
from functools import cache
from time import perf_counter

from anyio import sleep

SHARE = 0.001  # of the time that full collections may take: no 99th percentile is theirs
LEAST_SECONDS = 10.0  # between two
NEVER = 2**31 - 1  # collections of the young, as many as Python can count

_PYTHONS_OWN = gc.get_threshold()


def hold_full_collections() -> None:
    """Look through young objects only, as Python does, some ms at a time: most cycles end there."""
    youngest, young, _ = _PYTHONS_OWN
    gc.set_threshold(youngest, young, NEVER)


@cache
def keep_what_is_loaded() -> None:
    """Take modules, routes and models out of the collector's hands, once in a process.

    A full collection walked 160,000 objects of theirs, which never end, and held every request up for 140 ms.
    """
    gc.freeze()


async def collect_in_its_own_time() -> None:
    """Collect everything from time to time, the more rarely the longer it takes; until cancelled."""
    hold_full_collections()
    pause = LEAST_SECONDS
    try:
        while True:
            await sleep(pause)
            began = perf_counter()
            gc.collect()
            pause = pause_after(perf_counter() - began)
    finally:
        gc.set_threshold(*_PYTHONS_OWN)


def pause_after(seconds: float) -> float:
    """Seconds until the next full collection after one that took so many."""
    return max(LEAST_SECONDS, seconds / SHARE)
