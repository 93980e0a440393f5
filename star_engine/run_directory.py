"""What `run_star` records, as files that a person can read: JSONL, one line per fact, never rewritten.

run.json                          config and a hash of the data
history.jsonl                     one line per finished phase, with its metrics
baselines/few_shot_cot.jsonl      answers of the base model
also/                             answers on other datasets that are measured as well
iteration-3/rationales.jsonl      every try, with verdict
           /selection.json        examples asked, in order, with what became of each, where that decides
           /checks.jsonl          what the checks that cost samples found, where asked for
           /rewards.jsonl         what a controller's scorer says of the tries, where there is one
           /mixed.jsonl           texts of other datasets, where some are mixed in
           /decisions.jsonl       kept or dropped, with the reason
           /training_set.jsonl    what was trained on
           /curve.jsonl           loss, gradient norm, rate and tokens of each optimizer step
           /evaluation.jsonl      held-out answers of this iteration's model
           /candidates.jsonl      many answers to each held-out question, where asked for
           /candidate_scores.jsonl  how likely scorers find them
           /test_time.jsonl       what k of them come to; all three in baselines/ for the base model
           /pairs.jsonl           right and wrong tries that are paired, where a verifier is trained
           /pair_references.jsonl how likely the reference model finds them
           /verifier/             as adapter/, where one is trained
           /optimizer.safetensors what the next training's optimizer goes on with, where it is carried
           /adapter/              adapter_config.json, adapter_model.safetensors, README.md, manifest.json
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

from star_engine.adapters.layout import OPTIMIZER, write_durably
from star_engine.adapters.roles import AdapterRole
from star_engine.config.star import StarConfig
from star_engine.data.adaptive import Selected, selected_from
from star_engine.evaluation.accuracy import OF_ADAPTER, EvaluatedAnswer, EvaluationMode
from star_engine.loop import IterationHistory, PhaseName, PhaseRef
from star_engine.phases.build import own_rows
from star_engine.protocols import TrainingProgress
from star_engine.sampling.rationales import Rationale, RationaleKey, Route
from star_engine.tasks.examples import Example, PromptSet, as_data
from star_engine.tasks.programs.tool_use import ToolUse, tool_use_from, turns_from
from star_engine.training_set.rows import Decision, TrainingExample, masks_from, training_line

# What may change between two runs over the same directory: how far to go, not what was done.
_OPEN = ("iterations", "stop", "audits")


class OtherRun(ValueError):
    """The directory holds a run of other data or other settings."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    root: Path

    def begin(
        self,
        config: StarConfig,
        train: Sequence[Example],
        held_out: Sequence[Example],
        prompt_set: PromptSet,
        mixed: Mapping[str, Sequence[Example]] = MappingProxyType({}),
    ) -> None:
        """Create run.json, or make sure that the one found belongs to this very run. Raises OtherRun."""
        data = [[as_data(e) for e in examples] for examples in (train, held_out, prompt_set.examples)]
        data += [[as_data(e) for e in mixed[mix.dataset]] for mix in config.training_set.mix]
        digest = sha256(json.dumps(data).encode()).hexdigest()
        path = self.root / "run.json"
        if path.exists():
            known = json.loads(path.read_text(encoding="utf-8"))
            if known["data_sha256"] != digest:
                raise OtherRun(f"{self.root} holds a run on other data; choose another directory.")
            if _settled(StarConfig.model_validate(known["config"])) != _settled(config):
                raise OtherRun(f"{self.root} holds a run with other settings; choose another directory.")
        self.root.mkdir(parents=True, exist_ok=True)
        written = {"config": config.model_dump(mode="json"), "data_sha256": digest}
        write_durably(path, json.dumps(written, indent=2) + "\n")

    def history(self) -> list[IterationHistory]:
        """Return what is done, as `next_phase` expects it."""
        return [
            IterationHistory(
                number=number,
                done=frozenset(map(PhaseName, metrics["phases_done"])),
                kept=own_rows(metrics["kept"]) if "kept" in metrics else None,
                pairs=metrics.get("pairs", {}).get("count"),
                diagnosis=metrics.get("diagnosis") or metrics.get("pairs", {}).get("diagnosis"),
                accuracy=metrics.get("accuracy"),
                solve_rate=metrics.get("solve_rate"),
                chance_p=metrics.get("spark", {}).get("p_value"),
                tool_rate=metrics.get("tool_use", {}).get("generated", {}).get("rate"),
            )
            for number, metrics in self.metrics().items()
        ]

    def metrics(self) -> dict[int, dict[str, Any]]:
        """Return the metrics of each iteration by number, with `phases_done`.

        The keys are those that a service shows of an iteration.
        """
        found: dict[int, dict[str, Any]] = {}
        for line in lines_of(self.root / "history.jsonl"):
            known = found.setdefault(line.pop("iteration"), {"phases_done": [], "audits": {}})
            known["phases_done"].append(line.pop("phase"))
            audits = {**known["audits"], **line.pop("audits", {})}
            known.update(line, audits=audits)
        return found

    def finish(self, phase: PhaseRef, facts: Mapping[str, Any]) -> None:
        """Record a finished phase. Only now it counts as done."""
        line = {"iteration": phase.iteration, "phase": phase.name, **facts}
        with JsonLines(self.root / "history.jsonl") as lines:
            lines.append(line)

    def iteration(self, number: int) -> Path:
        return self.root / f"iteration-{number}"

    def adapter(self, number: int, role: AdapterRole = AdapterRole.GENERATOR) -> Path:
        return self.iteration(number) / ("adapter" if role is AdapterRole.GENERATOR else str(role))

    def checkpoints(self, number: int, role: AdapterRole = AdapterRole.GENERATOR) -> Path:
        """The trainer's resume points; removed once the adapter is verified."""
        return self.iteration(number) / _of_role("checkpoints", role)

    def optimizer_path(self, number: int) -> Path:
        """The optimizer state that the next iteration's training goes on with, where it is carried."""
        return self.iteration(number) / OPTIMIZER

    def curve_path(self, number: int, role: AdapterRole = AdapterRole.GENERATOR) -> Path:
        return self.iteration(number) / f"{_of_role('curve', role)}.jsonl"

    def curve(self, number: int) -> list[TrainingProgress]:
        """Every optimizer step of the iteration's training. Steps that were done again count once."""
        newest = {line["step"]: TrainingProgress(**line) for line in lines_of(self.curve_path(number))}
        return [newest[step] for step in sorted(newest)]

    def training_report(self, number: int, role: AdapterRole = AdapterRole.GENERATOR) -> dict[str, Any]:
        """Return the report of the iteration's training; empty before its end."""
        name = "training" if role is AdapterRole.GENERATOR else f"{role}_training"
        return dict(self.metrics().get(number, {}).get(name, {}))

    def rationales_path(self, number: int) -> Path:
        return self.iteration(number) / "rationales.jsonl"

    def rationales(self, number: int) -> list[Rationale]:
        checked = {_key(line): line["checks"] for line in lines_of(self.checks_path(number))}
        rewarded = {_key(line): line["reward"] for line in lines_of(self.rewards_path(number))}
        found = (rationale_from(line) for line in lines_of(self.rationales_path(number)))
        return [
            replace(
                one,
                checks=checked.get(one.key, one.checks),
                reward=rewarded.get(one.key, one.reward),
            )
            for one in found
        ]

    def selection(self, number: int) -> Selected | None:
        """Which examples the iteration asks, where that is recorded."""
        path = self.iteration(number) / "selection.json"
        return selected_from(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def write_selection(self, number: int, selected: Selected) -> None:
        self.iteration(number).mkdir(parents=True, exist_ok=True)
        path = self.iteration(number) / "selection.json"
        write_durably(path, json.dumps(selected.as_json()) + "\n")

    def checks_path(self, number: int) -> Path:
        return self.iteration(number) / "checks.jsonl"

    def rewards_path(self, number: int) -> Path:
        return self.iteration(number) / "rewards.jsonl"

    def readings_path(self, number: int) -> Path:
        return self.iteration(number) / "readings.jsonl"

    def readings(self, number: int) -> dict[RationaleKey, list[tuple[int, float]]]:
        """How likely the iteration's adapter finds a try's answer behind the text up to each place in it."""
        lines = lines_of(self.readings_path(number))
        return {_key(line): [(end, logprob) for end, logprob in line["reading"]] for line in lines}

    def answers_path(self, number: int, mode: EvaluationMode, other: str | None = None) -> Path:
        if other is not None:
            name = sha256(other.encode()).hexdigest()[:16]  # it may hold what no file name can
            return self.root / "also" / f"{name}-{number}.jsonl"
        if mode is EvaluationMode.ADAPTER:
            return self.iteration(number) / "evaluation.jsonl"
        if mode in OF_ADAPTER:
            return self.iteration(number) / f"{mode}.jsonl"
        return self.root / "baselines" / f"{mode}.jsonl"

    def answers(self, number: int, mode: EvaluationMode, other: str | None = None) -> list[EvaluatedAnswer]:
        """`other`: the name of another dataset that is measured as well."""
        return [_answer_from(line) for line in lines_of(self.answers_path(number, mode, other))]

    def write_training_set(
        self,
        number: int,
        decisions: Iterable[Decision],
        rows: Iterable[TrainingExample],
        mixed: Iterable[Rationale] = (),
    ) -> None:
        folder = self.iteration(number)
        lines = {
            "mixed.jsonl": [json.dumps(rationale_line(one), ensure_ascii=False) for one in mixed],
            "decisions.jsonl": [
                json.dumps({**_flat(one.key), "kept": one.kept, "reason": one.reason}) for one in decisions
            ],
            "training_set.jsonl": [training_line(row) for row in rows],
        }
        folder.mkdir(parents=True, exist_ok=True)
        for name, written in lines.items():
            if written or name != "mixed.jsonl":
                write_durably(folder / name, "".join(f"{line}\n" for line in written))

    def decisions(self, number: int) -> list[Decision]:
        lines = lines_of(self.iteration(number) / "decisions.jsonl")
        return [Decision(_key(line), line["kept"], line["reason"]) for line in lines]

    def training_set(self, number: int) -> list[TrainingExample]:
        lines = lines_of(self.iteration(number) / "training_set.jsonl")
        return [
            TrainingExample(
                _key(line),
                line["prompt"],
                line["completion"],
                line.get("hinted", False),
                masks_from(line.get("masked", ())),
                turns_from(line.get("turns", ())),
            )
            for line in lines
        ]


def _of_role(name: str, role: AdapterRole) -> str:
    return name if role is AdapterRole.GENERATOR else f"{role}_{name}"


class JsonLines:
    """Appends lines to a file: each is written through at once, and on disk when the file is closed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _drop_torn_line(path)
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


def rationale_line(rationale: Rationale) -> dict[str, Any]:
    """A rationale as one flat JSON object."""
    fields = asdict(rationale)
    del fields["key"], fields["checks"]
    return _flat(rationale.key) | fields | _used(rationale.tools)


def answer_line(answer: EvaluatedAnswer) -> dict[str, Any]:
    """An answer as one flat JSON object."""
    fields = asdict(answer)
    del fields["thoughts"]  # none of a run that ends here has any
    return fields | _used(answer.tools)


def _answer_from(line: Mapping[str, Any]) -> EvaluatedAnswer:
    return EvaluatedAnswer(**{**line, "tools": tool_use_from(line.get("tools"))})


def _used(tools: ToolUse | None) -> dict[str, Any]:
    return {"tools": None if tools is None else tools.as_json()}


def check_line(key: RationaleKey, results: Mapping[str, bool]) -> dict[str, Any]:
    """What the checks of one rationale found."""
    return {**_flat(key), "checks": dict(results)}


def reward_line(key: RationaleKey, reward: float) -> dict[str, Any]:
    """What a controller's scorer says of one rationale."""
    return {**_flat(key), "reward": reward}


def reading_line(key: RationaleKey, points: Sequence[tuple[int, float]]) -> dict[str, Any]:
    """How likely the answer of one rationale is after each of its sentences."""
    return {**_flat(key), "reading": [list(point) for point in points]}


def rationale_from(line: Mapping[str, Any]) -> Rationale:
    """The rationale of `rationale_line`."""
    rest = {name: value for name, value in line.items() if name not in ("example_id", "route", "sample")}
    return Rationale(key=_key(line), **{**rest, "tools": tool_use_from(line.get("tools"))})


def _flat(key: RationaleKey) -> dict[str, Any]:
    return {"example_id": key.example_id, "route": str(key.route), "sample": key.sample}


def _key(line: Mapping[str, Any]) -> RationaleKey:
    return RationaleKey(line["example_id"], Route(line["route"]), line["sample"])


def _settled(config: StarConfig) -> dict[str, Any]:
    settled = config.model_dump(mode="json", exclude=set(_OPEN))
    del settled["training_set"]["min_kept"]
    return settled


def _drop_torn_line(path: Path) -> None:
    """A crash in the middle of a write leaves half a line; it was never recorded."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a file; none where there is none."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)
