"""What every script of the race starts from: a folder with the questions, the prompts and the settings.

The scripts grade and filter with the library's own functions: a user would write some of their own, but then
other examples would be rationalized and trained on, and no two of the raced times could be compared.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_engine.config.star import StarConfig
from star_engine.data.prompt_sets import read_prompt_set
from star_engine.data.readers import read_examples
from star_engine.evaluation.accuracy import EvaluationMode, evaluation_params, evaluation_prompt
from star_engine.protocols import Completion, SamplingParams
from star_engine.sampling.answers import judge
from star_engine.sampling.rationales import Rationale, RationaleKey, Route, rationale_prompt, sampling_params
from star_engine.tasks.examples import Example, PromptSet
from star_engine.tasks.verdict import VerdictCode
from star_engine.training_set.rows import build, decide

DATASET, PROMPT_SET, SETTINGS = "dataset.jsonl", "prompt_set.json", "settings.json"
MERGED = "merged"  # folder of the trained model
ITERATION = 1  # the first of a run: sampled from the base model


@dataclass(frozen=True)
class Task:
    folder: Path
    model: Path
    device: str
    config: StarConfig
    prompt_set: PromptSet
    train: tuple[Example, ...]
    held_out: tuple[Example, ...]

    @property
    def params(self) -> SamplingParams:
        """How rationales are sampled; the evaluation of these tasks does not differ."""
        return sampling_params(self.config)

    def prompt(self, example: Example, route: Route) -> str:
        return rationale_prompt(self.config, self.prompt_set, example, route, ITERATION)

    def evaluation_prompt(self, example: Example) -> str:
        mode = EvaluationMode.ADAPTER
        return evaluation_prompt(self.config, self.prompt_set, example, mode, ITERATION)

    def judged(self, example: Example, route: Route, text: str, tokens: int, finish: Any) -> Rationale:
        answer = judge(self.config, example, Completion(example.id, text, 0, tokens, finish))
        key = RationaleKey(example.id, route, 0)
        return Rationale(
            key,
            answer.text,
            answer.verdict,
            answer.extracted,
            answer.rule,
            0,
            tokens,
            answer.finish_reason,
        )

    def failed(self, tries: Iterable[Rationale]) -> list[Example]:
        """The examples whose tries are all wrong, in the order of the train split."""
        solved = {one.key.example_id for one in tries if one.verdict == VerdictCode.CORRECT}
        return [example for example in self.train if example.id not in solved]

    def training_rows(self, tries: Sequence[Rationale]) -> list[dict[str, str]]:
        """Prompt and completion of what is kept."""
        decisions = decide(self.config, self.prompt_set, self.train, tries)
        rows = build(self.config, self.prompt_set, self.train, tries, decisions)
        return [{"prompt": row.prompt, "completion": row.completion} for row in rows]


def read_task(folder: Path) -> Task:
    settings = json.loads((folder / SETTINGS).read_text())
    config = StarConfig.model_validate(settings["config"])
    with (folder / DATASET).open() as lines:
        examples = [one for one in read_examples(lines, config.kind) if isinstance(one, Example)]
    splits = {
        split: tuple(one for one in examples if one.split == split) for split in ("train", "validation")
    }
    return Task(
        folder=folder,
        model=Path(settings["model"]),
        device=settings["device"],
        config=config,
        prompt_set=read_prompt_set((folder / PROMPT_SET).read_text(), config.kind),
        train=splits["train"],
        held_out=splits["validation"],
    )


def write_tries(task: Task, name: str, tries: Sequence[Rationale]) -> None:
    """One line a try, as the next script of a chain reads them."""
    lines = [
        json.dumps(
            {
                "id": one.key.example_id,
                "route": one.key.route.value,
                "text": one.text,
                "tokens": one.tokens,
                "finish": one.finish_reason,
            }
        )
        for one in tries
    ]
    (task.folder / f"{name}.jsonl").write_text("".join(line + "\n" for line in lines))


def read_tries(task: Task, *names: str) -> list[Rationale]:
    by_id = {example.id: example for example in task.train}
    rows = [
        json.loads(line)
        for name in names
        for line in (task.folder / f"{name}.jsonl").read_text().splitlines()
    ]
    return [
        task.judged(by_id[row["id"]], Route(row["route"]), row["text"], row["tokens"], row["finish"])
        for row in rows
    ]


@contextmanager
def noted(task: Task, name: str) -> Iterator[dict[str, Any]]:
    """Write seconds of the block, and what it adds, to `<name>.note.json`, for who races this script."""
    facts: dict[str, Any] = {}
    began = time.time()
    yield facts
    found = {"seconds": time.time() - began, **facts}
    (task.folder / f"{name}.note.json").write_text(json.dumps(found))


def read_note(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{name}.note.json").read_text())
    return found


def evaluation_settings(task: Task) -> SamplingParams:
    return evaluation_params(task.config, EvaluationMode.ADAPTER)
