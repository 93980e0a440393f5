"""star datasets from-hub: the rows of a split of a hub's dataset, uploaded to the platform.

python -m worker.hub.datasets hf:ORG/NAME[@REVISION][/CONFIG]/SPLIT[+SPLIT] --kind numeric
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
from pyarrow import Table, parquet, string
from pyarrow import array as column

from star_client.cli.data import mapping
from star_client.cli.invocation import exit_status
from star_client.client import StarClient
from star_client.errors import StarError
from worker.hub.fetch import check_bytes, why_not
from worker.hub.model_files import Unusable

DONE, REFUSED = 0, 4  # as `star` ends
READ = (".parquet", ".jsonl", ".ndjson", ".json", ".csv")  # the first of them that a split has is taken
NAMED = re.compile(
    r"hf:(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<rev>[\w.-]+))?(?:/(?P<config>[\w.-]+))?/(?P<split>[\w+.-]+)"
)
SPLITS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}
ROWS = 1000  # read at a time


@dataclass(frozen=True, slots=True)
class Named:
    """What `hf:ORG/NAME@REVISION/CONFIG/SPLIT+SPLIT` names."""

    repository: str
    revision: str | None
    config: str | None
    splits: tuple[str, ...]

    @staticmethod
    def read(text: str) -> Named:
        found = NAMED.fullmatch(text)
        if found is None:
            raise Unusable(f"{text} is not of the form hf:ORG/NAME[@REVISION][/CONFIG]/SPLIT[+SPLIT].")
        return Named(found["repo"], found["rev"], found["config"], tuple(found["split"].split("+")))


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
    except Unusable as problem:
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
    """Download the files of the splits as one file below `folder`; it, and the commit. Raises Unusable."""
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
    here = {split: [folder / "hub" / name for name in names] for split, names in files.items()}
    return _as_one(here, folder), str(info.sha)


def files_of(names: Sequence[str], named: Named, split: str) -> list[str]:
    """The files that hold a split, in order, told by the words of their paths. Raises Unusable."""
    readable = [name for name in names if _ending(name) in READ]
    mine = [name for name in readable if split in _words(name)]
    if named.config is not None:
        mine = [name for name in mine if named.config in (*PurePosixPath(name).parts, *_words(name))]
    if not mine:
        known = ", ".join(sorted(readable)[:8]) or "none that can be read (Parquet, JSONL, JSON or CSV)"
        where = f" of {named.config}" if named.config else ""
        raise Unusable(f"{named.repository} has no file of the split {split}{where}. Its files: {known}.")
    best = min((_ending(name) for name in mine), key=READ.index)
    mine = sorted(name for name in mine if _ending(name) == best)
    folders = sorted({str(PurePosixPath(name).parent) for name in mine})
    if len(folders) > 1:
        example = f"hf:{named.repository}/{PurePosixPath(folders[0]).name}/{split}"
        found = ", ".join(folders)
        raise Unusable(
            f"{named.repository} has several configurations of the split {split}: {found}. Name one, as in "
            f"{example}."
        )
    return mine


def _ending(name: str) -> str:
    path = PurePosixPath(name.removesuffix(".gz").removesuffix(".zst"))
    return path.suffix.lower()


def _words(name: str) -> list[str]:
    return re.split(r"[/._-]", name)


def _as_one(files: Mapping[str, Sequence[Path]], folder: Path) -> Path:
    """One file of all rows, which say their split where there are several of them."""
    paths = [path for found in files.values() for path in found]
    if len(paths) == 1:
        return paths[0]
    endings = {_ending(path.name) for path in paths}
    if endings == {".parquet"}:
        return _joined_tables(files, folder / "rows.parquet")
    if endings <= {".jsonl", ".ndjson"} and all(path.suffix in (".jsonl", ".ndjson") for path in paths):
        return _joined_lines(files, folder / "rows.jsonl")
    raise Unusable(
        f"Several files of {' and '.join(sorted(endings))} are not put together here: name one split, or "
        "convert them to Parquet or JSONL."
    )


def _joined_tables(files: Mapping[str, Sequence[Path]], out: Path) -> Path:
    writer: parquet.ParquetWriter | None = None
    try:
        for split, path in _each(files):
            for batch in parquet.ParquetFile(path).iter_batches(batch_size=ROWS):
                table = Table.from_batches([batch])
                if len(files) > 1:
                    marks = column([_split(split)] * len(table), string())
                    table = table.drop_columns([n for n in table.column_names if n == "split"])
                    table = table.append_column("split", marks)
                if writer is None:
                    writer = parquet.ParquetWriter(out, table.schema)
                writer.write_table(table.cast(writer.schema))
    except ValueError as problem:  # pyarrow's ArrowInvalid: shards of other columns
        raise Unusable(f"The files of the splits do not have the same columns: {problem}") from problem
    finally:
        if writer is not None:
            writer.close()
    return out


def _joined_lines(files: Mapping[str, Sequence[Path]], out: Path) -> Path:
    with out.open("w", encoding="utf-8") as written:
        for split, path in _each(files):
            with path.open(encoding="utf-8") as lines:
                if len(files) == 1:
                    shutil.copyfileobj(lines, written)
                    continue
                for line in filter(str.strip, lines):
                    written.write(json.dumps({**json.loads(line), "split": _split(split)}) + "\n")
    return out


def _each(files: Mapping[str, Sequence[Path]]) -> Iterator[tuple[str, Path]]:
    return ((split, path) for split, paths in files.items() for path in paths)


def _split(name: str) -> str:
    """What the platform calls a split. Raises Unusable."""
    if name not in SPLITS:
        raise Unusable(f"The split {name} is none of {', '.join(SPLITS)}: name it alone.")
    return SPLITS[name]


if __name__ == "__main__":
    sys.exit(main())
