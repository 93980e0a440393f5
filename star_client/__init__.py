"""The Python SDK of a STaR service: `with StarClient() as star: star.jobs.create(...)`.

Importing the package imports nothing else: a name loads its module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from star_client.client import StarClient as StarClient
    from star_client.errors import StarError as StarError
    from star_client.interop.asynchronous import AsyncStarClient as AsyncStarClient
    from star_client.interop.frames import to_pandas as to_pandas
    from star_client.job_request import JobRequest as JobRequest

_HOMES = {
    "AsyncStarClient": "interop.asynchronous",
    "JobRequest": "job_request",
    "StarClient": "client",
    "StarError": "errors",
    "to_pandas": "interop.frames",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605 - the names of one table


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'star_client' has no attribute {name!r}")
    return getattr(import_module(f"star_client.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
