"""How much memory work takes on a CPU at its peak, to the byte."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def peak_bytes(work: Callable[[], object]) -> int:
    """The most that is allocated at once while it works, by what the allocator says of every tensor."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    told = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(told, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most
