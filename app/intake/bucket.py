"""Files to upload that lie in a bucket: fetched with the platform's credentials, from allowed places alone.

A caller names an object and never a server: which one speaks S3 is the deployment's AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

import obstore
from obstore.store import from_url

from app.errors import Invalid
from app.intake.uploaded_file import Received
from app.settings import Settings

SPOOL_BYTES = 1 << 20
CHUNK = 1 << 20
_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[^\x00-\x1f\\?#]{1,1024})")


def fetch_object(url: str, project_id: str, settings: Settings) -> Received:
    """The object on disk; its caller closes it. Raises Invalid where it may not be read, or is too large."""
    bucket, key = _allowed(url, project_id, settings.dataset_sources)
    # Plain HTTP is spoken only where AWS_ENDPOINT_URL says http://, as by the storage.
    seconds = timedelta(seconds=settings.upload_body_seconds)
    store = from_url(f"s3://{bucket}", client_options={"timeout": seconds, "allow_http": True})
    file = SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - the caller closes it
    try:
        found = obstore.get(store, key)
        if found.meta["size"] > settings.max_upload_bytes:
            raise _refused(
                f"It has {found.meta['size']} bytes; an upload may have {settings.max_upload_bytes}.",
                "Divide it, or ask an operator of the platform for a higher STAR_MAX_UPLOAD_BYTES.",
                "source_too_large",
            )
        for chunk in found.stream(min_chunk_size=CHUNK):
            file.write(chunk)
    except FileNotFoundError:
        file.close()
        raise _refused(
            "There is no such object.", "Look at the bucket's name and the key.", "no_source"
        ) from None
    except PermissionError:
        file.close()
        fix = "An operator has to let the platform's credentials read it."
        raise _refused("The platform may not read it.", fix, "source_not_readable") from None
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return Received(cast(BinaryIO, file), key.rpartition("/")[2], "", "")


def _allowed(url: str, project_id: str, places: Sequence[str]) -> tuple[str, str]:
    """The bucket and the key, where the deployment allows them. `{project}` in a place is the caller's."""
    read = _URL.fullmatch(url)
    if read is None or not {"", ".", ".."}.isdisjoint(read["key"].split("/")):
        fix = "Write s3://BUCKET/KEY, without empty parts, dots or a query."
        raise _refused(f"{url[:200]!r} is no address of an object in S3.", fix, "source")
    wanted = f"s3://{read['bucket']}/{read['key']}"
    own = [place.replace("{project}", project_id).rstrip("/") + "/" for place in places]
    if not any(wanted.startswith(place) for place in own):
        allowed = ", ".join(own) or "no place at all"
        fix = f"It reads from {allowed}; an operator names places in STAR_DATASET_SOURCES."
        raise _refused("The platform does not read from there.", fix, "source_not_allowed")
    return read["bucket"], read["key"]


def _refused(reason: str, fix: str, code: str) -> Invalid:
    return Invalid.for_field("source", reason, fix, code=code)
