"""Objects of the platform as a DataFrame of pandas, which is no dependency of this package."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from star_client.objects import Fields


def to_pandas(objects: Iterable[Fields]) -> Any:
    """A DataFrame with one row an object, in order; what an object holds of its own is a column each:
    `example.question`.

    Takes a page's `data` as well as `every(...)`. Raises ImportError where pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError as failure:
        raise ImportError("to_pandas needs pandas: pip install pandas") from failure
    return pandas.json_normalize([one.model_dump() for one in objects])
