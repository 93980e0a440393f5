"""What one round of the race says, as numbers: seconds, ratios, gaps, shares."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

Run = Mapping[str, Any]  # benchmarks.whole_platform.Run as it is kept
Call = Mapping[str, Any]


def calls(run: Run, name: str) -> list[Call]:
    return [call for call in run["calls"] if call["call"] == name]


def sampling(run: Run) -> Call:
    """The call of the GPU process in which the rationales were sampled."""
    return calls(run, "stream")[0]


def tokens(run: Run) -> int:
    return sum(int(one["tokens"]) for one in run["tries"])


def tokens_a_second(run: Run, twice: Collection[str]) -> float:
    """Generated tokens while rationales were sampled, from the first request in to the last one out.

    twice: examples whose first try was generated a second time meanwhile, to the same text.
    """
    call = sampling(run)
    again = [one for one in run["tries"] if one["route"] == "generated" and one["id"] in twice]
    return (tokens(run) + tokens({"tries": again})) / float(call["last"] - call["began"])


def until_training(run: Run) -> float:
    """Seconds from the last rationale to the start of the first optimizer step.

    Steps are reported when they end: the first began one mean step earlier.
    """
    train = calls(run, "train")[0]
    step = (train["last"] - train["first"]) / max(1, train["events"] - 1)
    return float(train["first"] - step - sampling(run)["last"])


def until_sampling(run: Run) -> float:
    """Seconds from the adapter on disk to the request that its first token answers: the verification's."""
    saved = calls(run, "train")[0]["ended"]
    return float(min(call["began"] for call in calls(run, "stream") if call["began"] > saved) - saved)


def phase_seconds(run: Run) -> dict[str, float]:
    """Seconds of every step by its phase, in order."""
    phases = {line["step"]: line["phase"] for line in run["steps"] if line["event"] == "step_started"}
    found: dict[str, float] = {}
    for line in run["steps"]:
        if line["event"] == "step_ended":
            phase = phases[line["step"]]
            found[phase] = found.get(phase, 0.0) + float(line["seconds"])
    return found


def between_steps(run: Run) -> list[float]:
    """Seconds from the end of each step to the start of the next."""
    ended = [line["at"] for line in run["steps"] if line["event"] == "step_ended"]
    started = [line["at"] for line in run["steps"] if line["event"] == "step_started"]
    return [float(begin - end) for end, begin in zip(ended, started[1:], strict=False)]


def gpu_seconds(run: Run) -> dict[str, float]:
    """Seconds of what the GPU process was asked to do, streams by what they were for."""
    streams = iter(("sample", "verify", "evaluate"))
    found: dict[str, float] = {}
    for call in run["calls"]:
        name = next(streams, "stream") if call["call"] == "stream" else call["call"]
        found[name] = found.get(name, 0.0) + float(call["ended"] - call["began"])
    return found


def same_texts(run: Run, bare: Run) -> tuple[int, int]:
    """How many tries have the very same text in both, and how many there are."""
    ours, theirs = (
        {(one["route"], one["id"]): one["text"] for one in which["tries"]} for which in (run, bare)
    )
    return sum(ours.get(key) == text for key, text in theirs.items()), len(ours.keys() | theirs.keys())
