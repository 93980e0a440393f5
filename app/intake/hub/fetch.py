"""Splits of a hub's dataset, fetched by the platform: from the hub that its operator names, and no other.

No token is sent, so that nobody reads by it what they may not. Redirects are followed to the hub itself, or
by https to the public internet, where hubs keep large files: to the address that was checked, whatever the
name means a moment later. Where a proxy stands between, that is what looks the name up and connects. What was
fetched of a commit is kept for a while, since a dataset is looked at several times before it is stored.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2

from app.errors import Invalid
from app.given_up import stop_if_given_up
from app.intake.child import frugal_environment
from app.intake.hub.joined import REFUSED, as_one
from app.intake.hub.names import FORM, Named, NotRead, files_of
from app.intake.hub.redirects import Stop, followed, proxied
from app.intake.uploaded_file import Received
from app.settings import Settings

PREFIX = "hf:"
KEPT = "hub"  # a folder below home
KEPT_SECONDS = 3600.0  # for the looks at one dataset; by then it may be private, or gone
KEPT_FETCHES = 4  # times the limit of one fetch: the oldest go
LISTING_BYTES = 16 << 20
MAX_REDIRECTS = 5
SECONDS_OF_SILENCE = 15.0  # without a byte
ON_ONES_OWN = "fetch it on your own machine: star datasets from-hub"
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """The rows on disk; its caller closes the file. `source`: the same with the commit that was read; empty
    where the file was sent.
    """

    received: Received
    source: str


def fetch_split(source: str, settings: Settings) -> Fetched:
    """What `hf:ORG/NAME[@REVISION][/CONFIG]/SPLIT[+SPLIT]` names. Raises Invalid, with what would help."""
    if not settings.hub_url:
        fix = f"Upload the file, or {ON_ONES_OWN}; an operator can name a hub in STAR_HUB_URL."
        raise _refused("The platform fetches from no hub.", fix, "hub_off")
    try:
        named = Named.read(source)
        kept = settings.home / KEPT
        if (known := _known(kept, named)) is not None:
            return known
        with _hub(settings) as hub, TemporaryDirectory() as folder:
            listing = hub.listing(named)
            pinned = replace(named, revision=listing.commit)
            if (known := _known(kept, pinned)) is not None:
                return known
            file = _joined(hub.download(pinned, listing, Path(folder)), Path(folder), settings)
            _keep(kept, pinned, file, KEPT_FETCHES * settings.hub_max_bytes)
            return _opened(file, pinned)
    except NotRead as problem:
        fix = f"Write {FORM} with names of the hub, or {ON_ONES_OWN}."
        raise _refused(str(problem), fix, "hub", detail=str(problem)) from problem


@dataclass(frozen=True, slots=True)
class _Listing:
    commit: str
    files: Mapping[str, Mapping[str, Any]]  # as the hub tells them, by name


class _Hub:
    """One fetch: its bytes and its time are counted over all requests."""

    def __init__(self, client: httpx2.Client, direct: httpx2.Client, settings: Settings) -> None:
        self._client, self._direct, self._base = client, direct, settings.hub_url.rstrip("/")
        self._ends = time.monotonic() + settings.hub_seconds
        self._seconds, self._most = settings.hub_seconds, settings.hub_max_bytes

    def listing(self, named: Named) -> _Listing:
        """The commit and its files. Raises NotRead."""
        revision = "" if named.revision is None else f"/revision/{named.revision}"
        body = bytearray()
        for chunk in self._get(f"{self._base}/api/datasets/{named.repository}{revision}?blobs=true", named):
            body += chunk
            if len(body) > LISTING_BYTES:
                raise NotRead(f"{named.repository} has too many files to list.")
        try:
            told = json.loads(body)
            commit, files = str(told["sha"]), {str(one["rfilename"]): one for one in told["siblings"]}
        except (ValueError, KeyError, TypeError) as problem:
            raise NotRead(f"What answers at {self._base} is no hub: see STAR_HUB_URL.") from problem
        if _COMMIT.fullmatch(commit) is None:
            raise NotRead(f"What answers at {self._base} names no commit of {named.repository}.")
        return _Listing(commit, files)

    def download(self, named: Named, listing: _Listing, folder: Path) -> dict[str, list[Path]]:
        """The files by what the platform calls their split; "" where one is wanted. Raises NotRead."""
        several = len(named.splits) > 1
        wanted = {split: files_of(list(listing.files), named, split) for split in named.splits}
        sizes = [int(listing.files[name].get("size") or 0) for names in wanted.values() for name in names]
        self._refuse_more(named, sum(sizes))
        here: dict[str, list[Path]] = {}
        for split, names in wanted.items():
            paths = here.setdefault(named.role_of(split) if several else "", [])
            for name in names:
                number = sum(map(len, here.values()))
                path = folder / f"{number:05}-{re.sub(r'[^A-Za-z0-9.]', '_', name)[-60:]}"
                self._download(named, name, listing.files[name], path)
                paths.append(path)
        return here

    def _download(self, named: Named, name: str, told: Mapping[str, Any], path: Path) -> None:
        url = f"{self._base}/datasets/{named.repository}/resolve/{named.revision}/{quote(name)}"
        digest, size = sha256(), 0
        with path.open("wb") as file:
            for chunk in self._get(url, named):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                self._refuse_more(named, size)
        announced = (told.get("lfs") or {}).get("sha256")
        if announced is not None and announced != digest.hexdigest():
            raise NotRead(f"{named.repository}: {name} is not the file that the hub announced. Try again.")

    def _refuse_more(self, named: Named, size: int) -> None:
        if size > self._most:
            raise NotRead(
                f"{named.repository} has more than {self._most >> 20} MiB in these files: {ON_ONES_OWN}; or "
                "ask an operator for a higher STAR_HUB_MAX_BYTES."
            )

    def _get(self, url: str, named: Named) -> Iterator[bytes]:
        """The body behind a URL of the hub. Raises NotRead."""
        stop = Stop(url)
        for _ in range(MAX_REDIRECTS + 1):
            timeout = max(0.1, min(SECONDS_OF_SILENCE, self._ends - time.monotonic()))
            client, request = self.way_to(stop)
            try:
                with client.stream("GET", timeout=timeout, **request) as answer:
                    if not answer.has_redirect_location:
                        self._refuse(answer, named)
                        yield from self._chunks(answer, named)
                        return
                    stop = self._followed(stop.url, answer.headers["location"])
            except (httpx2.HTTPError, httpx2.InvalidURL) as problem:
                raise NotRead(f"The hub {self._base} does not answer: {type(problem).__name__}.") from problem
        raise NotRead(f"The hub {self._base} sends {named.repository} round in circles.")

    def way_to(self, stop: Stop) -> tuple[httpx2.Client, dict[str, Any]]:
        """What asks for it, and how: for a checked address no proxy, unless the environment has one for its
        name.
        """
        pin = stop.target is not None and not (self._client.trust_env and proxied(stop.target.host))
        return self._direct if pin else self._client, stop.request(pin)

    def _chunks(self, answer: httpx2.Response, named: Named) -> Iterator[bytes]:
        for chunk in answer.iter_raw():
            stop_if_given_up()
            if time.monotonic() > self._ends:
                raise NotRead(f"{named.repository} takes longer than {self._seconds:.0f} s: {ON_ONES_OWN}.")
            yield chunk

    def _followed(self, url: str, location: str) -> Stop:
        """Where a redirect leads, if the platform may go there. Raises NotRead."""
        try:
            return followed(url, location, self._base)
        except ValueError as problem:
            where = location.partition("?")[0][:200]  # a query may sign the request
            raise NotRead(f"The hub sends to {where}, where the platform does not go: {problem}") from problem

    def _refuse(self, answer: httpx2.Response, named: Named) -> None:
        code, status = answer.headers.get("x-error-code"), answer.status_code
        if code == "RevisionNotFound":
            raise NotRead(f"{named.repository} has no revision {named.revision}.")
        if code == "GatedRepo":
            raise NotRead(f"{named.repository} is gated: accept its terms on the hub, and {ON_ONES_OWN}.")
        if code == "RepoNotFound" or status in (401, 403, 404):
            raise NotRead(
                f"The hub has no public dataset {named.repository}. Is the name spelled as on its page?"
            )
        if status != 200:
            raise NotRead(f"The hub {self._base} answers with {status}. Try again later.")


@contextmanager
def _hub(settings: Settings) -> Iterator[_Hub]:
    headers = {"Accept-Encoding": "identity", "User-Agent": "star-platform"}
    outside = urlsplit(settings.hub_url).hostname not in ("127.0.0.1", "localhost", "::1")
    trusted = httpx2.create_ssl_context(trust_env=outside)
    with (
        httpx2.Client(headers=headers, verify=trusted, trust_env=outside) as client,
        httpx2.Client(headers=headers, verify=trusted, trust_env=False) as direct,
    ):
        yield _Hub(client, direct, settings)


def _joined(files: Mapping[str, Sequence[Path]], folder: Path, settings: Settings) -> Path:
    """One file of all; in a child with limits where several have to be read for that. Raises NotRead."""
    if "" in files and len(files[""]) == 1:
        return as_one(files, folder)
    named = json.dumps({split: [str(path) for path in paths] for split, paths in files.items()}).encode()
    seconds = int(settings.hub_seconds)
    limits = [settings.upload_memory_bytes, settings.max_unpacked_bytes, seconds]
    command = [sys.executable, "-m", "app.intake.hub.joined", str(os.getpid()), str(folder)]
    try:
        done = subprocess.run(
            [*command, *map(str, limits)],
            env=frugal_environment(),
            capture_output=True,
            input=named,  # thousands of names are too long for a command line
            timeout=2 * seconds,
        )
    except subprocess.TimeoutExpired as problem:
        raise NotRead("Its files take too long to be put together: name one split.") from problem
    if done.returncode == REFUSED:
        raise NotRead(done.stderr.decode(errors="replace")[:500])
    if done.returncode:
        raise NotRead("Its files take too much memory to be put together: name one split.")
    return Path(done.stdout.decode())


def _known(kept: Path, named: Named) -> Fetched | None:
    """What was fetched of this commit before; None too where no commit is named."""
    if named.revision is None or _COMMIT.fullmatch(named.revision) is None:
        return None
    for path in kept.glob(f"{_mark(named)}.*"):
        with suppress(FileNotFoundError):  # another process makes room
            if path.stat().st_mtime > time.time() - KEPT_SECONDS:
                return _opened(path, named)
    return None


def _mark(named: Named) -> str:
    return sha256(repr(named).encode()).hexdigest()


def _keep(kept: Path, named: Named, file: Path, most: int) -> None:
    """Put a copy there under its mark, the oldest ones away. Other processes may do the same meanwhile."""
    kept.mkdir(parents=True, exist_ok=True)
    part, whole = kept / f"part-{secrets.token_hex(4)}", kept / f"{_mark(named)}{_endings(file)}"
    try:
        shutil.copyfile(file, part)
        with suppress(FileNotFoundError):
            part.replace(whole)
    finally:
        part.unlink(missing_ok=True)
    found = []
    for path in kept.iterdir():
        with suppress(FileNotFoundError):
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size, path))
    total = 0
    for _, size, path in sorted(found, reverse=True):
        total += size
        if total > most and path != whole:
            path.unlink(missing_ok=True)


def _endings(file: Path) -> str:
    """.jsonl.gz of a/train.v2.JSONL.gz"""
    return "".join(re.findall(r"\.(?:parquet|jsonl|ndjson|json|csv|gz|zst)(?=\.|$)", file.name.lower())[-2:])


def _opened(file: Path, named: Named) -> Fetched:
    roles = dict(named.roles)
    splits = "+".join(f"{one}={roles[one]}" if one in roles else one for one in named.splits)
    config = "" if named.config is None else f"/{named.config}"
    name = named.repository.rpartition("/")[2] + _endings(file)
    source = f"{PREFIX}{named.repository}@{named.revision}{config}/{splits}"
    return Fetched(Received(file.open("rb"), name, "", ""), source)


def _refused(reason: str, fix: str, code: str, detail: str | None = None) -> Invalid:
    return Invalid.for_field("source", reason, fix, code=code, detail=detail)
