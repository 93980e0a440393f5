"""The document of the race: goals, where the time goes, what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import iteration_figures as figures
from benchmarks.baselines.task import ITERATION, Task
from benchmarks.limits import count_weights, sampling_seconds, unshared_tokens
from benchmarks.measuring import machine, median_and_range, notes_beside, significant, table
from star_engine.data.selection import steps_in
from star_engine.diagnostics.determinism import drawn_again
from star_engine.gpu.causal_lm import load_tokenizer, prompt_ids
from star_engine.sampling.rationales import Route

Round = Mapping[str, Any]


def write_report(out: Path, task: Task, rounds: Sequence[Round], command: str) -> None:
    parts = [
        "# One iteration, against the scripts of its user",
        f"```sh\npython -m examples.smollm2.convert\n{command}\n```",
        "  \n".join(machine("star-service")),
        _load(task, rounds),
        "## Goals",
        _goals(task, rounds),
        "## Seconds of an iteration",
        _seconds(rounds),
        "## Where the seconds of a warm iteration go",
        _phases(rounds),
        notes_beside(out),
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n\n".join(part for part in parts if part) + "\n")


def _each(rounds: Sequence[Round], figure: Callable[[Round], float], *arms: str) -> list[float]:
    """The figure of every round in which these arms ran."""
    return [figure(one) for one in rounds if all(arm in one for arm in arms)]


def _load(task: Task, rounds: Sequence[Round]) -> str:
    warm = next(one["service"]["warm"] for one in rounds if "service" in one)
    tries, tokens = len(warm["tries"]), figures.tokens(warm)
    by_id = {example.id: example for example in task.train}
    judged = [
        task.judged(by_id[one["id"]], Route(one["route"]), one["text"], one["tokens"], "stop")
        for one in warm["tries"]
    ]
    training, kept = task.config.training, len(task.training_rows(judged))
    steps = steps_in(training.schedule, 1, rows=kept, batch_size=training.batch_size)
    counts = ", ".join(
        f"{sum(arm in one for one in rounds)} of {arm}" for arm in ("service", "B1", "B1s", "B0")
    )
    return (
        f"{task.model.name} on {task.device}: {len(task.train)} questions, {tries} tries with {tokens} "
        f"generated tokens (at most {task.params.max_tokens} each), {kept} kept, {steps} "
        f"optimizer steps of {training.batch_size} rows, {len(task.held_out)} held-out "
        f"questions. Rounds: {counts}. "
        "Medians, with the range in brackets."
    )


def _goals(task: Task, rounds: Sequence[Round]) -> str:
    def ratio(kind: str, arm: str) -> list[float]:
        return _each(
            rounds, lambda one: one["service"][kind]["seconds"] / one[arm]["seconds"], "service", arm
        )

    def warm(figure: Callable[[Mapping[str, Any]], float]) -> list[float]:
        return _each(rounds, lambda one: figure(one["service"]["warm"]), "service")

    twice = {example.id for example in drawn_again(task.config, ITERATION, task.train)}
    bare = _each(
        rounds,
        lambda one: (
            figures.tokens_a_second(one["service"]["warm"], twice)
            / (one["B0"]["tokens"] / one["B0"]["seconds"])
        ),
        "service",
        "B0",
    )
    least = _least_seconds(task, rounds)
    share = [
        seconds / (call["last"] - call["began"])
        for seconds, call in zip(
            least,
            _each_call(rounds),
            strict=True,
        )
    ]
    rows = [
        _goal("iteration, warm service / B1", ratio("warm", "B1"), 0.60),
        _goal("iteration, warm service / B1s", ratio("warm", "B1s"), 0.75),
        _goal("iteration, cold service / B1", ratio("cold", "B1")),
        _goal("iteration, cold service / B1s", ratio("cold", "B1s")),
        _goal("generated tokens a second, service / B0", bare, 0.98, at_least=True),
        _goal("share of the hardware limit, generation", share, 0.45, at_least=True),
        _goal("last rationale to first optimizer step, s", warm(figures.until_training), 3),
        _goal("adapter saved to first token asked for, s", warm(figures.until_sampling), 3),
        _goal("a step's end to the next one's start, ms, the longest", warm(_longest_pause)),
    ]
    return table(("metric", "measured", "goal", "met"), rows)


def _longest_pause(run: Mapping[str, Any]) -> float:
    return 1000 * max(figures.between_steps(run))


def _goal(
    name: str, values: Sequence[float], goal: float | None = None, *, at_least: bool = False
) -> list[str]:
    if not values:
        sign = ">=" if at_least else "<="
        return [name, "not measured", "" if goal is None else f"{sign} {goal:g}", ""]
    if goal is None:
        return [name, median_and_range(values), "", ""]
    met = median(values) >= goal if at_least else median(values) <= goal
    return [name, median_and_range(values), f"{'>=' if at_least else '<='} {goal:g}", "yes" if met else "no"]


def _each_call(rounds: Sequence[Round]) -> list[Mapping[str, Any]]:
    return [figures.sampling(one["service"]["warm"]) for one in rounds if {"service", "limit"} <= one.keys()]


def _least_seconds(task: Task, rounds: Sequence[Round]) -> list[float]:
    """What sampling each round's tries would take at the speed of that round's matrix product."""
    weights, tokenizer = count_weights(task.model), load_tokenizer(task.model)
    by_id = {example.id: example for example in task.train}
    found = []
    for one in rounds:
        if not {"service", "limit"} <= one.keys():
            continue
        tries = one["service"]["warm"]["tries"]
        asked = [task.prompt(by_id[each["id"]], Route(each["route"])) for each in tries]
        prefill = unshared_tokens(prompt_ids(tokenizer, asked))
        tokens = figures.tokens(one["service"]["warm"])
        found.append(sampling_seconds(weights, one["limit"]["flops"], prefill, len(tries), tokens))
    return found


def _seconds(rounds: Sequence[Round]) -> str:
    rows = [
        [f"service, {kind}", median_and_range(seconds), said]
        for kind, said in (
            ("warm", "a later job; the GPU process has sampler and trainer"),
            ("cold", "the first job after the platform's start; the GPU process starts"),
        )
        if (seconds := _seconds_of(rounds, "service", kind))
    ]
    for arm, said in (
        ("B1", "four scripts"),
        ("B1s", "three scripts: generation and rationalization in one"),
    ):
        if seconds := _seconds_of(rounds, arm):
            rows.append([arm, median_and_range(seconds), f"{said}; {_scripts(rounds, arm)}"])
    if seconds := _each(rounds, lambda one: one["B3"]["seconds"] / one["B3"]["questions"], "B3"):
        ours = _each(rounds, _seconds_a_try, "service", "B3")
        said = f"seconds a question; the service: {median_and_range(ours)} a try"
        rows.append(["B3, generation alone", median_and_range(seconds), said])
    return table(("", "seconds", ""), rows)


def _seconds_of(rounds: Sequence[Round], arm: str, kind: str | None = None) -> list[float]:
    ran = [one[arm] for one in rounds if arm in one]
    return [(one if kind is None else one[kind])["seconds"] for one in ran]


def _seconds_a_try(one: Round) -> float:
    call = figures.sampling(one["service"]["warm"])
    return float(call["last"] - call["began"]) / len(one["service"]["warm"]["tries"])


def _scripts(rounds: Sequence[Round], arm: str) -> str:
    ran = [one[arm] for one in rounds if arm in one]
    names = list(ran[0]["scripts"])
    parts = []
    for name in names:
        whole = median(one["scripts"][name] for one in ran)
        work = median(one["notes"][name]["seconds"] for one in ran)
        parts.append(f"{name} {significant(whole)} (its work {significant(work)})")
    return ", ".join(parts)


def _phases(rounds: Sequence[Round]) -> str:
    runs = [one["service"]["warm"] for one in rounds if "service" in one]
    spent = [figures.phase_seconds(run) for run in runs]
    rows = [[phase, median_and_range([one[phase] for one in spent])] for phase in spent[0]]
    rest = [run["seconds"] - sum(one.values()) for run, one in zip(runs, spent, strict=True)]
    rows.append(["between the steps, request and news of the end", median_and_range(rest)])
    ran = table(("phase", "seconds"), rows)
    asked = [figures.gpu_seconds(run) for run in runs]
    gpu = table(
        ("of which the GPU process was at", "seconds"),
        [[name, median_and_range([one[name] for one in asked if name in one])] for name in asked[0]],
    )
    pairs = [
        figures.same_texts(one["service"]["warm"], one["B0"])
        for one in rounds
        if {"service", "B0"} <= one.keys()
    ]
    told = ", ".join(f"{equal} of {count}" for equal, count in pairs)
    same = f"\n\nTries with the very same text from the service and from B0, round by round: {told}."
    return f"{ran}\n\n{gpu}{same if pairs else ''}"
