"""Base models from a hub, or from a mirror that HF_ENDPOINT names: one commit, its needed files, checked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha1, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from worker.hub.model_files import Unusable, check_names, wanted

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Fetched:
    """A base model on this machine: a commit of a repository, or what somebody put there."""

    folder: Path
    revision: str | None  # the commit; None: a folder of this machine
    license: str | None


def fetch(repository: str, revision: str | None, into: Path) -> Fetched:
    """Download what a base model needs into a folder below `into`, named by repository and commit.

    Raises Unusable where the hub has it not, or not for us, or sent other bytes than it had announced.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        info: Any = HfApi().model_info(repository, revision=revision, files_metadata=True)
        listed = {file.rfilename: file for file in info.siblings or ()}
        check_names(listed, repository)
        names = wanted(listed)
        folder = into / f"{repository.replace('/', '--')}@{info.sha[:12]}"
        snapshot_download(repository, revision=info.sha, allow_patterns=names, local_dir=folder)
    except OfflineModeIsEnabled as problem:
        raise Unusable(
            "HF_HUB_OFFLINE is set, so nothing is downloaded. Unset it for this command, or name a folder."
        ) from problem
    except (HfHubHTTPError, HFValidationError, httpx2.HTTPError, OSError) as problem:
        raise Unusable(why_not(repository, revision, problem)) from problem
    for name in names:
        check_bytes(folder / name, listed[name], repository)
    return Fetched(folder, info.sha, _license(info))


def why_not(repository: str, revision: str | None, problem: Exception) -> str:
    """What the hub's refusal means, and what helps."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(problem, GatedRepoError):
        return f"{repository} is gated: accept its terms on the hub, and set HF_TOKEN to a token that has."
    if isinstance(problem, RepositoryNotFoundError):
        return f"The hub has no {repository}, or not for this HF_TOKEN. Is the name spelled as on its page?"
    if isinstance(problem, RevisionNotFoundError):
        return f"{repository} has no revision {revision!r}: name a branch, a tag or a commit that it has."
    endpoint = os.environ.get("HF_ENDPOINT", "huggingface.co")
    return f"{repository} could not be read from {endpoint}: {problem} Is the hub or the mirror reachable?"


def check_bytes(path: Path, listed: RepoSibling, repository: str) -> None:
    """Hold a file against what the hub says of it: a SHA-256 for large ones, git's SHA-1 for the others."""
    lfs = listed.lfs
    if lfs is not None:
        right = _digest(path, sha256()) == lfs.sha256
    elif listed.blob_id is not None:
        right = _digest(path, sha1(f"blob {path.stat().st_size}\0".encode())) == listed.blob_id  # noqa: S324 - git's
    else:
        right = True
    if not right:
        raise Unusable(
            f"{repository}: {path.name} is not the file that the hub announced. Delete {path} and try again."
        )


def _digest(path: Path, digest: Any) -> str:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return str(digest.hexdigest())


def _license(info: Any) -> str | None:
    found = getattr(info.card_data, "license", None) if info.card_data else None
    return found if isinstance(found, str) else None
