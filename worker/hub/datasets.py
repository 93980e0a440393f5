"""star datasets from-hub: the rows of a split of a hub's dataset, uploaded to the platform.

python -m worker.hub.datasets hf:ORG/NAME[@REVISION][/CONFIG]/SPLIT[+SPLIT] --kind numeric
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

from app.intake.hub.joined import as_one
from app.intake.hub.names import Named, NotRead, files_of
from star_client.cli.data import mapping
from star_client.cli.invocation import exit_status
from star_client.client import StarClient
from star_client.errors import StarError
from worker.hub.fetch import check_bytes, why_not
from worker.hub.model_files import Unusable

DONE, REFUSED = 0, 4  # as `star` ends


def main(arguments: Sequence[str] | None = None) -> int:
    """0: uploaded. 2: wrong usage. 4: refused, by the hub or by the platform."""
    chosen = _parser().parse_args(arguments)
    try:
        named = Named.read(chosen.source)
        with TemporaryDirectory() as folder, StarClient() as star:
            file, commit = fetch_rows(named, Path(folder))
            found = star.datasets.upload(
                file,
                kind=chosen.kind,
                name=chosen.name or f"{named.repository}@{commit[:12]}/{'+'.join(named.splits)}",
                validation=chosen.validation,
                seed=chosen.seed,
                map=mapping(chosen.map) if chosen.map else None,
                allow_overlap=chosen.allow_overlap,
            )
    except (Unusable, NotRead) as problem:
        sys.stderr.write(f"{problem}\n")
        return REFUSED
    except StarError as problem:
        sys.stderr.write(f"{problem}\n")
        return exit_status(problem)
    shown = found.model_dump_json() if chosen.json else f"{found.id} {found.name}: {dict(found.splits)}"
    sys.stdout.write(f"{shown}\n")
    for warning in () if chosen.json else found.warnings:
        sys.stdout.write(f"Warning: {warning}\n")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="star datasets from-hub", description=__doc__)
    parser.add_argument("source", metavar="hf:ORG/NAME[@REVISION][/CONFIG]/SPLIT[+SPLIT]")
    parser.add_argument("--kind", required=True)
    parser.add_argument("--map", action="append", metavar="FIELD=COLUMN", help="as in star datasets upload")
    parser.add_argument("--name", help="default: what was named, with its commit")
    parser.add_argument("--validation", type=int, default=0, help="rows to hold out, where none is marked")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--allow-overlap", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser


def fetch_rows(named: Named, folder: Path) -> tuple[Path, str]:
    """Download the files of the splits as one file below `folder`; it, and the commit.

    Raises Unusable and NotRead."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        info: Any = HfApi().dataset_info(named.repository, revision=named.revision, files_metadata=True)
        listed = {file.rfilename: file for file in info.siblings or ()}
        files = {split: files_of(list(listed), named, split) for split in named.splits}
        wanted = sorted({name for names in files.values() for name in names})
        options = {"repo_type": "dataset", "revision": info.sha, "local_dir": folder / "hub"}
        snapshot_download(named.repository, allow_patterns=wanted, **options)
    except OfflineModeIsEnabled as problem:
        raise Unusable(
            "HF_HUB_OFFLINE is set, so nothing is downloaded: unset it for this command."
        ) from problem
    except (HfHubHTTPError, HFValidationError, httpx2.HTTPError, OSError) as problem:
        raise Unusable(why_not(named.repository, named.revision, problem)) from problem
    for name in wanted:
        check_bytes(folder / "hub" / name, listed[name], named.repository)
    several = len(named.splits) > 1
    here: dict[str, list[Path]] = {}
    for split, names in files.items():
        paths = here.setdefault(named.role_of(split) if several else "", [])
        paths += [folder / "hub" / name for name in names]
    return as_one(here, folder), str(info.sha)


if __name__ == "__main__":
    sys.exit(main())
