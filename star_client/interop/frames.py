"""Objects of the platform as a DataFrame of pandas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from star_client.objects import Fields


def to_pandas(objects: Iterable[Fields]) -> pd.DataFrame:
    """One row an object, in order; what an object holds of its own is a column each: `example.question`.

    Takes a page's `data` as well as `every(...)`. Raises ImportError where pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as failure:
        raise ImportError("to_pandas needs pandas: pip install pandas") from failure
    return pd.json_normalize([one.model_dump() for one in objects])
