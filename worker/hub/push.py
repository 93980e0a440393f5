"""star adapters push, star jobs push: what a job made, on a hub, with its card.

python -m worker.hub.push adapter ADAPTER ORG/NAME
python -m worker.hub.push training-set JOB ITERATION ORG/NAME
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

from star_client.cli.invocation import exit_status
from star_client.client import StarClient
from star_client.errors import StarError
from worker.hub.fetch import why_not
from worker.hub.model_files import Unusable

DONE, REFUSED = 0, 4  # as `star` ends


def main(arguments: Sequence[str] | None = None) -> int:
    """0: pushed. 2: wrong usage. 4: refused, by the hub or by the platform."""
    chosen = _parser().parse_args(arguments)
    try:
        with TemporaryDirectory() as name, StarClient() as star:
            folder = Path(name)
            if chosen.what == "adapter":
                pushed = _download_adapter(star, chosen.adapter, folder)
                where = push(folder, chosen.repository, "model", pushed, public=chosen.public)
            else:
                pushed = _download_rows(star, chosen.job, chosen.iteration, folder)
                where = push(folder, chosen.repository, "dataset", pushed, public=chosen.public)
    except Unusable as problem:
        sys.stderr.write(f"{problem}\n")
        return REFUSED
    except StarError as problem:
        sys.stderr.write(f"{problem}\n")
        return exit_status(problem)
    sys.stdout.write(f"{where}\n")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="star ... push", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    adapter = commands.add_parser("adapter", help="the adapter's files, its card included")
    adapter.add_argument("adapter", metavar="ADAPTER")
    rows = commands.add_parser("training-set", help="rows as trained on, and as conversations")
    rows.add_argument("job", metavar="JOB")
    rows.add_argument("iteration", metavar="ITERATION", type=int)
    for command in (adapter, rows):
        command.add_argument("repository", metavar="ORG/NAME")
        command.add_argument("--public", action="store_true", help="for everybody; default: private")
    return parser


def push(folder: Path, repository: str, kind: str, what: str, *, public: bool) -> str:
    """Make the repository, where it is not there, and one commit of the folder; returns the commit's URL.

    The token comes from HF_TOKEN and is not kept. Raises Unusable.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    token = os.environ.get("HF_TOKEN")
    if not token:
        raise Unusable("Set HF_TOKEN to a token of the hub that may write: it is used once, and not kept.")
    try:
        api = HfApi(token=token)
        api.create_repo(repository, repo_type=kind, private=not public, exist_ok=True)
        made: Any = api.upload_folder(
            repo_id=repository, folder_path=folder, repo_type=kind, commit_message=f"Upload {what}"
        )
    except OfflineModeIsEnabled as problem:
        raise Unusable(
            "HF_HUB_OFFLINE is set, so nothing is uploaded: unset it for this command."
        ) from problem
    except HfHubHTTPError as problem:
        if problem.response.status_code in (401, 403):
            raise Unusable(f"The hub does not let this HF_TOKEN write to {repository}.") from problem
        raise Unusable(why_not(repository, None, problem)) from problem
    except (HFValidationError, httpx2.HTTPError, ValueError, OSError) as problem:
        raise Unusable(f"{repository} could not be written: {problem}") from problem
    return str(made.commit_url)


def _download_adapter(star: StarClient, adapter: str, folder: Path) -> str:
    if adapter.startswith("job_") and ":" not in adapter:
        adapter = f"{adapter}:best"
    star.adapters.download(adapter, folder)
    return star.adapters.get(adapter).id


def _download_rows(star: StarClient, job_id: str, iteration: int, folder: Path) -> str:
    job, turn = star.jobs.get(job_id), star.jobs.iteration(job_id, iteration)
    star.jobs.download_training_set(job_id, iteration, folder / "rows" / "train.jsonl")
    star.jobs.download_training_set(job_id, iteration, folder / "messages" / "train.jsonl", format="messages")
    kept = turn.metrics.kept
    counts = ", ".join(f"{count} {route}" for route, count in sorted(kept.items())) or "not counted"
    card = _CARD.format(
        name=job.name,
        job=job.id,
        iteration=iteration,
        model=job.model,
        kind=job.config["kind"],
        counts=counts,
        dataset=job.dataset,
        sha=turn.training_set_sha256,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    return f"the training set of {job.id}, iteration {iteration}"


_CARD = """---
task_categories:
- text-generation
tags:
- self-taught-reasoner
configs:
- config_name: messages
  data_files: messages/train.jsonl
  default: true
- config_name: rows
  data_files: rows/train.jsonl
---

# Training set of {name}, iteration {iteration}

Rationales that `{model}` wrote itself, for questions of kind `{kind}`: those that led to the right answer
(STaR, Zelikman et al. 2022). Every prompt was rendered again without the hint.

| what | value |
| --- | --- |
| job | `{job}` |
| dataset | `{dataset}` |
| kept | {counts} |
| sha256 of `rows/train.jsonl` | `{sha}` |

`rows` holds prompt and completion exactly as they were trained on. `messages` holds the same as
conversations: `as_trained` says whether the base model's chat template makes exactly that text of them.
Train on what the assistant says from `messages[trained_from]` on; earlier turns of its have weight 0.

Whether the questions may be published is for you to say: add their license before you make this public.
"""


if __name__ == "__main__":
    sys.exit(main())
