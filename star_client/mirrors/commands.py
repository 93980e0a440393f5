"""star mirror."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from star_client.cli.invocation import FAILED, star
from star_client.connection import home
from star_client.errors import StarError, Unreachable
from star_client.mirrors.follow import Mirror, State
from star_client.mirrors.notices import Notices
from star_client.mirrors.trackers import tracker_named


def mirror(
    context: typer.Context,
    to: Annotated[
        list[str] | None,
        typer.Option(help="tensorboard:FOLDER, mlflow:URI, wandb:ENTITY/PROJECT, trackio:PROJECT."),
    ] = None,
    notify: Annotated[
        list[str] | None,
        typer.Option(help="Where a job ends or pauses, tell: an apprise URL (slack://, mailto:// ...)."),
    ] = None,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks.")] = 15,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    past: Annotated[bool, typer.Option("--past", help="At the first start: jobs that ended, too.")] = False,
    state: Annotated[
        Path | None, typer.Option(help="What has been sent; default: mirror.json in STAR_HOME or .star.")
    ] = None,
) -> None:
    """Copy runs to experiment trackers and tell people, until Ctrl-C. Reads only: no job waits for it."""
    trackers, notices = [tracker_named(one) for one in to or ()], [Notices(one) for one in notify or ()]
    if not (trackers or notices):
        raise StarError("Name a tracker with --to, or somebody to tell with --notify.")
    client = star(context)
    following = Mirror(client, trackers, notices, State(state or home() / "mirror.json", past=past))
    while True:
        try:
            failed = following.turn()
        except Unreachable as away:
            if once:
                raise
            sys.stderr.write(f"{away} Looking again.\n")
        else:
            if once:
                raise typer.Exit(FAILED if failed else 0)
        time.sleep(every)
