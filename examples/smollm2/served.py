"""A chat model through the whole platform: added, taught in its own template, and asked by tools of others.

    python -m examples.smollm2.convert
    python -m examples.smollm2.served [--lm-eval VENV/bin/lm-eval] [--inspect VENV/bin/inspect]

SmolLM2-135M-Instruct is put on an allow-list, questions are uploaded as conversations, a job runs in the chat
layout over HTTP. Its adapter then answers every held-out question again, to the `openai` client and to the
programs that are named: each must find as many right answers as the platform measured. Status 0 if they do.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
from rich.console import Console

from examples.platform import ROOT, running_platform
from examples.smollm2.chat import SYSTEM, write_job
from examples.smollm2.convert import MODEL_FOLDER
from star_client.cli.watch import watch_job
from star_client.client import StarClient
from star_client.objects import Job
from star_engine.config.star import StarConfig
from star_engine.sampling.answers import judge_text
from star_engine.tasks.examples import Example
from star_engine.tasks.verdict import VerdictCode

MODEL = "SmolLM2-135M-Instruct"
CONFIG: dict[str, Any] = {
    "layout": "chat",
    "chat": {"system": SYSTEM},
    "iterations": 1,
    "generation": {"max_tokens": 64, "few_shot": "first_iteration"},
    "training": {"schedule": {"kind": "epochs", "epochs": 2}, "learning_rate": 5e-4, "max_length": 512},
}
AT_ONCE = 4  # conversations
TASK = """task: held_out
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: [], max_gen_toks: 64, temperature: 0, do_sample: false}
filter_list:
  - name: stated
    filter:
      - {function: regex, regex_pattern: "[Tt]he answer is (-?[0-9]+)"}
      - {function: take_first}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
INSPECT_TASK = """from inspect_ai import Task, task
from inspect_ai.dataset import Sample, json_dataset
from inspect_ai.scorer import pattern
from inspect_ai.solver import generate


@task
def held_out():
    rows = json_dataset("FILE", lambda row: Sample(input=row["question"], target=str(row["answer"])))
    return Task(dataset=rows, solver=generate(), scorer=pattern(r"[Tt]he answer is (-?[0-9]+)"))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--home", type=Path, default=ROOT / ".star" / "smollm2-chat")
    parser.add_argument("--train", type=int, default=24)
    parser.add_argument("--held-out", type=int, default=12)
    parser.add_argument("--lm-eval", type=Path, help="the command of lm-eval, in an environment of its own")
    parser.add_argument("--inspect", type=Path, help="the command of inspect-ai")
    parser.add_argument("--push", metavar="ORG/NAME", help="put the adapter on the hub of HF_ENDPOINT")
    chosen = parser.parse_args()
    home = chosen.home.resolve()
    write_job(home / "task", chosen.model, chosen.train, chosen.held_out)
    models_file = _allow(home, chosen.model)
    settings = {"STAR_MODELS_FILE": str(models_file), "STAR_SAMPLER": "transformers", "STAR_THREADS": "2"}
    with running_platform(home, **settings) as url:
        key = (home / "api-key").read_text().strip()
        with StarClient(url, key) as star:
            job = _run_job(star, home / "task", chosen.held_out)
            measured, rows = _held_out(star, job, home / "task" / "held-out.jsonl")
        print(f"{job.id}: {measured} of {len(rows)} held-out questions right, as the platform measured.")
        found = {"openai": _by_openai(url, key, job, rows)}
        if chosen.lm_eval:
            found["lm-eval"] = _by_lm_eval(chosen.lm_eval, url, key, job, home / "task", len(rows))
        if chosen.push:
            _push(url, key, job, chosen.push)
        if chosen.inspect:
            found["inspect-ai"] = _by_inspect(chosen.inspect, url, key, job, home / "task", len(rows))
    for name, right in found.items():
        print(f"{name}: {right} of {len(rows)}")
    sys.exit(any(right != measured for right in found.values()))


def _allow(home: Path, folder: Path) -> Path:
    """What `star models add FOLDER` does."""
    models_file = home / "models.yaml"
    if not models_file.exists():
        models_file.write_text("# Only operators write here.\n")
        own = {"STAR_MODELS_FILE": str(models_file), "STAR_HOME": str(home), "STAR_SAMPLER": "transformers"}
        command = [
            sys.executable,
            "-m",
            "worker.hub",
            "add",
            str(folder.resolve()),
            "--license",
            "apache-2.0",
        ]
        subprocess.run([*command, "--id", MODEL], check=True, cwd=ROOT, env=os.environ | own)
    return models_file


def _run_job(star: StarClient, task: Path, held_out: int) -> Job:
    dataset = star.datasets.upload(task / "questions.jsonl", kind="numeric", validation=held_out)
    shown = json.loads((task / "prompt_set.json").read_text())
    prompts = star.prompt_sets.create(name="sums", kind="numeric", examples=[shown])
    job = star.jobs.create(name="chat", model=MODEL, dataset=dataset.id, prompt_set=prompts.id, config=CONFIG)
    done = watch_job(star, job.id, Console())
    if done.status != "succeeded":
        raise SystemExit(f"{done.id} is {done.status}: {done.status_reason}")
    return done


def _held_out(star: StarClient, job: Job, file: Path) -> tuple[int, list[Example]]:
    """Right answers as they were measured, and the questions, which are written to a file."""
    rows = [
        Example(one.id, one.question, one.answer)
        for one in star.datasets.examples(job.dataset, split="validation")
    ]
    file.write_text("".join(json.dumps({"question": r.question, "answer": r.answer}) + "\n" for r in rows))
    accuracy = star.jobs.iteration(job.id, 1).metrics.accuracy
    return round((accuracy or 0) * len(rows)), rows


def _by_openai(url: str, key: str, job: Job, rows: list[Example]) -> int:
    config = StarConfig.model_validate({"kind": "numeric", **CONFIG})
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, timeout=900) as client:

        def right(row: Example) -> bool:
            answer = client.chat.completions.create(
                model=f"{job.id}:best",
                messages=[{"role": "user", "content": row.question}],
                temperature=0,
                max_tokens=64,
            )
            (choice,) = answer.choices
            text = choice.message.content or ""
            judged = judge_text(config, row, text, "length" if choice.finish_reason == "length" else "stop")
            return judged.verdict == VerdictCode.CORRECT

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return sum(pool.map(right, rows))


def _by_lm_eval(command: Path, url: str, key: str, job: Job, task: Path, rows: int) -> int:
    (task / "lm-eval").mkdir(exist_ok=True)
    definition = TASK.replace("FILE", str(task / "held-out.jsonl"))
    (task / "lm-eval" / "held_out.yaml").write_text(definition)
    place, settings = str(task / "lm-eval"), f"num_concurrent={AT_ONCE},timeout=900"
    arguments = f"base_url={url}/v1/chat/completions,model={job.id}:best,{settings}"
    asked = ["--model", "local-chat-completions", "--model_args", arguments, "--tasks", "held_out"]
    asked += ["--include_path", place, "--apply_chat_template", "--output_path", place]
    subprocess.run([command, "run", *asked], check=True, env=os.environ | {"OPENAI_API_KEY": key})
    newest = max((task / "lm-eval").rglob("results_*.json"), key=lambda path: path.stat().st_mtime)
    share: float = json.loads(newest.read_text())["results"]["held_out"]["exact_match,stated"]
    return round(share * rows)


def _push(url: str, key: str, job: Job, repository: str) -> None:
    """What `star adapters push` does; HF_TOKEN must be one that may write."""
    command = [sys.executable, "-m", "worker.hub.push", "adapter", job.id, repository]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"STAR_URL": url, "STAR_API_KEY": key})


def _by_inspect(command: Path, url: str, key: str, job: Job, task: Path, rows: int) -> int:
    file, logs = task / "held_out.py", task / "inspect"
    file.write_text(INSPECT_TASK.replace("FILE", str(task / "held-out.jsonl")))
    asked = ["--model", f"openai-api/star/{job.id}:best", "--temperature", "0", "--max-tokens", "64"]
    asked += ["--log-dir", logs.name, "--log-format", "json", "--display", "plain"]
    asked += ["--max-connections", str(AT_ONCE)]
    own = {"STAR_BASE_URL": f"{url}/v1", "STAR_API_KEY": key}
    # It takes no absolute path of a task.
    subprocess.run(
        [command.absolute(), "eval", file.name, *asked], check=True, env=os.environ | own, cwd=task
    )
    newest = max(logs.glob("*.json"), key=lambda path: path.stat().st_mtime)
    (score,) = json.loads(newest.read_text())["results"]["scores"]
    share: float = score["metrics"]["accuracy"]["value"]
    return round(share * rows)


if __name__ == "__main__":
    main()
